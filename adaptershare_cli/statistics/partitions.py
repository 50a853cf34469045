"""Partitions of tasks into groups whose values add up: which is best, and random ones of the same sizes.

A set of tasks is a *mask*: bit i stands for task i. `values` (2^T,) holds the value of every group by its mask
(`values[0]` is not used); the value of a partition is the sum over its groups.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

EXACT_TASKS = 14  # the most tasks for which the best partition is searched for exactly (3^T steps)
_TIE = 1e-12  # a sum of the same values in another order is no better

Partition = tuple[int, ...]  # masks of its groups, by their lowest task


def mask_of(members: Sequence[int]) -> int:
    """The mask of a set of tasks, given by their numbers."""
    return sum(1 << member for member in set(members))


def members_of(mask: int) -> tuple[int, ...]:
    """The numbers of a mask's tasks, ascending."""
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)


def sorted_partition(groups: Sequence[int]) -> Partition:
    """The groups by their lowest task, as every partition here is written."""
    return tuple(sorted(groups, key=lambda mask: mask & -mask))


def partitions(count: int) -> Iterator[Partition]:
    """Every partition of `count` tasks once, the one of single tasks last. Their number is Bell's: 203 for six."""

    def of(rest: int) -> Iterator[Partition]:
        if not rest:
            yield ()
            return
        low = rest & -rest
        for others in submasks(rest ^ low)[::-1]:
            group = low | int(others)
            for tail in of(rest ^ group):
                yield (group, *tail)

    yield from of((1 << count) - 1)


def submasks(mask: int) -> np.ndarray:
    """All subsets of a mask, ascending, the empty one and itself included."""
    found = np.zeros(1, dtype=np.int64)
    for number in members_of(mask):
        found = np.concatenate([found, found | (1 << number)])
    return found


def best_partition(values: np.ndarray) -> tuple[Partition, float]:
    """The partition with the highest value, and that value; of equal ones one with small groups.

    Exact, by dynamic programming over subsets:

        best(S) = max over groups G in S that hold S's lowest task of  values[G] + best(S without G)

    A value of -inf forbids a group. Raises ValueError where every partition holds a forbidden group.
    """
    best, choice = _tables(values)
    whole = len(values) - 1
    if best[whole] == -np.inf:
        raise ValueError("every partition holds a group that is forbidden")
    return _read(choice, whole), float(best[whole])


def best_with(values: np.ndarray, groups: Sequence[int]) -> Partition | None:
    """The best partition that holds one of these groups; None where each of those is forbidden or leaves no way."""
    best, choice = _tables(values)
    whole = len(values) - 1
    masks = np.asarray(groups, dtype=np.int64)
    totals = values[masks] + best[whole ^ masks]
    if not len(masks) or totals.max() == -np.inf:
        return None
    group = int(masks[totals.argmax()])
    return sorted_partition([group, *_read(choice, whole ^ group)])


def _tables(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every set of tasks the value of its best partition, and the group in it that holds its lowest task."""
    best, choice = np.full(len(values), -np.inf), np.zeros(len(values), dtype=np.int64)
    best[0] = 0.0
    subsets = {0: np.zeros(1, dtype=np.int64)}
    for mask in range(1, len(values)):
        high = 1 << (mask.bit_length() - 1)
        below = subsets[mask ^ high]
        subsets[mask] = np.concatenate([below, below | high])
        low = mask & -mask
        groups = subsets[mask ^ low] | low
        found = values[groups] + best[mask ^ groups]
        top = found.max()
        if top > -np.inf:
            near = groups[found >= top - _TIE * max(1.0, abs(top))]
            choice[mask] = near[np.argmin(np.bitwise_count(near.astype(np.uint64)))]
            best[mask] = values[choice[mask]] + best[mask ^ choice[mask]]
    return best, choice


def _read(choice: np.ndarray, mask: int) -> Partition:
    groups = []
    while mask:
        groups.append(int(choice[mask]))
        mask ^= groups[-1]
    return sorted_partition(groups)


def random_partition(sizes: Sequence[int], generator: np.random.Generator) -> Partition:
    """A random partition whose groups have these sizes; all such partitions are equally likely."""
    order = generator.permutation(sum(sizes))
    ends = list(itertools.accumulate(sizes))
    return sorted_partition([mask_of(order[end - size : end].tolist()) for size, end in zip(sizes, ends, strict=True)])


def any_partition(count: int, generator: np.random.Generator) -> Partition:
    """A random partition of `count` tasks; all are equally likely, whatever their sizes."""
    bell = [1]
    for n in range(count):
        bell.append(sum(math.comb(n, k) * bell[k] for k in range(n + 1)))
    left, found = list(range(count)), []
    while left:
        first, *others = left
        n = len(others)
        shares = np.array([math.comb(n, size) * bell[n - size] / bell[n + 1] for size in range(n + 1)])
        size = int(generator.choice(n + 1, p=shares / shares.sum()))
        group = [first, *generator.choice(others, size, replace=False).tolist()] if size else [first]
        found.append(mask_of(group))
        left = [task for task in left if task not in group]
    return sorted_partition(found)


def sizes_of(partition: Partition) -> tuple[int, ...]:
    """The sizes of the groups, the largest first."""
    return tuple(sorted((mask.bit_count() for mask in partition), reverse=True))


def same_sizes(sizes: Sequence[int], generator: np.random.Generator, at_most: int) -> list[Partition]:
    """Different random partitions with groups of these sizes: all there are, or `at_most` of them."""
    total = _number_of(sizes)
    if total <= 2 * at_most:
        wanted = tuple(sorted(sizes, reverse=True))
        every = list(_of_sizes((1 << sum(sizes)) - 1, wanted))
        generator.shuffle(every)
        return [tuple(found) for found in every[:at_most]]
    found: dict[Partition, None] = {}
    while len(found) < at_most:
        found.setdefault(random_partition(sizes, generator))
    return list(found)


def _of_sizes(rest: int, sizes: tuple[int, ...]) -> Iterator[Partition]:
    """Every partition of `rest` into groups of these sizes once."""
    if not rest:
        yield ()
        return
    low = rest & -rest
    for size in dict.fromkeys(sizes):
        left = list(sizes)
        left.remove(size)
        for others in itertools.combinations(members_of(rest ^ low), size - 1):
            group = low | mask_of(others)
            for tail in _of_sizes(rest ^ group, tuple(left)):
                yield (group, *tail)


def _number_of(sizes: Sequence[int]) -> int:
    """How many partitions have groups of these sizes."""
    from math import factorial

    total = factorial(sum(sizes))
    for size in sizes:
        total //= factorial(size)
    for size in set(sizes):
        total //= factorial(list(sizes).count(size))
    return total
