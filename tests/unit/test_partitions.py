"""Partitions of tasks: the best one against trying all, their number, and random ones of the same sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.statistics.partitions import (
    any_partition,
    best_partition,
    mask_of,
    members_of,
    partitions,
    random_partition,
    same_sizes,
    sizes_of,
    sorted_partition,
    submasks,
)

BELL = [1, 1, 2, 5, 15, 52, 203, 877]


def check(partition: tuple[int, ...], count: int) -> None:
    """It holds every task once, and is written as all partitions are."""
    assert sum(partition) == (1 << count) - 1 == int(np.bitwise_or.reduce(partition))
    assert all(partition) and partition == sorted_partition(partition)


@pytest.mark.parametrize("count", range(1, 8))
def test_every_partition_once(count: int) -> None:
    found = list(partitions(count))
    assert len(found) == len(set(found)) == BELL[count]
    for partition in found:
        check(partition, count)


@given(st.sets(st.integers(0, 20)))
def test_masks(members: set[int]) -> None:
    assert members_of(mask_of(list(members))) == tuple(sorted(members))


def test_submasks() -> None:
    assert submasks(0b10110).tolist() == [0, 2, 4, 6, 16, 18, 20, 22]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000), st.sampled_from(["numbers", "ties", "forbidden"]))
def test_the_best_is_the_best_of_all(count: int, seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 3, 1 << count).astype(float) if kind == "ties" else random.normal(size=1 << count)
    if kind == "forbidden":
        values[random.random(1 << count) < 0.5] = -np.inf
    totals = {partition: values[list(partition)].sum() for partition in partitions(count)}
    if max(totals.values()) == -np.inf:
        with pytest.raises(ValueError, match="forbidden"):
            best_partition(values)
        return
    found, value = best_partition(values)
    check(found, count)
    assert value == pytest.approx(max(totals.values())) == totals[found]


def test_of_equal_ones_all_alone() -> None:
    assert best_partition(np.zeros(16))[0] == (1, 2, 4, 8)
    sums = np.array([0.1 * mask.bit_count() for mask in range(16)])  # equal but for rounding
    assert best_partition(sums)[0] == (1, 2, 4, 8)


def test_fourteen_tasks_are_quick() -> None:
    """3^14 steps are taken many at a time; alone or in pairs, whoever comes next to whom."""
    values = np.full(1 << 14, -5.0)
    for number in range(14):
        values[1 << number] = 0.0
    for number in range(0, 14, 2):
        values[0b11 << number] = 1.0
    found, value = best_partition(values)
    assert found == tuple(0b11 << number for number in range(0, 14, 2)) and value == 7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 100), st.integers(1, 30))
def test_random_ones_have_the_same_sizes(sizes: list[int], seed: int, at_most: int) -> None:
    generator = np.random.default_rng(seed)
    check(random_partition(sizes, generator), sum(sizes))
    found = same_sizes(sizes, generator, at_most)
    assert len(found) == len(set(found)) and 1 <= len(found) <= at_most
    for partition in found:
        check(partition, sum(sizes))
        assert sizes_of(partition) == tuple(sorted(sizes, reverse=True))


def test_all_of_few_are_found_and_each_is_as_likely() -> None:
    generator = np.random.default_rng(0)
    assert len(same_sizes([2, 2], generator, 100)) == 3 and len(same_sizes([2, 1, 1], generator, 100)) == 6
    drawn = [same_sizes([3, 1, 1, 1], generator, 1)[0] for _ in range(4000)]
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 20 and counts.min() > 140 and counts.max() < 260


def test_any_partition_is_each_as_often() -> None:
    generator = np.random.default_rng(0)
    drawn = [any_partition(4, generator) for _ in range(6000)]
    for partition in drawn[:50]:
        check(partition, 4)
    counts = [drawn.count(partition) for partition in partitions(4)]
    assert sum(counts) == 6000 and min(counts) > 320 and max(counts) < 490  # 400 each, sd 19
    check(any_partition(40, generator), 40)
