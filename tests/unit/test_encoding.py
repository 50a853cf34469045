"""Cutting train into parts, and texts into token ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data import encoding
from adaptershare_cli.data.encoding import Prepared, content_hash, cut_parts, load_tokenizer, prepare_task
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows import tokens
from tests.conftest import WORDS

# Few different contents, so that many rows are equal.
CONTENTS = st.lists(st.sampled_from([f"c{number}" for number in range(40)]), max_size=80)
SCORED = st.sets(st.sampled_from([f"c{number}" for number in range(40)]), max_size=8)
SIZES = st.integers(0, 20)
BINARY = TaskInfo("task", "classification", ("no", "yes"), None, ("accuracy",))
SCORES = TaskInfo("task", "regression", (), (0.0, 5.0), ("pearson",))
REGRESSION = KINDS["regression"]


# ----------------------------------------------------------------------------------------------------------- the parts


def cut(content: list[str], *more: Any) -> tuple[dict[str, list[int]], int]:
    """`cut_parts` with labels that depend on the content."""
    return cut_parts(content, [len(key) % 3 for key in content], *more)


@given(CONTENTS, SCORED, SIZES, SIZES)
def test_parts_are_disjoint_by_content_and_complete(
    content: list[str], scored: set[str], heldout: int, select: int
) -> None:
    parts, leaked = cut(content, scored, heldout, select, None)
    assert list(parts) == ["heldout", "select", "train"]
    contents = {name: {content[index] for index in rows} for name, rows in parts.items()}
    assert not contents["heldout"] & contents["select"]
    assert not contents["train"] & (contents["heldout"] | contents["select"])
    assert not scored & set().union(*contents.values())
    rows = [index for part in parts.values() for index in part]
    # Each of them once, but of equal held-out contents the first alone.
    copies = {i for i, key in enumerate(content) if key in contents["heldout"] and i != content.index(key)}
    kept = [index for index, key in enumerate(content) if key not in scored and index not in copies]
    assert sorted(rows) == kept
    assert leaked == sum(key in scored for key in content)
    assert all(part == sorted(part) for part in parts.values())


@given(CONTENTS, SCORED, SIZES, SIZES)
def test_parts_are_at_most_as_large_as_asked_and_a_fifth(
    content: list[str], scored: set[str], heldout: int, select: int
) -> None:
    parts, leaked = cut(content, scored, heldout, select, None)
    fifth = (len(content) - leaked) // 5
    assert len(parts["heldout"]) <= min(heldout, fifth)
    assert len(parts["select"]) <= min(select, fifth)


@given(st.integers(0, 120), SIZES, SIZES)
def test_different_contents_fill_the_parts(count: int, heldout: int, select: int) -> None:
    parts, _ = cut([f"row {number}" for number in range(count)], (), heldout, select, None)
    assert len(parts["heldout"]) == min(heldout, count // 5)
    assert len(parts["select"]) == min(select, count // 5)


@given(CONTENTS, SCORED, SIZES, SIZES, st.none() | st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_cut_does_not_depend_on_the_files_order(
    content: list[str], scored: set[str], heldout: int, select: int, limit: int | None, random: Any
) -> None:
    other = list(content)
    random.shuffle(other)
    cuts = [cut(rows, scored, heldout, select, limit) for rows in (content, other)]
    found = [
        {name: Counter(rows[index] for index in part) for name, part in parts.items()}
        for rows, (parts, _) in zip((content, other), cuts, strict=True)
    ]
    assert found[0] == found[1]


@given(CONTENTS, SCORED, SIZES, SIZES, st.integers(1, 60))
def test_the_limit_shortens_train_alone(
    content: list[str], scored: set[str], heldout: int, select: int, limit: int
) -> None:
    whole, _ = cut(content, scored, heldout, select, None)
    short, _ = cut(content, scored, heldout, select, limit)
    assert (short["heldout"], short["select"]) == (whole["heldout"], whole["select"])
    assert len(short["train"]) == min(limit, len(whole["train"]))
    assert set(short["train"]) <= set(whole["train"])


def test_a_limit_does_not_keep_the_files_beginning() -> None:
    parts, _ = cut([f"row {number}" for number in range(1000)], (), 10, 10, 50)
    assert 300 < sum(parts["train"]) / 50 < 700
    assert 200 < sum(parts["select"]) / 10 < 800


def test_a_larger_part_holds_the_smaller_one() -> None:
    content = [f"row {number}" for number in range(500)]
    small, large = (set(cut(content, (), size, 10, None)[0]["heldout"]) for size in (8, 32))
    assert small < large


@given(st.lists(st.integers(0, 3), min_size=60, max_size=200), st.integers(10, 30), st.integers(10, 30))
def test_every_part_has_the_labels_in_trains_proportions(labels: list[int], heldout: int, select: int) -> None:
    parts, _ = cut_parts([f"row {number}" for number in range(len(labels))], labels, (), heldout, select, None)
    for part in parts.values():
        for label, count in Counter(labels).items():
            expected = count * len(part) / len(labels)
            found = sum(labels[index] == label for index in part)
            assert abs(found - expected) <= 4  # at most one more or less a label and end of the part, by four labels


def test_scores_are_spread_over_every_part() -> None:
    scores = [number / 100 for number in range(500)]
    table = pa.table({"label": scores})
    parts, _ = cut_parts([f"row {number}" for number in range(500)], REGRESSION.strata(table), (), 40, 40, None)
    for part in parts.values():
        bins = Counter(int(scores[index] * 8 / 5) for index in part)
        assert max(bins.values()) - min(bins.values()) <= 1 + len(part) / 100
    assert REGRESSION.strata(pa.table({"label": pa.array([], pa.float64())})) == []
    assert len(set(REGRESSION.strata(pa.table({"label": [2.0] * 9})))) == 1


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
