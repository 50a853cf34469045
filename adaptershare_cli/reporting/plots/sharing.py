"""The picture of a sharing plan: who shares what at the end, and how the groups of each layer split over the steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from adaptershare_cli.measures.plan import last_plan
from adaptershare_cli.reporting.bands import bands, first_with
from adaptershare_cli.reporting.plots.canvas import (
    FAINT,
    INK,
    axes_at,
    hatched,
    name_columns,
    new_figure,
    save,
    write_title,
)  # fmt: skip

GROUP_COLOURS = (  # Tol's "light" scheme: safe for the colour-blind, and black numbers are readable on it
    "#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00",
)  # fmt: skip
SPLITS_YET = "#e2e2e2"
NUMBER_SIZE = 6.5  # points


def sharing_picture(sharing: pd.DataFrame, path_stem: Path, title: str, last_step: int | None = None) -> list[Path]:
    """Draw the last plan and the tree of splits that led to it, layer by layer; return PNG and SVG.

    `sharing` is of `schemas.SHARING`. On the left layers x tasks in the table's order: a number is a group, its colour
    that of its first task, in all layers and pictures; a line parts neighbours that do not share. On the right each
    layer's groups over the steps of the last phase: a band is a group, as high as it has tasks, that parts where it was
    split. It has its group's colour from the step on from which that stays as it is, and is grey as long as it splits
    yet. `last_step`, the number of updates of that phase, is where the time ends; if it is not given, the last plan is
    drawn for a while. Raises ValueError for an empty table.
    """
    plan = last_plan(sharing)
    phase = sharing[sharing["phase"] == sharing["phase"].iloc[-1]]
    wide = phase.pivot(index=["layer", "task"], columns="step", values="group").sort_index(axis=1)
    history = {layer: wide.reindex([(layer, task) for task in plan.columns]).to_numpy(float) for layer in plan.index}
    with new_figure() as figure:
        _draw(figure, plan, history, [int(step) for step in wide.columns], last_step, title)
        return save(figure, path_stem)


def _draw(
    figure: Figure,
    plan: pd.DataFrame,
    history: dict[int, np.ndarray],
    steps: list[int],
    last_step: int | None,
    title: str,
) -> None:
    layers, tasks = plan.shape
    row = max(float(np.interp(layers, [6, 12, 24], [0.37, 0.3, 0.24])), min(0.06 * tasks, 0.48), 0.018 * tasks)
    cell = float(np.interp(tasks, [2, 8, 30], [0.8, 0.5, 0.28]))
    width, height = cell * tasks, row * layers
    strip = float(np.clip(0.5 * width, 2.8, 4.2))
    figure.set_size_inches(width + strip + 3, height + 3)
    axes = axes_at(figure, 1.2, 1.5, width, height)
    _draw_groups(axes, plan)
    name_columns(axes, list(plan.columns), cell)
    axes.set_yticks(range(layers), [str(layer) for layer in plan.index], fontsize=8)
    axes.set_ylabel("layer", fontsize=9)
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)
    axes.set_title("group at the end", fontsize=8.5, color=FAINT, loc="left", pad=5)
    axes.set_xlim(-0.5, tasks - 0.5)
    axes.set_ylim(-0.5, layers - 0.5)
    tree = axes_at(figure, 1.2 + width + 0.35, 1.5, strip, height)
    _draw_splits(tree, plan, history, steps, last_step, row, strip)
    write_title(axes, title, width + strip, 0.33)


def _draw_groups(axes: Axes, plan: pd.DataFrame) -> None:
    """One rectangle a cell, layer 0 at the bottom; neighbours of one group run into each other."""
    groups = plan.to_numpy(dtype=float, na_value=np.nan)
    layers, tasks = groups.shape
    for layer, task in np.ndindex(groups.shape):
        group = groups[layer, task]
        if np.isnan(group):
            axes.add_patch(hatched(task - 0.5, layer - 0.5))
            continue
        colour = _colour(groups[layer], group)
        axes.add_patch(Rectangle((task - 0.5, layer - 0.5), 1, 1, facecolor=colour, edgecolor=colour, linewidth=0.3))
        axes.text(task, layer, f"{int(group)}", ha="center", va="center", fontsize=8, color=INK)
    for line in np.arange(0.5, layers - 1):
        axes.axhline(line, color="white", linewidth=2.2)
    for layer, task in np.ndindex(layers, tasks - 1):
        if groups[layer, task] != groups[layer, task + 1]:
            axes.plot([task + 0.5] * 2, [layer - 0.5, layer + 0.5], color="white", linewidth=3, solid_capstyle="butt")


def _colour(groups: np.ndarray, group: float) -> str:
    """The colour of a group is that of its first task, whatever the group's number; `groups` are those of the tasks."""
    return GROUP_COLOURS[first_with(groups, group) % len(GROUP_COLOURS)]


def _draw_splits(
    axes: Axes,
    plan: pd.DataFrame,
    history: dict[int, np.ndarray],
    steps: list[int],
    last_step: int | None,
    row: float,
    width: float,
) -> None:
    """The tree of each layer: steps across, the layer's tasks from top to bottom, their groups as bands."""
    end = float(steps[-1] if last_step is None else max(last_step, steps[-1]))
    least = steps[-1] + max(1.0, (0.12 if last_step is None else 0.02) * (steps[-1] - steps[0]))
    edges = [*map(float, steps), max(end, least)]
    inch = (edges[-1] - edges[0]) / width  # in steps
    for place, layer in enumerate(plan.index):
        for start, stop, top, count, group in bands(history[layer]):
            left, right = edges[start], edges[stop]
            height = 0.86 * count / plan.shape[1]  # of the layer's row
            bottom = place + 0.43 - 0.86 * top / plan.shape[1] - height
            colour = SPLITS_YET if group is None else _colour(history[layer][:, -1], group)
            axes.add_patch(
                Rectangle((left, bottom), right - left, height, facecolor=colour, edgecolor="white", linewidth=0.7)
            )
            if group is not None and height * row >= 0.1 and right - left >= 0.17 * inch:
                middle = ((left + right) / 2, bottom + height / 2)
                axes.text(*middle, f"{int(group)}", ha="center", va="center", fontsize=NUMBER_SIZE, color=INK)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-0.5, len(plan) - 0.5)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8, length=2)
    axes.set_xticks(*_step_ticks([float(step) for step in steps], last_step, inch))
    axes.set_xticks(steps, minor=True)
    axes.set_xlabel("step", fontsize=8.5)
    axes.set_title("how the groups split (grey: splits later)", fontsize=8.5, color=FAINT, loc="left", pad=5)


def _step_ticks(steps: list[float], last_step: int | None, inch: float) -> tuple[list[float], list[str]]:
    """The steps at which the plan changed and the last one, but for changes too close to their neighbours.

    `inch` is the number of steps to an inch.
    """
    ends = [steps[0]] if last_step is None else [steps[0], float(max(last_step, steps[-1]))]
    kept = list(dict.fromkeys(ends))
    for step in steps[1:]:
        room = [0.06 + 0.035 * len(f"{step:.0f}{other:.0f}") for other in kept]  # half of both labels, in inches
        if all(abs(step - other) >= inches * inch for other, inches in zip(kept, room, strict=True)):
            kept.append(step)
    return sorted(kept), [f"{step:.0f}" for step in sorted(kept)]
