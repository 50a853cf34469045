"""Cutting train into parts, and texts into token ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data import encoding
from adaptershare_cli.data.batches import Rows
from adaptershare_cli.data.encoding import Prepared, content_hash, load_tokenizer, prepare_task
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows import tokens
from tests.conftest import WORDS

BINARY = TaskInfo("task", "classification", ("no", "yes"), None, ("accuracy",))
SCORES = TaskInfo("task", "regression", (), (0.0, 5.0), ("pearson",))


# --------------------------------------------------------------------------------------------------------- content hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A Film", "a film"),
        ("a  film\t\n", " a film"),
        ("a\u00a0film", "a film"),  # no-break space
        ("ﬁlm", "film"),  # ligature
        ("ＦＩＬＭ", "film"),  # full width
        ("cafe\u0301", "caf\u00e9"),  # combining accent
        ("STRASSE", "straße"),
    ],
)
def test_rows_that_read_the_same_have_the_same_hash(one: str, other: str) -> None:
    assert content_hash(one, None) == content_hash(other, None)
    assert content_hash("x", one) == content_hash("x", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a film", None), ("afilm", None)),
        (("a film", None), ("a", "film")),
        (("a", "b"), ("b", "a")),
        (("a b", "c"), ("a", "b c")),
        (("a\x1fb", None), ("a", "b")),  # the separator itself is white space
        (("good", None), ("good.", None)),
        (("cafe", None), ("café", None)),
    ],
)
def test_rows_that_differ_have_different_hashes(one: tuple, other: tuple) -> None:
    assert content_hash(*one) != content_hash(*other)


@given(st.text(max_size=20), st.none() | st.text(max_size=20))
def test_content_hash_law(text: str, pair: str | None) -> None:
    found = content_hash(text, pair)
    assert len(found) == 32 and set(found) <= set("0123456789abcdef")
    assert content_hash(f"  {text}\n", pair) == found
    assert content_hash(text, None) == content_hash(text, "")


# -------------------------------------------------------------------------------------------------------------- tokens


def table(texts: list[str], pairs: list[str | None] | None = None, labels: list | None = None) -> pa.Table:
    """A downloaded split."""
    kind = "classification" if labels is None or isinstance(labels[0], str) else "regression"
    columns = {
        "row": list(range(len(texts))),
        "text": texts,
        "text_pair": pairs or [None] * len(texts),
        "label": labels or ["no"] * len(texts),
    }
    return pa.table(columns, schema=KINDS[kind].downloaded_schema())


def prepare(folder: Path, train: pa.Table, dev: pa.Table, **changes: Any) -> Prepared:
    """`prepare_task` with small defaults."""
    options: dict[str, Any] = {
        "info": BINARY, "tokenizer": load_tokenizer(folder, BINARY.kind), "max_seq_length": 12, "heldout_size": 2,
        "select_size": 3, "max_train": None, "max_eval": None,
    }  # fmt: skip
    return prepare_task({"train": train, "dev": dev}, **{**options, **changes})


def texts_of(count: int, longest: int = 9) -> list[str]:
    """Texts of one to `longest` words; the first 18 differ."""
    return [
        " ".join(WORDS[(number * 7 + at) % len(WORDS)] for at in range(1 + number % longest)) for number in range(count)
    ]


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
@pytest.mark.parametrize("paired", [False, True])
def test_token_ids_equal_the_tokenizers_one_by_one(
    encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, model_type: str, paired: bool
) -> None:
    monkeypatch.setattr(encoding, "TOKENIZE_ROWS", 4)  # several calls, the last one of fewer rows
    texts = texts_of(23)
    pairs = [f"{WORDS[number]} card" for number in range(23)] if paired else None
    tokenizer = load_tokenizer(encoders[model_type], "classification")
    calls: list[int] = []
    prepared = prepare(encoders[model_type], table(texts, pairs), table(texts_of(3)), progress=calls.append)
    seen = []
    for part in ("train", "heldout", "select"):
        rows = prepared.parts[part].to_pylist()
        assert len(rows) == prepared.counts[f"{part}_rows"]
        for row in rows:
            text, pair = texts[row["row"]], pairs[row["row"]] if pairs else None
            alone = tokenizer(text, pair, truncation="longest_first", max_length=12)
            assert row["input_ids"] == alone["input_ids"]
            assert row["token_type_ids"] == alone.get("token_type_ids")
            assert row["length"] == len(row["input_ids"])
            assert row["content"] == content_hash(text, pair)
            seen.append(row["row"])
    leaked = prepared.counts["leaked_rows"]
    assert len(seen) == len(set(seen)) == 23 - leaked
    assert sum(calls) == len(seen) + 3
    assert max(calls) == 4


def test_pairs_have_segments_and_singles_do_not(encoders: dict[str, Path]) -> None:
    dev = table(["the film"], ["was good"])
    row = prepare(encoders["bert"], table(texts_of(10)), dev).parts["dev"].to_pylist()[0]
    words = [4 + WORDS.index(word) for word in ("the", "film", "was", "good")]
    assert row["input_ids"] == [2, words[0], words[1], 3, words[2], words[3], 3]
    assert row["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    single = prepare(encoders["bert"], table(texts_of(10)), table(["the film"])).parts["dev"].to_pylist()[0]
    assert single["token_type_ids"] == [0, 0, 0, 0]
    without = prepare(encoders["roberta"], table(texts_of(10)), dev).parts["dev"].to_pylist()[0]
    assert (without["input_ids"], without["token_type_ids"]) == (row["input_ids"], None)


@pytest.mark.parametrize("model_type", ["bert", "roberta"])  # with segments, without
@pytest.mark.parametrize("lengths", [(3, 3), (1, 20)])
def test_rows_of_pairs_are_known_by_their_tokens(
    encoders: dict[str, Path], model_type: str, lengths: tuple[int, int]
) -> None:
    first, second = (texts_of(18, longest)[::step] for longest, step in zip(lengths, (1, -1), strict=True))
    for pairs in (None, second):
        train = prepare(encoders[model_type], table(first * 2, pairs and pairs * 2), table(["a"])).parts["train"]
        assert Rows(train, BINARY).are_pairs == (pairs is not None)
        assert not Rows(train.slice(0, 0), BINARY).are_pairs


def test_truncation_is_counted(encoder: Path) -> None:
    fits, long = " ".join(WORDS[:10]), " ".join(WORDS[:11])  # [CLS] and [SEP] make 12 and 13 tokens
    dev = table([fits, long, "a film", long + " it"])
    prepared = prepare(encoder, table(texts_of(15)), dev)
    assert prepared.parts["dev"]["truncated"].to_pylist() == [False, True, False, True]
    assert prepared.parts["dev"]["length"].to_pylist() == [12, 12, 4, 12]
    assert prepared.counts["dev_truncated"] == 2
    assert prepared.counts["train_truncated"] == 0
    pairs = table(["a film", "a film", "a"], [" ".join(WORDS[:7]), " ".join(WORDS[:8]), " ".join(WORDS[:20])])
    found = prepare(encoder, table(texts_of(15)), pairs).parts["dev"]
    assert found["truncated"].to_pylist() == [False, True, True]
    assert found["length"].to_pylist() == [12, 12, 12]


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_of_very_long_texts_the_beginning_is_enough(
    encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    long = " ".join(WORDS * 20)
    texts = [
        "x" * 4000 + " " + long,
        long,
        " " * 3000 + long,
        "x" * 5000,
        f"{long}\n" * 3,
        "it",
        "a " * 11 + "x" * 2000,
    ]
    pairs = [long, "x" * 4000 + " " + long, "it", long, " " * 2000 + "it", long, long]
    found = []
    for most in (100, 10**6):
        monkeypatch.setattr(tokens, "BEGINNING", most)
        singles = prepare(encoders[model_type], table(texts_of(10)), table(texts)).parts["dev"]
        paired = prepare(encoders[model_type], table(texts_of(10), texts_of(10)), table(texts, pairs)).parts["dev"]
        found.append((singles, paired))
    assert found[0][0].equals(found[1][0]) and found[0][1].equals(found[1][1])
    assert found[0][0]["truncated"].to_pylist() == [True, True, True, False, True, False, True]


def test_labels_are_indices_in_the_definitions_order(encoder: Path) -> None:
    dev = table(["a", "b", "c"], labels=["zebra", "ant", "zebra"])
    train = table(texts_of(10), labels=["ant"] * 10)
    found = prepare(encoder, train, dev, info=replace(BINARY, labels=("zebra", "ant"))).parts["dev"]
    assert found["label"].to_pylist() == [0, 1, 0]
    assert found.schema == KINDS["classification"].prepared_schema()
    scores = prepare(encoder, table(texts_of(10), labels=[0.5] * 10), table(["a"], labels=[2.25]), info=SCORES)
    assert scores.parts["dev"]["label"].to_pylist() == [2.25]
    assert scores.parts["dev"].schema == KINDS["regression"].prepared_schema()


def test_train_rows_that_stand_in_a_scored_split_are_dropped(encoder: Path) -> None:
    train = table([*texts_of(18), "The   FILM was good", "the film was good", "the film was"])
    prepared = prepare(encoder, train, table(["the film was good", "it"]))
    assert prepared.counts["leaked_rows"] == 2
    kept = {row for part in ("train", "heldout", "select") for row in prepared.parts[part]["row"].to_pylist()}
    assert kept == {*range(18), 20}
    # The whole row counts: the same first text with another second one is no leak.
    pairs = prepare(encoder, table(["a film"] * 10, [f"{word}" for word in WORDS[:10]]), table(["a film"], [WORDS[3]]))
    assert pairs.counts["leaked_rows"] == 1


def test_scored_splits_keep_a_sample_that_is_not_their_beginning(encoder: Path) -> None:
    dev = [f"{first} {second}" for first in WORDS[:10] for second in WORDS[20:30]]
    whole = prepare(encoder, table(["it"]), table(dev)).parts["dev"]
    assert whole["row"].to_pylist() == list(range(100))
    sample = prepare(encoder, table(["it"]), table(dev), max_eval=20).parts["dev"]
    rows = sample["row"].to_pylist()
    assert len(set(rows)) == 20 and rows == sorted(rows) and max(rows) > 50
    turned = prepare(encoder, table(["it"]), table(dev[::-1]), max_eval=20).parts["dev"]
    assert set(turned["content"].to_pylist()) == set(sample["content"].to_pylist())
    assert prepare(encoder, table(["it"]), table(dev), max_eval=100).parts["dev"].equals(whole)


def test_too_little_train_leaves_the_other_parts_empty(encoder: Path) -> None:
    prepared = prepare(encoder, table(["a film", "it", "we"]), table(["they"]))
    assert {name: len(part) for name, part in prepared.parts.items()} == {
        "heldout": 0, "select": 0, "train": 3, "dev": 1,
    }  # fmt: skip
    assert prepared.parts["heldout"].schema == KINDS["classification"].prepared_schema()
