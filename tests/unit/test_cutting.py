"""How train is cut and samples are taken, whatever repeats: laws over groups of all sizes and their labels."""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.data.cutting import (
    Cut,
    absent_labels,
    cut_parts,
    cut_shares,
    in_proportion,
    lost_labels,
    sample,
)
from adaptershare_cli.kinds import KINDS

Row = tuple[str, Any]  # content and label
SIZES = st.integers(1, 40)
# Copies of each text, their labels, and texts that stand in a scored split.
ROWS = st.lists(
    st.lists(st.sampled_from("aab"), min_size=1, max_size=12) | st.sampled_from(["a", "b", "c" * 30]), max_size=60
).map(lambda groups: [(f"text {at}", label) for at, labels in enumerate(groups) for label in labels])
SCORED = st.sets(st.integers(0, 60).map("text {}".format), max_size=5)


def cut(rows: list[Row], heldout: int, select: int, limit: int | None = None, scored: Any = ()) -> Cut:
    """`cut_parts` of rows with one label each."""
    content, labels = [key for key, _ in rows], [label for _, label in rows]
    return cut_parts(content, labels, [(label,) for label in labels], set(scored), heldout, select, limit)


def of(rows: list[Row], part: list[int]) -> Counter[Any]:
    """How many rows of a part have each label."""
    return Counter(rows[row][1] for row in part)


def copies(*groups: tuple[int, Any], prefix: str = "text") -> list[Row]:
    """A text for each group: so many copies of it with this label."""
    return [(f"{prefix} {at}", label) for at, (count, label) in enumerate(groups) for _ in range(count)]


# ---- laws ----


@given(ROWS, SCORED, SIZES, SIZES)
def test_every_row_has_one_place_and_a_text_one_part(
    rows: list[Row], scored: set[str], heldout: int, select: int
) -> None:
    found = cut(rows, heldout, select, scored=scored)
    places = [*found.leaks, *found.aside, *(row for part in found.parts.values() for row in part)]
    assert sorted(places) == list(range(len(rows)))
    assert set(found.leaks) == {row for row, (key, _) in enumerate(rows) if key in scored}
    texts = {name: {rows[row][0] for row in part} for name, part in found.parts.items()}
    assert list(texts) == ["heldout", "select", "train"]
    assert sum(map(len, texts.values())) == len(set().union(*texts.values()))
    # What is left aside are copies of texts that held-out or select rows have.
    assert {rows[row][0] for row in found.aside} <= texts["heldout"] | texts["select"]
    assert all(part == sorted(part) for part in found.parts.values())
    assert found.whole == found.parts["train"]


@given(ROWS, SCORED, SIZES, SIZES)
def test_parts_are_at_most_as_large_as_asked_and_a_fifth_and_none_is_empty(
    rows: list[Row], scored: set[str], heldout: int, select: int
) -> None:
    found = cut(rows, heldout, select, scored=scored)
    kept = len(rows) - len(found.leaks)
    assert len(found.parts["heldout"]) <= min(heldout, kept // 5)
    assert len(found.parts["select"]) <= min(select, kept // 5)
    if kept >= 5 and len({key for key, _ in rows} - scored) >= 3:
        assert all(found.parts.values())


@given(ROWS, SCORED, SIZES, SIZES)
def test_train_keeps_the_largest_group_of_every_label(
    rows: list[Row], scored: set[str], heldout: int, select: int
) -> None:
    found = cut(rows, heldout, select, scored=scored)
    groups = Counter(row for row in rows if row[0] not in scored)
    labels = {label for _, label in groups}
    largest = {label: max(count for (_, other), count in groups.items() if other == label) for label in labels}
    if len({key for key, _ in groups}) >= len(labels) + 2:  # two texts are left for the other parts
        there = of(rows, found.parts["train"])
        assert all(there[label] >= count for label, count in largest.items())
        assert not {"leaks", "cut"} & set(lost_labels(labels, [(label,) for _, label in rows], found).values())


@given(ROWS, SCORED, SIZES, SIZES, st.none() | st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_cut_does_not_depend_on_the_rows_order(
    rows: list[Row], scored: set[str], heldout: int, select: int, limit: int | None, random: Random
) -> None:
    other = random.sample(rows, len(rows))
    one, two = (cut(some, heldout, select, limit, scored).parts for some in (rows, other))
    for name in one:
        assert Counter(rows[row] for row in one[name]) == Counter(other[row] for row in two[name])


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from("aaabbc")), min_size=80, max_size=120), st.integers(20, 64),
    st.integers(20, 64), st.integers(20, 64),
)  # fmt: skip
def test_parts_and_samples_have_the_labels_in_trains_proportions(
    groups: list[tuple[int, str]], heldout: int, select: int, limit: int
) -> None:
    """With at least a dozen texts a label of any size, a part is as large as asked and has each label's share."""
    rows = copies(*groups, *[(2, label) for label in "abc" for _ in range(12)])
    found, total = cut(rows, heldout, select, limit), of(rows, range(len(rows)))  # type: ignore[arg-type]
    for name, size in {"heldout": heldout, "select": select, "train": limit}.items():
        part = found.parts[name]
        size = min(size, len(rows) // 5 if name != "train" else size)
        assert len(part) == size
        for label, count in total.items():
            assert abs(of(rows, part)[label] - count * size / len(rows)) <= len(total)


@settings(max_examples=20)
@given(st.sampled_from(["b", "ab", "aab", "abc"]), st.integers(80, 120), st.randoms(use_true_random=False))
def test_annotators_who_disagree(labels: str, texts: int, random: Random) -> None:
    """Several labels within one text's group: shares are kept, and sizes."""
    rows = [(f"text {at}", random.choice([*labels, "a"])) for at in range(texts) for _ in range(3)]
    found, total = cut(rows, 30, 40), of(rows, list(range(len(rows))))
    assert [len(found.parts[name]) for name in ("heldout", "select")] == [30, 40]
    for name in ("heldout", "select"):
        for label, count in total.items():
            assert abs(of(rows, found.parts[name])[label] - count * len(found.parts[name]) / len(rows)) <= 3


@given(ROWS, SIZES, SIZES, st.integers(1, 60))
def test_a_limit_shortens_train_alone(rows: list[Row], heldout: int, select: int, limit: int) -> None:
    whole, short = cut(rows, heldout, select), cut(rows, heldout, select, limit)
    assert (short.parts["heldout"], short.parts["select"]) == (whole.parts["heldout"], whole.parts["select"])
    assert short.whole == whole.parts["train"] and set(short.parts["train"]) <= set(short.whole)
    assert len(short.parts["train"]) == min(limit, len(whole.parts["train"]))


@given(ROWS, st.integers(1, 60))
def test_every_beginning_has_each_labels_share(rows: list[Row], size: int) -> None:
    content, labels = [key for key, _ in rows], [label for _, label in rows]
    order = in_proportion(range(len(rows)), content, labels)
    assert sorted(order) == list(range(len(rows)))
    assert sample(content, labels, size) == sorted(order[:size])
    assert sample(content, labels, None) == list(range(len(rows)))
    for label, count in Counter(labels).items():
        found = sum(labels[row] == label for row in order[:size])
        assert abs(found - count * min(size, len(rows)) / len(rows)) <= len(set(labels))


# ---- where all contents differ ----


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3), min_size=60, max_size=200), st.integers(10, 30), st.integers(10, 30))
def test_different_texts_fill_the_parts_in_one_order(labels: list[int], heldout: int, select: int) -> None:
    """A larger held-out part holds the smaller one, and what is select begins where it ends."""
    rows = [(f"row {number}", label) for number, label in enumerate(labels)]
    found, larger = cut(rows, heldout, select), cut(rows, heldout + 5, select)
    fifth = len(rows) // 5
    assert [len(found.parts[name]) for name in ("heldout", "select")] == [min(heldout, fifth), min(select, fifth)]
    assert not found.aside and set(found.parts["heldout"]) <= set(larger.parts["heldout"])
    assert set(larger.parts["heldout"]) <= {*found.parts["heldout"], *found.parts["select"]}


def test_parts_and_samples_are_not_the_files_beginning() -> None:
    rows = [(f"row {number}", number % 3) for number in range(1000)]
    found = cut(rows, 10, 10, 50)
    assert 300 < sum(found.parts["train"]) / 50 < 700
    assert 200 < sum(found.parts["select"]) / 10 < 800
    assert found.parts["heldout"] == [78, 185, 234, 258, 288, 317, 334, 367, 644, 664]  # as ever: no row moves


def test_scores_are_spread_over_every_part() -> None:
    scores = [number / 100 for number in range(500)]
    kind = KINDS["regression"]
    strata = kind.strata(pa.table({"label": scores}))
    content = [f"row {number // 2}" for number in range(500)]
    found = cut_parts(content, strata, kind.row_labels(pa.table({"label": scores})), set(), 40, 40, 80)
    for part in found.parts.values():
        bins = Counter(int(scores[row] * 8 / 5) for row in part)
        assert max(bins.values()) - min(bins.values()) <= 2
    assert kind.strata(pa.table({"label": pa.array([], pa.float64())})) == []
    assert len(set(kind.strata(pa.table({"label": [2.0] * 9})))) == 1


# ---- kinds of repetition ----


@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_as_many_copies_of_each_text(times: int) -> None:
    found = cut(copies(*[(times, at % 2) for at in range(330 // times)]), 64, 128)
    assert len(found.parts["heldout"]) == 64 and len(found.parts["select"]) in (65, 66)
    assert len(found.aside) <= 2 * times


def test_a_few_frequent_texts() -> None:
    """60 % of the rows are four texts of one label: each part has it in about that share."""
    rows = copies((100, 0), (91, 0), (90, 0), (79, 0), *[(1, 1)] * 240)
    found = cut(rows, 64, 128, 60)
    assert [of(rows, found.parts[name]) for name in found.parts] == [{0: 38, 1: 26}, {0: 72, 1: 48}, {0: 36, 1: 24}]
    assert len({rows[row][0] for row in found.parts["train"]} & {f"text {at}" for at in range(4)}) == 2


def test_one_text_with_a_large_share_of_the_rows() -> None:
    shared = copies((400, 0), *[(1, at % 2) for at in range(600)])
    found = cut(shared, 64, 128, 60)
    assert [of(shared, found.parts[name])[0] for name in found.parts] == [45, 89, 42]  # 70 %
    assert not found.aside
    own = copies((400, 0), *[(1, 1 + at % 2) for at in range(600)])  # the only one of its label: it stays in train
    found = cut(own, 64, 128, 60)
    counts = [of(own, part) for part in found.parts.values()]
    assert counts == [{1: 32, 2: 32}, {1: 64, 2: 64}, {0: 24, 1: 18, 2: 18}]
    expected = absent_labels([0, 1, 2], [label for _, label in own], found)  # type: ignore[list-item]
    assert expected == {"heldout": [0], "select": [0]}


def test_more_labels_than_rows_of_a_part_and_each_text_often() -> None:
    rows = copies(*[(20, at % 77) for at in range(77 * 5)])
    found = cut(rows, 64, 128)
    assert [len(of(rows, found.parts[name])) for name in found.parts] == [64, 77, 77]
    assert max(of(rows, found.parts["heldout"]).values()) == 1


def test_three_texts_are_enough_and_fewer_are_not() -> None:
    found = cut(copies((20, 0), (20, 0), (20, 0)), 64, 128)
    assert [len(part) for part in found.parts.values()] == [12, 12, 20]
    assert [len(part) for part in cut([("text", at % 2) for at in range(100)], 64, 128).parts.values()] == [0, 0, 100]


def test_labels_that_train_lost_and_what_took_them() -> None:
    rows = copies((3, "leaked"), *[(1, "many")] * 40, (1, "few"))
    found = cut(rows, 4, 4, limit=5, scored=["text 0"])
    labels = [{label} for _, label in rows]
    assert lost_labels(["few", "many", "leaked", "new"], labels, found) == {
        "few": "sample", "leaked": "leaks", "new": "source"}  # fmt: skip
    each = copies(*[(1, at) for at in range(10)])  # each label has one row: some must go
    found = cut(each, 2, 2)
    assert [len(part) for part in found.parts.values()] == [2, 2, 6]
    assert Counter(lost_labels(range(10), [(at,) for at in range(10)], found).values()) == {"cut": 4}  # type: ignore[arg-type]


def test_many_rows_take_seconds() -> None:
    rows = copies(*[(2, at % 3) for at in range(10_000)])
    started = time.process_time()
    assert len(cut(rows, 65, 128).parts["heldout"]) == 65
    assert time.process_time() - started < 20


# ---- shares of train as splits ----


def shares(rows: list[Row], **of_train: float) -> dict[str, list[int]]:
    """`cut_shares` of rows with one label each."""
    content, labels = [key for key, _ in rows], [label for _, label in rows]
    return cut_shares(content, labels, [(label,) for label in labels], of_train)


@given(ROWS, st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_shares_hold_every_row_once_and_a_text_stands_on_one_side(rows: list[Row], dev: float, test: float) -> None:
    found = shares(rows, dev=dev, test=test)
    assert list(found) == ["train", "dev", "test"]
    assert sorted(row for part in found.values() for row in part) == list(range(len(rows)))
    texts = [{rows[row][0] for row in part} for part in found.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert bool(found["train"]) == bool(rows)


@given(st.lists(st.integers(0, 3), min_size=40, max_size=200), st.floats(0.1, 0.4))
def test_shares_of_different_texts_are_as_large_as_asked_and_have_the_labels_in_proportion(
    labels: list[int], dev: float
) -> None:
    rows = [(f"text {at}", label) for at, label in enumerate(labels)]
    found = shares(rows, dev=dev)["dev"]
    assert abs(len(found) - dev * len(rows)) <= 1
    for label, count in Counter(labels).items():
        assert abs(of(rows, found)[label] - dev * count) <= 2


def test_shares_do_not_depend_on_the_rows_order() -> None:
    rows = copies(*[(1 + at % 3, "ab"[at % 2]) for at in range(60)])
    order = Random(0).sample(range(len(rows)), len(rows))
    found, other = shares(rows, dev=0.25), shares([rows[at] for at in order], dev=0.25)
    assert {rows[row][0] for row in found["dev"]} == {rows[order[row]][0] for row in other["dev"]}
