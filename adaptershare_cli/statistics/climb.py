"""The best partition of many tasks, nearly: from several starts, as long as a small change makes it better.

A change moves one task to another group or to one of its own, or merges two groups. It is a heuristic: it may end at a
partition that no small change betters though another is better. With few tasks it is compared with the exact answer
(`tests/unit/test_plan_search.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from adaptershare_cli.statistics.partitions import Partition, members_of, sorted_partition

RANDOM_STARTS = 8
_LEAST = 1e-12  # a change for less is none: sums of the same values in another order
Value = Callable[[int], float]  # of a group, by its mask


def climb(
    value: Value, count: int, starts: Iterable[int] = (), wanted: Callable[[int], bool] | None = None
) -> Partition | None:
    """The best partition of `count` tasks that is found; with a group that is `wanted`, where that is asked for.

    It starts from all tasks alone, all together, each group of `starts` beside single tasks, and a few random ones
    (the same ones at every call). None where nothing that was looked at has a wanted group, or all of it is forbidden
    (-inf).
    """
    best: Partition | None = None
    top = -np.inf
    for start in _starts(count, starts):
        here, height = start, sum(map(value, start))
        while True:
            if height > top and (wanted is None or any(map(wanted, here))):
                best, top = here, height
            found, higher = None, height
            for old, new in _changes(here):
                total = sum(value(group) for group in here if group not in old) + sum(map(value, new))
                if total > top and wanted is not None:
                    near = _changed(here, old, new)
                    if any(map(wanted, near)):
                        best, top = near, total
                if total > higher + _LEAST:
                    found, higher = (old, new), total
            if found is None:
                break
            here, height = _changed(here, *found), higher
    return best


def _starts(count: int, groups: Iterable[int]) -> Iterator[Partition]:
    alone = [1 << number for number in range(count)]
    yield tuple(alone)
    yield ((1 << count) - 1,)
    for group in groups:
        yield sorted_partition([group, *(single for single in alone if not single & group)])
    generator = np.random.default_rng(0)
    for _ in range(RANDOM_STARTS):
        labels = generator.integers(0, max(2, count // 3), count)
        yield sorted_partition(
            [sum(1 << int(n) for n in np.flatnonzero(labels == label)) for label in set(labels.tolist())]
        )


def _changes(partition: Partition) -> Iterator[tuple[Partition, Partition]]:
    """The groups that a small change takes out of a partition, and those that it puts in their place."""
    for place, group in enumerate(partition):
        for member in members_of(group):
            single = 1 << member
            if group != single:
                yield (group,), (group ^ single, single)
                for other in partition:
                    if other != group:
                        yield (group, other), (group ^ single, other | single)
        for other in partition[place + 1 :]:
            yield (group, other), (group | other,)


def _changed(partition: Partition, old: Partition, new: Partition) -> Partition:
    return sorted_partition([*(group for group in partition if group not in old), *new])
