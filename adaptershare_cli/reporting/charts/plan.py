"""The picture of a sharing plan on a page: who shares in which layer at the end, and from which update on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptershare_cli.reporting.bands import bands, first_with
from adaptershare_cli.reporting.charts.drawing import Drawing, Scale, tick_text

CELL, STRIP, LEFT, TOP = 46, 300, 46, 26
LOWEST_ROW, TASK_HEIGHT = 22, 4  # a band of one task is still seen
COLOURS = 8


def plan_drawing(
    history: dict[int, np.ndarray], tasks: Sequence[str], steps: Sequence[int], last_step: int, title: str
) -> Drawing:
    """Layers as rows, the first one at the bottom; left the groups at the end, right how they came about.

    `history` has for each layer the group of each task at each of `steps` (tasks, changes), NaN without an adapter.
    """
    names = 7.2 * max(map(len, tasks)) * 0.72 + 12
    row = max(LOWEST_ROW, TASK_HEIGHT * len(tasks))
    bottom = TOP + row * len(history)
    right = LEFT + CELL * len(tasks) + 40
    drawing = Drawing(right + STRIP + 30, bottom + max(names, 40), title)
    drawing.add("text", "name", "group at the end", x=LEFT, y=TOP - 10)
    drawing.add("text", "name", "from which update on (grey: splits later)", x=right, y=TOP - 10)
    end = max(last_step, steps[-1] + 1)
    scale = Scale(float(steps[0]), float(end), right, right + STRIP)
    edges = [*map(float, steps), float(end)]
    for number, layer in enumerate(sorted(history)):
        top = bottom - row * (number + 1)
        drawing.add("text", "tick", str(layer), x=LEFT - 8, y=top + row / 2 + 4, text_anchor="end")
        _groups(drawing, history[layer], tasks, top, row, layer)
        _bands(drawing, history[layer], edges, scale, top, row)
    for number, task in enumerate(tasks):
        x = LEFT + CELL * (number + 0.5) + 4
        drawing.add("text", "tick", task, x=x, y=bottom + 14, text_anchor="end",
                    transform=f"rotate(-45 {x:.1f} {bottom + 14})")  # fmt: skip
    drawing.add("text", "name", "layer", x=2, y=TOP - 10)
    for step in _told(edges):
        drawing.add("line", "axis", x1=scale(step), x2=scale(step), y1=bottom, y2=bottom + 4)
        drawing.add("text", "tick", tick_text(step), x=scale(step), y=bottom + 17, text_anchor="middle")
    return drawing


def _groups(drawing: Drawing, history: np.ndarray, tasks: Sequence[str], top: float, row: float, layer: int) -> None:
    final = history[:, -1]
    for number, group in enumerate(final):
        x = LEFT + CELL * number
        if np.isnan(group):
            continue
        members = ", ".join(task for task, other in zip(tasks, final, strict=True) if other == group)
        same = number + 1 < len(final) and final[number + 1] == group
        drawing.add("rect", f"g{first_with(final, group) % COLOURS}", tip=f"layer {layer}: {members}", x=x, y=top + 1,
                    width=CELL if same else CELL - 3, height=row - 2)  # fmt: skip
        drawing.add("text", "on-group", f"{int(group)}", x=x + CELL / 2, y=top + row / 2 + 4, text_anchor="middle")


def _bands(drawing: Drawing, history: np.ndarray, edges: Sequence[float], scale: Scale, top: float, row: float) -> None:
    height = (row - 3) / len(history)
    for start, stop, place, count, group in bands(history):
        colour = "g-split" if group is None else f"g{first_with(history[:, -1], group) % COLOURS}"
        drawing.add("rect", f"{colour} band", x=scale(edges[start]), y=top + 1 + height * place,
                    width=scale(edges[stop]) - scale(edges[start]), height=max(1.0, height * count - 0.7))  # fmt: skip


def _told(edges: Sequence[float]) -> list[float]:
    """The steps to write below: the first, the last, and those between that have room."""
    room = (edges[-1] - edges[0]) / 8
    kept = [edges[0], edges[-1]]
    for step in edges[1:-1]:
        if all(abs(step - other) >= room for other in kept):
            kept.append(step)
    return sorted(kept)
