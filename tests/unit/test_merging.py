"""Merged adapters: the mean and TIES, exact and by their laws; groups that are found by agglomeration."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.model.merging import RULES, average, disjoint_mean, ties, trimmed
from adaptershare_cli.statistics.agglomeration import Group, agglomerate

SHAPES = {"0.down.weight": (2, 3), "0.down.bias": (2,), "1.up.weight": (3, 2)}


def adapter(values: list[float]) -> dict[str, torch.Tensor]:
    """Fourteen values as an adapter."""
    parts = torch.tensor(values, dtype=torch.float32).split([6, 2, 6])
    return {name: part.reshape(shape) for (name, shape), part in zip(SHAPES.items(), parts, strict=True)}


def flat(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


VALUES = st.lists(st.integers(-64, 64).map(lambda number: number / 8), min_size=14, max_size=14)  # sums are exact
ADAPTERS = st.lists(VALUES, min_size=1, max_size=4).map(lambda found: [adapter(values) for values in found])


def test_trimming_keeps_the_largest_by_size() -> None:
    change = torch.tensor([0.5, -3.0, 0.0, 2.0, -0.5, 1.0, 0.25, -0.125, 0.0625, 0.75])
    assert trimmed(change, 0.2).tolist() == [0, -3.0, 0, 2.0, 0, 0, 0, 0, 0, 0]
    assert trimmed(change, 0.001).tolist() == [0, -3.0, *[0] * 8]
    assert trimmed(change, 1.0).tolist() == change.tolist()


def test_the_sign_that_weighs_more_is_elected() -> None:
    changes = torch.tensor([[3.0, 1.0, 2.0, 0.0], [-1.0, -2.0, -2.0, 4.0], [-1.0, 0.0, 0.0, 2.0]])
    # + of 3 against 2; - of 2 against 1; a draw; zeros count for nothing
    assert disjoint_mean(changes).tolist() == [3.0, -2.0, 0.0, 3.0]


def test_ties_by_hand() -> None:
    """Three of fourteen entries stay of each adapter, whichever tensor they are in."""
    start = adapter([1.0] * 14)
    first = adapter([1.0, 5.0, 1.5, 1.0, 1.0, 1.0, 1.0, -2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0])
    other = adapter([1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.5, 1.0, -4.0])
    merged = ties(start, [first, other])
    assert [(name, tuple(tensor.shape)) for name, tensor in merged.items()] == list(SHAPES.items())
    # second: (4 + 2) / 2; eighth: -3 against 1; last: 2 against -5; what is small is gone
    assert flat(merged).tolist() == [1.0, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0, -2.0, 1.0, 1.0, 1.0, 1.0, 1.0, -4.0]


def test_the_mean_by_hand() -> None:
    first, other = adapter([1.0] * 14), adapter([float(number) for number in range(14)])
    assert flat(average({}, [first, other])).tolist() == [(1 + number) / 2 for number in range(14)]


@given(ADAPTERS, VALUES, st.randoms(use_true_random=False))
def test_the_order_of_adapters_does_not_matter(adapters: list[Any], start: list[float], draw: Any) -> None:
    shuffled = draw.sample(adapters, len(adapters))
    for rule in RULES.values():
        one, other = (flat(rule(adapter(start), found)) for found in (adapters, shuffled))
        assert one.tolist() == other.tolist()


@given(VALUES, VALUES, st.integers(1, 7))
def test_copies_of_one_adapter_are_merged_into_it(start: list[float], values: list[float], copies: int) -> None:
    same = [adapter(values)] * copies
    assert flat(average(adapter(start), same)).tolist() == values
    assert flat(ties(adapter(start), same, density=1.0)).tolist() == values


@given(ADAPTERS, VALUES)
def test_ties_leaves_what_no_adapter_changed_much_and_stays_within_the_changes(
    adapters: list[Any], start: list[float]
) -> None:
    begun = flat(adapter(start))
    change = flat(ties(adapter(start), adapters)) - begun
    changes = torch.stack([trimmed(flat(found).double() - begun.double(), 0.2) for found in adapters])
    assert (change[(changes == 0).all(0)] == 0).all()
    assert (change.double() <= changes.amax(0).clamp(min=0) + 1e-6).all()
    assert (change.double() >= changes.amin(0).clamp(max=0) - 1e-6).all()


@given(ADAPTERS, VALUES)
def test_mirrored_changes_give_the_mirrored_change(adapters: list[Any], start: list[float]) -> None:
    begun = flat(adapter(start))
    mirrored = [adapter((2 * begun - flat(found)).tolist()) for found in adapters]
    one, other = (flat(ties(adapter(start), found)) - begun for found in (adapters, mirrored))
    assert torch.allclose(one, -other, atol=1e-5)


# ---- which are merged ----

TASKS = ("a", "b", "c", "d", "e")
TABLE = st.lists(st.integers(-3, 3), min_size=32 * 5, max_size=32 * 5)


@given(TABLE)
def test_agglomeration_ends_where_no_merging_pays(table: list[int]) -> None:
    """Sums of tenths: what is the same but for rounding is no rise."""

    def values(group: Group) -> dict[str, float]:
        mask = sum(1 << TASKS.index(task) for task in group)
        return {task: 0.1 * table[5 * mask + TASKS.index(task)] for task in group}

    def total(group: Group) -> float:
        return sum(values(group).values())

    groups = agglomerate(TASKS, values)
    assert sorted(task for group in groups for task in group) == list(TASKS)
    assert groups == sorted(groups) and all(group == tuple(sorted(group)) for group in groups)
    for one, other in combinations(groups, 2):
        assert total(tuple(sorted(one + other))) <= total(one) + total(other) + 1e-6
    apart = sum(total((task,)) for task in TASKS)
    assert sum(map(total, groups)) > apart + 0.05 or len(groups) == len(TASKS)


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ({}, [(task,) for task in TASKS]),
        ({"ac": 0.1, "bd": 0.3}, [("a", "c"), ("b", "d"), ("e",)]),
        ({"ab": 0.1, "bc": 0.2, "ac": -0.4}, [("a",), ("b", "c"), ("d",), ("e",)]),  # the best pair comes first
        ({"ab": 0.2, "bc": 0.1, "ac": 0.0}, [("a", "b", "c"), ("d",), ("e",)]),
    ],
)
def test_the_merging_that_raises_most_comes_first(pairs: dict[str, float], found: list[Group]) -> None:
    """Each task gains in a group what its pairs there say."""

    def values(group: Group) -> dict[str, float]:
        return {task: sum(gain for pair, gain in pairs.items() if task in pair and set(pair) <= {*group})
                for task in group}  # fmt: skip

    assert agglomerate(TASKS, lambda group: values(group)) == found
