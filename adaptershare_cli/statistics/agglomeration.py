"""Groups by agglomeration: from each task alone on, the two groups are merged whose merging raises a value most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

_LEAST = 1e-9  # a rise by less is none: sums of the same values in another order
Group = tuple[str, ...]


def agglomerate(tasks: Sequence[str], values: Callable[[Group], Mapping[str, float]]) -> list[Group]:
    """The groups at which no merging of two raises the sum of the tasks' values any more.

    `values(group)` gives each of its tasks' value in it. Tasks stand in groups in their order, groups by their first
    task; of two mergings that raise the sum alike the first is done. It is asked for at most T^2 groups.
    """
    order = {task: number for number, task in enumerate(tasks)}
    groups: list[Group] = [(task,) for task in tasks]
    while len(groups) > 1:
        rises = {}
        for one, other in combinations(groups, 2):
            both = tuple(sorted(one + other, key=order.__getitem__))
            before = {**values(one), **values(other)}
            rises[one, other] = both, sum(value - before[task] for task, value in values(both).items())
        (one, other), (both, rise) = max(rises.items(), key=lambda item: item[1][1])
        if rise <= _LEAST:
            break
        groups = sorted([group for group in groups if group not in (one, other)] + [both], key=lambda g: order[g[0]])
    return groups
