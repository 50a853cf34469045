"""The groups of a layer over the changes of a sharing plan, as bands that part where a group is split."""

from __future__ import annotations

import numpy as np


def bands(history: np.ndarray) -> list[tuple[int, int, int, int, float | None]]:
    """The groups of one layer as bands: (from change, to change, first place, tasks, number at the end or None).

    `history` is (tasks, changes), the group of each task at each change, NaN without an adapter (no band). Places are
    an order of the tasks in which every group stands together as long as groups are only split. A band goes from the
    change at which its group came up to the one at which it was split, or to the end; None is a group that splits yet.
    """
    tasks, changes = history.shape
    keys = [
        tuple(first_with(history[:, change], history[task, change]) for change in range(changes))
        for task in range(tasks)
    ]
    order = sorted((task for task in range(tasks) if not np.isnan(history[task]).any()), key=lambda task: keys[task])
    found: dict[tuple[int, int, int], list[int]] = {}
    for change in range(changes):
        place = 0
        while place < len(order):
            count = 1
            while place + count < len(order) and keys[order[place + count]][change] == keys[order[place]][change]:
                count += 1
            span = found.setdefault((place, count, keys[order[place]][change]), [change, change + 1])
            span[1] = change + 1
            place += count
    return [
        (start, stop, place, count, float(history[order[place], -1]) if stop == changes else None)
        for (place, count, _), (start, stop) in found.items()
    ]


def first_with(groups: np.ndarray, group: float) -> int:
    """The place of the first task of the group: it names the group whatever its number."""
    return int(np.argmax(groups == group))
