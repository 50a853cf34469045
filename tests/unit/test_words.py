"""Words of sentences: inputs of long sentences, first sub-words, and the rows that training reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data import encoding
from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.data.encoding import Prepared, content_hash, load_tokenizer, prepare_task
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.texts import split_words
from adaptershare_cli.kinds.rows.words import OVERLAP, Window, windows
from adaptershare_cli.training.evaluation import prediction_rows, score

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=80)
LABELS = ("B-x", "I-x", "O")
TAGS = TaskInfo("tags", "tagging", LABELS, None, ("span_f1", "span_recall", "accuracy"))


# ---- inputs of long sentences ----


@given(SIZES, st.integers(1, 30))
def test_no_word_is_lost_and_each_is_labelled_once_in_order(sizes: list[int], capacity: int) -> None:
    found = windows(sizes, capacity)
    assert [place for window in found for place in range(window.first, window.last)] == list(range(len(sizes)))
    for window in found:
        assert window.start <= window.first < window.last <= window.end  # each labels something that it holds


@given(SIZES, st.integers(1, 30))
def test_inputs_are_full_but_not_too_full(sizes: list[int], capacity: int) -> None:
    found = windows(sizes, capacity)
    for window in found:
        held = sizes[window.start : window.end]
        assert sum(held) <= capacity or len(held) == 1
        if window.end < len(sizes):
            assert sum(held) + sizes[window.end] > capacity
    for left, right in zip(found, found[1:], strict=False):
        assert left.start < right.start <= left.end < right.end
        shared = range(right.start, left.end)
        assert sum(sizes[place] for place in shared) <= capacity // OVERLAP
        # Of the words that both hold, each labels those that are further from its edge.
        assert abs((left.last - right.start) - (left.end - left.last)) <= 1
        assert right.first == left.last


@given(SIZES)
def test_a_sentence_that_fits_is_one_input(sizes: list[int]) -> None:
    assert windows(sizes, sum(sizes)) == [Window(0, 0, len(sizes), len(sizes))]


@given(st.integers(8, 30), st.integers(2, 8))
def test_words_see_what_stands_around_them(capacity: int, times: int) -> None:
    """With words of one token each side of a cut has an eighth of an input as context, but for rounding."""
    found = windows([1] * (capacity * times), capacity)
    for left, right in zip(found, found[1:], strict=False):
        assert left.end - right.start == capacity // OVERLAP
        assert left.end - left.last >= capacity // OVERLAP // 2
        assert right.first - right.start >= capacity // OVERLAP // 2


def test_split_words() -> None:
    assert split_words(" a  b\tc\r\nd\n") == ["a", "b", "c", "d"]
    assert split_words("a\u00a0b \u2028") == ["a\u00a0b", "\u2028"]  # other white space belongs to words
    assert split_words(" \t\n") == []


# ---- tokens ----


def save_tokenizer(folder: Path, kind: str, **changes: Any) -> Path:
    """One with sub-words: `wordpiece` has a token a letter, `bytes` one a byte, the blank before a word too."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [chr(97 + number) for number in range(26)]
    if kind == "wordpiece":
        names = [*special, *letters, *(f"##{letter}" for letter in letters)]
        tokenizer = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        names = [*special, "Ġ", *letters]
        tokenizer = Tokenizer(models.BPE({n: i for i, n in enumerate(names)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", **changes}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names)
    fast.save_pretrained(folder)
    return folder


def table(sentences: list[list[str]], labels: list[list[str]] | None = None) -> pa.Table:
    """A downloaded split."""
    given = labels or [["O"] * len(words) for words in sentences]
    columns = {"row": list(range(len(sentences))), "text": sentences, "label": given}
    return pa.table(columns, schema=KINDS["tagging"].downloaded_schema())


def prepare(tokenizer: Any, train: pa.Table, dev: pa.Table, length: int = 12, info: TaskInfo = TAGS) -> Prepared:
    return prepare_task({"train": train, "dev": dev}, info, tokenizer, length, 2, 2, None, None)


def some(count: int, longest: int = 9) -> list[list[str]]:
    """Different sentences of words of one to four letters."""
    return [
        [chr(97 + (number + 3 * place) % 26) * (1 + (number + place) % 4) for place in range(1 + number % longest)]
        for number in range(count)
    ]


@pytest.mark.parametrize("kind", ["wordpiece", "bytes"])
@pytest.mark.parametrize("length", [8, 12, 64])
def test_the_first_sub_word_of_each_word_is_found(tmp_path: Path, kind: str, length: int) -> None:
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, kind), "tagging")
    sentences = some(20)
    labels = [[LABELS[len(word) % 3] for word in words] for words in sentences]
    prepared = prepare(tokenizer, table(some(12, 4)), table(sentences, labels), length)
    seen: dict[int, list[tuple[str, int]]] = {}
    for row in prepared.parts["dev"].to_pylist():
        assert len(row["input_ids"]) == row["length"] <= length
        assert row["input_ids"][0] == 2 and row["input_ids"][-1] == 3
        assert row["content"] == content_hash(" ".join(sentences[row["row"]]), None)
        assert row["first_word"] == len(seen.get(row["row"], []))
        for word, start, label in zip(row["words"], row["starts"], row["label"], strict=True):
            tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
            expected = word[0] if kind == "wordpiece" else "Ġ"
            assert tokens[start] == expected
            before = tokens[start - 1]
            assert kind == "bytes" or before == "[CLS]" or tokens[start + len(word) - 1].endswith(word[-1])
            seen.setdefault(row["row"], []).append((word, label))
    assert [[word for word, _ in seen[row]] for row in range(20)] == sentences
    assert [[LABELS[label] for _, label in seen[row]] for row in range(20)] == labels
    counts = prepared.counts
    assert counts["dev_rows"] == 20 and counts["dev_words"] == sum(map(len, sentences))
    assert counts["dev_windowed"] == len(
        {row for row in seen if prepared.parts["dev"]["row"].to_pylist().count(row) > 1}
    )
    assert (counts["dev_windowed"] > 0) == (length < 64)


def test_few_sentences_are_tokenised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows and by bytes; what comes out is the same."""
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "wordpiece"), "tagging")
    train, dev = table(some(12, 4)), table(some(20))
    whole = prepare(tokenizer, train, dev).parts["dev"]
    for name, value, most in (("TOKENIZE_ROWS", 4, 4), ("TOKENIZE_BYTES", 40, 20)):
        calls: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(encoding, name, value)
            found = prepare_task({"train": train, "dev": dev}, TAGS, tokenizer, 12, 2, 2, None, None, calls.append)
        assert found.parts["dev"].equals(whole)
        assert max(calls) <= most and len(calls) > 5


def test_a_word_longer_than_an_input_is_cut_and_labelled(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "wordpiece"), "tagging")
    sentence = ["a", "b" * 20, "c"]
    prepared = prepare(tokenizer, table(some(12, 4)), table([sentence], [["O", "B-x", "O"]]), 8)
    rows = prepared.parts["dev"].to_pylist()
    assert [word for row in rows for word in row["words"]] == sentence
    assert [row["truncated"] for row in rows] == [False, True, False]
    assert prepared.counts["dev_truncated"] == 1
    assert rows[1]["starts"] == [1] and rows[1]["label"] == [0] and rows[1]["length"] == 8


def test_a_word_without_a_token_becomes_the_unknown_one(tmp_path: Path) -> None:
    sentence = ["a", "\ue000", "b", "\ue000\ue001"]  # private use: seen as characters, but BERT drops them
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "wordpiece"), "tagging")
    (row,) = prepare(tokenizer, table(some(12, 4)), table([sentence])).parts["dev"].to_pylist()
    assert row["words"] == sentence
    assert row["starts"] == [1, 2, 3, 4]
    assert [row["input_ids"][start] for start in (2, 4)] == [tokenizer.unk_token_id] * 2
    lacking = load_tokenizer(save_tokenizer(tmp_path / "other", "wordpiece", unk_token=None), "tagging")
    with pytest.raises(UserError, match="makes no token of the word"):
        prepare(lacking, table(some(12, 4)), table([sentence]))


def test_parts_are_cut_by_sentences_and_leaks_found_by_words(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "wordpiece"), "tagging")
    train, dev = some(30, 15), [["A", "  b "], ["zz"]]
    train[4], train[5] = ["a", "B"], ["a b"]  # both read as the first sentence of dev
    prepared = prepare(tokenizer, table(train), table(dev), 8)
    assert prepared.counts["leaked_rows"] == 2
    rows = {part: prepared.parts[part]["row"].to_pylist() for part in ("train", "heldout", "select")}
    assert sorted({row for found in rows.values() for row in found}) == [n for n in range(30) if n not in (4, 5)]
    assert sum(len(set(found)) for found in rows.values()) == 28  # the inputs of a sentence stay in one part
    assert len(set(rows["heldout"])) == 2
    assert any(len(found) > len(set(found)) for found in rows.values())


def test_held_out_sentences_have_labels_in_trains_proportion(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "wordpiece"), "tagging")
    sentences = [[chr(97 + n % 26), chr(97 + n // 26), "x"] for n in range(200)]
    labels = [["B-x" if n % 4 == 0 else "O", "O", "O"] for n in range(200)]
    splits = {"train": table(sentences, labels), "dev": table([["zz"]])}
    prepared = prepare_task(splits, TAGS, tokenizer, 12, 40, 20, None, None)
    for part, size in (("heldout", 40), ("select", 20), ("train", 140)):
        strata = prepared.parts[part]["stratum"].to_pylist()
        assert len(strata) == size and sum(strata) == size // 4
    heldout = Rows(prepared.parts["heldout"], TAGS)
    assert heldout.answers.strata.tolist() == prepared.parts["heldout"]["stratum"].to_pylist()


# ---- rows ----


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """20 sentences in inputs of at most 8 tokens."""
    tokenizer = load_tokenizer(save_tokenizer(tmp_path_factory.mktemp("tokenizer"), "wordpiece"), "tagging")
    sentences = some(20)
    labels = [[LABELS[len(word) % 3] for word in words] for words in sentences]
    return Rows(prepare(tokenizer, table(some(12, 4)), table(sentences, labels), 8).parts["dev"], TAGS)


def test_taken_rows_keep_their_words(rows: Rows) -> None:
    assert len(rows) > rows.examples == 20
    order = np.array([7, 0, 3, 3, len(rows) - 1])
    all_words, taken = rows.answers, rows.take(order).answers
    assert all_words.offsets is not None and taken.offsets is not None
    for place, row in enumerate(order):
        one, other = slice(*all_words.offsets[row : row + 2]), slice(*taken.offsets[place : place + 2])
        columns = [(taken.labels, all_words.labels), (taken.tokens, all_words.tokens)]
        columns += [(taken.facts[name], all_words.facts[name]) for name in ("place", "word")]
        for found, expected in columns:
            assert found is not None and expected is not None
            assert found[other].tolist() == expected[one].tolist()
    assert taken.strata.tolist() == all_words.strata[order].tolist()


def test_a_batch_points_at_its_words(rows: Rows) -> None:
    words = rows.answers
    assert words.tokens is not None
    order = np.array([5, 2, 9])
    batch = make_batch("tags", rows, order, 0)
    lines, tokens = batch.targets.rows, batch.targets.tokens
    assert lines is not None and tokens is not None
    expected = [(line, words.tokens[at]) for line, row in enumerate(order) for at in words.of_rows(np.array([row]))]
    assert list(zip(lines.tolist(), tokens.tolist(), strict=True)) == expected
    assert batch.targets.labels.tolist() == words.labels[words.of_rows(order)].tolist()
    assert batch.inputs["input_ids"][lines, tokens].min() > 3  # no special token, no padding


def test_shuffled_labels_are_the_same_ones(rows: Rows) -> None:
    shuffled, before = rows.with_shuffled_labels(1).answers, rows.answers
    assert sorted(shuffled.labels) == sorted(before.labels) and shuffled.labels.tolist() != before.labels.tolist()
    assert shuffled.tokens is before.tokens and shuffled.facts is before.facts


def test_spans_are_scored_over_whole_sentences(tmp_path: Path) -> None:
    """A span that is parted by the end of an input counts once; a label that train never has counts as wrong."""
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "wordpiece"), "tagging")
    sentences = [list("abcdefghijkl"), ["a", "b"]]
    labels = [["O", "B-x", *["I-x"] * 9, "O"], ["B-new", "B-x"]]
    info = replace(TAGS, unseen=("B-new",))
    assert KINDS["tagging"].outputs(info) == 3 and info.names[3] == "B-new"
    dev = Rows(prepare(tokenizer, table(some(12, 4)), table(sentences, labels), 8, info).parts["dev"], info)
    assert len(dev) > 3
    outputs = np.eye(3)[
        np.minimum(dev.answers.labels, 2)
    ]  # all right, but for the new label, which cannot be predicted
    assert score(info, outputs, dev) == pytest.approx({"span_f1": 4 / 5, "span_recall": 2 / 3, "accuracy": 13 / 14})
    predicted = prediction_rows(info, "dev", dev, outputs)
    assert [row["word"] for row in predicted] == [*sentences[0], *sentences[1]]
    assert [(row["row"], row["place"]) for row in predicted] == [*((0, n) for n in range(12)), (1, 0), (1, 1)]
    assert [row["label"] for row in predicted] == [*labels[0], *labels[1]]
    assert predicted[12]["prediction"] == "O" and predicted[13]["prediction"] == "B-x"
