"""The definitions on the real files: every row is there, and none is rejected (quotes, marks and headers in them)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from adaptershare_cli.kinds import METRICS
from adaptershare_cli.kinds.metrics.spans import spans
from tests.cli.conftest import good, only
from tests.real.test_real import DATA, needs_data

pytestmark = [pytest.mark.slow, needs_data]

ROWS = {
    "cola": (8551, 1043), "sst2": (67349, 872), "mrpc": (3667, 408), "stsb": (5749, 1500), "rte": (2490, 277),
    "wnli": (635, 71), "qnli": (5224, 5463), "mnli": (13164, 9815), "qqp": (10000, 10000), "atis-intent": (4478, 893),
    "snips-intent": (13084, 700), "banking77": (10003, 3080), "clinc150": (15000, 4500),
}  # fmt: skip
# What a reader that is wrong about quotes, marks or line ends would lose or change: a piece of one text each.
TRAPS = {
    "cola": "Our friends won't buy this analysis",  # the first line: there is no header
    "mrpc": 'Amrozi accused his brother , whom he called " the witness "',  # after a byte-order mark
    "banking77": "I am still waiting on my card?",
}


# Sentences and words of train and of the scored splits; the README of the data counts the sentences.
WORDS = {
    **dict.fromkeys(
        ("conll-pos", "conll-chunk", "conll-ner"),
        {"train": (14041, 203621), "dev": (3250, 51362), "test": (3453, 46435)},
    ),
    "atis-slots": {"train": (4478, 50497), "test": (893, 9164)},
    "snips-slots": {"train": (13084, 117700), "test": (700, 6354)},
}
# Entities by type, as published with CoNLL-2003.
NAMES = {
    "train": {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600},
    "dev": {"LOC": 1837, "MISC": 922, "ORG": 1341, "PER": 1842},
    "test": {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617},
}


def plain_spans(sentence: list[str]) -> Counter[str]:
    """Spans of well-formed BIO2: as many as there are B-."""
    return Counter(label[2:] for label in sentence if label.startswith("B-"))


@pytest.mark.parametrize("task", WORDS)
def test_every_word_is_read(task: str, tmp_path: Path) -> None:
    good("download", "-t", task, "--from", DATA, "-w", tmp_path)
    folder = only(tmp_path, f"download/{task}-*")
    assert pq.read_table(folder / "rejected.parquet").num_rows == 0
    for split, counts in WORDS[task].items():
        table = pq.read_table(folder / f"{split}.parquet")
        words, labels = table["text"].to_pylist(), table["label"].to_pylist()
        assert (len(words), sum(map(len, words))) == counts
        assert list(map(len, words)) == list(map(len, labels))
        assert not any("-DOCSTART-" in sentence for sentence in words)
        if task != "conll-pos":
            found = Counter(kind for sentence in labels for kind, _, _ in spans(sentence))
            if task in ("conll-ner", "conll-chunk", "snips-slots"):
                assert found == sum(map(plain_spans, labels), Counter())
            if task == "conll-ner":
                assert found == NAMES[split]


def test_gold_scores_one_and_shifted_borders_score_less(tmp_path: Path) -> None:
    """Span F1 of CoNLL dev against itself, and with every third span's first word cut off, counted apart."""
    good("download", "-t", "conll-ner", "--from", DATA, "-w", tmp_path)
    gold = pq.read_table(only(tmp_path, "download/conll-ner-*/dev.parquet"))["label"].to_pylist()
    assert METRICS["span_f1"].compute(gold, gold) == 1.0
    cut, number, kept, lost = [list(sentence) for sentence in gold], 0, 0, 0
    for sentence in cut:
        for place, label in enumerate(list(sentence)):
            if label.startswith("B-"):
                number += 1
                follows = place + 1 < len(sentence) and sentence[place + 1].startswith("I-")
                if number % 3 == 0:
                    sentence[place] = "O"  # what follows begins a span of its own, or the span is gone
                    lost += not follows
                else:
                    kept += 1
    assert number == 5942
    assert METRICS["span_precision"].compute(cut, gold) == pytest.approx(kept / (number - lost))
    assert METRICS["span_recall"].compute(cut, gold) == pytest.approx(kept / number)
    assert METRICS["span_f1"].compute(cut, gold) == pytest.approx(2 * kept / (2 * number - lost))


@pytest.mark.parametrize("task", ["conll-chunk", "conll-ner", "atis-slots", "snips-slots"])
def test_scores_of_real_files_are_those_of_seqeval(task: str, tmp_path: Path) -> None:
    """Spans of every sentence, and F1 of predictions in which a word in ten has a label drawn at random."""
    good("download", "-t", task, "--from", DATA, "-w", tmp_path)
    for split in set(WORDS[task]) - {"train"}:
        gold = pq.read_table(only(tmp_path, f"download/{task}-*/{split}.parquet"))["label"].to_pylist()
        assert [spans(sentence) for sentence in gold] == [get_entities(sentence) for sentence in gold]
        labels, generator = sorted({label for sentence in gold for label in sentence}), np.random.default_rng(0)
        drawn = [
            [str(generator.choice(labels)) if generator.random() < 0.1 else label for label in sentence]
            for sentence in gold
        ]
        found = METRICS["span_f1"].compute(drawn, gold)
        assert found is not None and 0.5 < found < 0.95
        assert found == pytest.approx(f1_score(gold, drawn), rel=1e-12)


@pytest.mark.parametrize("task", ROWS)
def test_every_row_is_read(task: str, tmp_path: Path) -> None:
    good("download", "-t", task, "--from", DATA, "-w", tmp_path)
    folder = only(tmp_path, f"download/{task}-*")
    tables = {file.stem: pq.read_table(file) for file in folder.glob("*.parquet")}
    assert tables.pop("rejected").num_rows == 0
    train = tables.pop("train")
    assert (train.num_rows, *(table.num_rows for table in tables.values())) == ROWS[task]
    assert train["row"].to_pylist() == list(range(train.num_rows))
    assert any(TRAPS.get(task, "") in text for text in train["text"].to_pylist()[:3])
    paired = train["text_pair"].null_count == 0
    assert paired == (task in ("mrpc", "stsb", "rte", "wnli", "qnli", "mnli", "qqp"))
