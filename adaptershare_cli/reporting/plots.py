"""Pictures of a correlation and of a sharing plan, as PNG and SVG.

Pictures are made on `Figure` objects of their own (no pyplot, no window), and the same values give the same bytes.
All sizes are inches until they are handed to matplotlib, so that cells and names keep their size whatever the number
of tasks, and the picture grows instead.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.spatial.distance import squareform

from adaptershare_cli import schemas
from adaptershare_cli.correlation.plan import last_plan

SHARES = frozenset({"plan"})  # measures with values from 0 to 1; all others are signed and centred at 0
WRITTEN_CELLS = 12  # up to so many tasks the values stand in the cells
DIAGONAL, UNKNOWN, INK, FAINT = "#d4d4d4", "#f4f4f4", "#222222", "#777777"
GROUP_COLOURS = (  # Tol's "light" scheme: safe for the colour-blind, and black numbers are readable on it
    "#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00", "#DDDDDD",
)  # fmt: skip
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "text.parse_math": False,  # a "$" in a task's name is a "$"
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",  # text stays text: small, searchable
    "svg.hashsalt": "adaptershare",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def heat_map(correlation: pd.DataFrame, path_stem: Path, title: str, directed: bool = False) -> list[Path]:
    """Draw the values over all layers as a heat map, tasks ordered by a clustering, and return PNG and SVG.

    `correlation` (`schemas.CORRELATION`) is one measure; only its rows of layer -1 are drawn. The dendrogram (for three
    or more tasks) is average linkage on 1 - value; for a directed measure on the mean of both directions, and unknown
    pairs are as far apart as the known ones are on average. If the table has a null, the median over the pairs of its
    95 % level is marked in the colour scale, and values above their own pair's level are marked in their cells.
    Raises ValueError without rows.
    """
    values, levels = _matrices(correlation)
    signed = not set(correlation["measure"]) <= SHARES
    tree = _tree(values.to_numpy())
    order = leaves_list(tree) if tree is not None else np.arange(len(values))
    values, levels = values.iloc[order, order], levels.iloc[order, order]
    with style.context(["default", STYLE]):  # whatever the user's matplotlibrc says
        figure = Figure()
        FigureCanvasAgg(figure)
        _draw_heat_map(figure, values, levels, tree, title, signed, directed)
        return _save(figure, path_stem)


def sharing_picture(sharing: pd.DataFrame, path_stem: Path, title: str) -> list[Path]:
    """Draw the last plan (layers x tasks, colour and number = group) and how it came about; return PNG and SVG.

    `sharing` is of `schemas.SHARING`. Tasks are ordered so that those that share in many layers are neighbours; a line
    parts neighbours that do not share. The panel on the right has the number of groups of each layer over the steps of
    the last phase. Raises ValueError for an empty table.
    """
    plan = last_plan(sharing)
    groups = plan.to_numpy(dtype=float, na_value=np.nan)
    same = (groups[:, :, None] == groups[:, None, :]).mean(axis=0)
    tree = _tree(same)
    plan = plan.iloc[:, leaves_list(tree)] if tree is not None else plan
    phase = sharing[sharing["phase"] == sharing["phase"].iloc[-1]]
    counts = phase.groupby(["layer", "step"])["group"].nunique().unstack("step").reindex(plan.index)
    with style.context(["default", STYLE]):  # whatever the user's matplotlibrc says
        figure = Figure()
        FigureCanvasAgg(figure)
        _draw_plan(figure, plan, counts, title)
        return _save(figure, path_stem)


def _save(figure: Figure, path_stem: Path) -> list[Path]:
    paths = [Path(f"{path_stem}.png"), Path(f"{path_stem}.svg")]  # with_suffix would cut a stem with a dot
    whole: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15}
    figure.savefig(paths[0], dpi=150, metadata={"Software": None}, **whole)
    figure.savefig(paths[1], metadata={"Date": None}, **whole)
    return paths


def _matrices(correlation: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Value and null level over all layers, source x target, in the table's order of tasks."""
    rows = correlation[correlation["layer"] == schemas.ALL_LAYERS]
    if rows.empty:
        raise ValueError("the correlation has no rows over all layers to draw")
    tasks = list(dict.fromkeys([*rows["source"], *rows["target"]]))
    index = rows.set_index(["source", "target"])[["value", "null_upper"]].astype(float)
    values, levels = (index[name].unstack().reindex(index=tasks, columns=tasks) for name in index)
    return values, levels


def _tree(similarity: np.ndarray) -> np.ndarray | None:
    """Average linkage on 1 - similarity (tasks x tasks, NaN unknown), leaves in optimal order; None for one task."""
    if len(similarity) < 2:
        return None
    distance = np.clip(1 - similarity, 0, None)
    both = np.stack([distance, distance.T])
    known = ~np.isnan(both)
    count = known.sum(axis=0)
    mean = np.divide(np.where(known, both, 0).sum(axis=0), count, out=np.full(distance.shape, np.nan), where=count > 0)
    np.fill_diagonal(mean, np.nan)
    mean[np.isnan(mean)] = 1.0 if np.isnan(mean).all() else np.nanmean(mean)
    np.fill_diagonal(mean, 0.0)
    return linkage(squareform(mean, checks=False), method="average", optimal_ordering=True)


def _draw_heat_map(
    figure: Figure,
    values: pd.DataFrame,
    levels: pd.DataFrame,
    tree: np.ndarray | None,
    title: str,
    signed: bool,
    directed: bool,
) -> None:
    count = len(values)
    cell = float(np.interp(count, [2, 8, 12, 30], [0.85, 0.6, 0.5, 0.25]))
    side = cell * count
    branches = 0.7 if count > 2 else 0.0  # a tree of two says nothing
    figure.set_size_inches(side + 3, side + branches + 3)  # only a canvas: `_save` cuts or extends it to what is drawn
    axes = _axes(figure, 1.5, 1.5, side, side)
    scale = _colour_scale(values.to_numpy(), levels.to_numpy(), signed)
    colours = matplotlib.colormaps["RdBu_r" if signed else "Blues"]
    axes.imshow(values.to_numpy(), cmap=colours, norm=scale, aspect="auto", interpolation="nearest")
    _cover_blank_cells(axes, values.to_numpy())
    _mark_cells(axes, values.to_numpy(), levels.to_numpy(), colours, scale, cell)
    _name_sides(axes, list(values.index), cell, directed)

    if branches and tree is not None:
        _draw_tree(_axes(figure, 1.5, 1.5 + side + 0.06, side, branches), tree)
    bar = _axes(figure, 1.5 + side + 0.3, 1.5, 0.16, max(side, 1.2))
    _draw_scale(bar, colours, scale, signed, levels.to_numpy())
    axes.annotate(
        "\n".join(wrap(title, width=max(34, int((side + 1.3) * 9.5)))),
        (0, 1), (0, 72 * (branches + 0.2)), "axes fraction", "offset points",
        ha="left", va="bottom", fontsize=11, fontweight="bold",
    )  # fmt: skip


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    full_width, full_height = figure.get_size_inches()
    return figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def _colour_scale(values: np.ndarray, levels: np.ndarray, signed: bool) -> Normalize:
    if not signed:
        return Normalize(0, 1)
    everything = np.abs([*_off_diagonal(values), *_off_diagonal(levels)])
    largest = np.nanmax(everything, initial=0.01) if not np.isnan(everything).all() else 1.0
    step = 0.05 if largest <= 0.5 else 0.1
    limit = np.ceil(round(largest / step, 6)) * step
    return Normalize(-limit, limit)


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _cover_blank_cells(axes: Axes, values: np.ndarray) -> None:
    """Grey diagonal, hatched unknown cells, white lines between cells."""
    for row, column in np.ndindex(values.shape):
        corner = (column - 0.5, row - 0.5)
        if row == column:
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=DIAGONAL, linewidth=0))
        elif np.isnan(values[row, column]):
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=UNKNOWN, edgecolor="#bbbbbb", hatch="////", linewidth=0))
    for line in np.arange(0.5, len(values) - 1):
        axes.axhline(line, color="white", linewidth=1)
        axes.axvline(line, color="white", linewidth=1)


def _mark_cells(
    axes: Axes, values: np.ndarray, levels: np.ndarray, colours: Colormap, scale: Normalize, cell: float
) -> None:
    """Values as text for few tasks (bold above the pair's null level), else a dot above the null level."""
    above = values > levels  # False where either is unknown
    written = len(values) <= WRITTEN_CELLS
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        if row == column or np.isnan(value):
            continue
        ink = _ink_on(colours(scale(value)))
        if written:
            text = _number(value)
            size = float(np.interp(cell, [0.5, 0.85], [8, 10]))
            weight = "bold" if above[row, column] else "normal"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size, fontweight=weight)
        elif above[row, column]:
            axes.plot(column, row, marker="o", markersize=2.6, color=ink, markeredgewidth=0)


def _number(value: float) -> str:
    """Two decimals, a true minus sign, and no minus sign before zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def _ink_on(colour: Any) -> str:
    """Dark or white text, whichever is readable on the colour (relative luminance)."""
    red, green, blue = to_rgb(colour)
    return INK if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.25 else "white"


def _name_sides(axes: Axes, names: list[str], cell: float, directed: bool) -> None:
    size = _name_columns(axes, names, cell)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)
    if directed:
        axes.set_ylabel("source", fontsize=10, fontweight="bold", labelpad=8)
        axes.set_xlabel("target", fontsize=10, fontweight="bold", labelpad=8)


def _name_columns(axes: Axes, names: list[str], cell: float) -> float:
    """Write the names below the columns, flat if they fit, else slanted (few) or upright; return the font size."""
    size = float(np.interp(cell, [0.25, 0.5], [8, 9.5]))
    longest = max(map(len, names)) * size * 0.62 / 72  # about, in inches
    turned: dict[str, Any]
    if longest < cell * 0.95:
        turned = {}
    elif len(names) <= WRITTEN_CELLS:
        turned = {"rotation": 45, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    else:
        turned = {"rotation": 90}
    axes.set_xticks(range(len(names)), names, fontsize=size, **turned)
    return size


def _draw_tree(axes: Axes, tree: np.ndarray) -> None:
    """The dendrogram over the columns; its axis begins a little below the closest pair, not at 0."""
    tree = tree.copy()
    tree[:, 2] = heights = np.maximum(tree[:, 2], 1e-9)  # so that 0 means a leaf below
    spread = max(float(np.ptp(heights)), 0.02)
    foot, top = float(heights.min()) - 0.3 * spread, float(heights.max()) + 0.08 * spread
    drawn = dendrogram(tree, no_plot=True)
    for across, up in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        heights_drawn = np.where(np.equal(up, 0), foot, up)
        axes.plot((np.array(across) - 5) / 10, heights_drawn, color=FAINT, linewidth=1, solid_capstyle="butt")
    axes.set_xlim(-0.5, len(heights) + 0.5)
    axes.spines[["top", "left", "bottom"]].set_visible(False)
    axes.spines["right"].set_color(FAINT)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([tick for tick in MaxNLocator(3).tick_values(foot, top) if max(foot, 0) <= tick <= top])
    axes.set_ylim(foot, top)
    axes.tick_params(labelsize=7, colors=FAINT, length=2)
    axes.yaxis.set_label_position("right")
    axes.set_ylabel("1 \N{MINUS SIGN} value", fontsize=7, color=FAINT)


def _draw_scale(axes: Axes, colours: Colormap, scale: Normalize, signed: bool, levels: np.ndarray) -> None:
    bar = Colorbar(axes, cmap=colours, norm=scale, orientation="vertical")
    bar.outline.set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(6, symmetric=signed, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=8, length=2)
    known = _off_diagonal(levels)[~np.isnan(_off_diagonal(levels))]
    if not known.size:
        return
    level = float(np.median(known))
    axes.axhline(level, color=INK, linewidth=1.6)
    axes.plot(-0.45, level, marker=">", color=INK, markersize=6, transform=axes.get_yaxis_transform(), clip_on=False)
    mark = "bold" if len(levels) <= WRITTEN_CELLS else "dot"
    axes.annotate(
        f"\N{BLACK RIGHT-POINTING SMALL TRIANGLE} null\u2019s 95 % level: {_number(level)}\n"
        f"{mark}: above the pair\u2019s own",
        (0, 0), (-8, -10), "axes fraction", "offset points", fontsize=7.5, color=FAINT, va="top", ha="left",
    )  # fmt: skip


def _draw_plan(figure: Figure, plan: pd.DataFrame, counts: pd.DataFrame, title: str) -> None:
    layers, tasks = plan.shape
    row = float(np.interp(layers, [6, 12, 24], [0.34, 0.28, 0.22]))
    cell = float(np.interp(tasks, [2, 8, 30], [0.8, 0.5, 0.28]))
    width, height = cell * tasks, row * layers
    strip = 0.5 if counts.shape[1] == 1 else float(np.clip(0.35 * width, 1.8, 3.2))
    figure.set_size_inches(width + strip + 3, height + 3)
    axes = _axes(figure, 1.2, 1.5, width, height)
    _draw_groups(axes, plan)
    _name_columns(axes, list(plan.columns), cell)
    axes.set_yticks(range(layers), [str(layer) for layer in plan.index], fontsize=8)
    axes.set_ylabel("layer", fontsize=9)
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)
    axes.set_title("group at the end", fontsize=8.5, color=FAINT, loc="left", pad=5)
    axes.set_xlim(-0.5, tasks - 0.5)
    axes.set_ylim(-0.5, layers - 0.5)
    _draw_counts(_axes(figure, 1.2 + width + 0.35, 1.5, strip, height), counts, strip)
    axes.annotate(
        "\n".join(wrap(title, width=max(28, int((width + strip) * 9.5)))),
        (0, 1), (0, 24), "axes fraction", "offset points", ha="left", va="bottom", fontsize=11, fontweight="bold",
    )  # fmt: skip


def _draw_groups(axes: Axes, plan: pd.DataFrame) -> None:
    """One rectangle a cell, layer 0 at the bottom; neighbours of one group run into each other."""
    groups = plan.to_numpy(dtype=float, na_value=np.nan)
    layers, tasks = groups.shape
    for layer, task in np.ndindex(groups.shape):
        group = groups[layer, task]
        corner = (task - 0.5, layer - 0.5)
        if np.isnan(group):
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=UNKNOWN, edgecolor="#bbbbbb", hatch="////", linewidth=0))
            continue
        colour = GROUP_COLOURS[int(group) % len(GROUP_COLOURS)]
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor=colour, linewidth=0.3))
        axes.text(task, layer, f"{int(group)}", ha="center", va="center", fontsize=8, color=INK)
    for line in np.arange(0.5, layers - 1):
        axes.axhline(line, color="white", linewidth=2.2)
    for layer, task in np.ndindex(layers, tasks - 1):
        if groups[layer, task] != groups[layer, task + 1]:
            axes.plot([task + 0.5] * 2, [layer - 0.5, layer + 0.5], color="white", linewidth=3, solid_capstyle="butt")


def _draw_counts(axes: Axes, counts: pd.DataFrame, width: float) -> None:
    """Number of groups of each layer (rows) over the steps (columns of `counts`); a layer's number at each change."""
    steps = [float(step) for step in counts.columns]
    tail = max(1.0, 0.12 * (steps[-1] - steps[0]))  # the last plan holds on; the table does not know how long
    edges = [*steps, steps[-1] + tail]
    numbers = counts.to_numpy(dtype=float, na_value=np.nan)
    most = int(np.nanmax(numbers))
    shades = matplotlib.colormaps["Blues"](np.linspace(0.12, 0.8, max(most, 2)))
    rows = np.arange(len(counts) + 1) - 0.5
    axes.pcolormesh(edges, rows, numbers, cmap=ListedColormap(shades), norm=Normalize(0.5, max(most, 2) + 0.5))
    for line in rows[1:-1]:
        axes.axhline(line, color="white", linewidth=2.2)
    room = 0.16 / width * (edges[-1] - edges[0])  # a number's width, in steps
    for row, line in enumerate(numbers):
        starts = [0, *(np.flatnonzero(np.diff(line) != 0) + 1)]
        for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
            if not np.isnan(line[start]) and edges[end] - edges[start] >= room:
                middle = (edges[start] + edges[end]) / 2
                ink = _ink_on(tuple(shades[int(line[start]) - 1]))
                axes.text(middle, row, f"{line[start]:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_ylim(rows[0], rows[-1])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8, length=2)
    axes.set_xticks(*_step_ticks(steps, edges, width))
    axes.set_xlabel("step", fontsize=8.5)
    axes.set_title("groups", fontsize=8.5, color=FAINT, loc="left", pad=5)


def _step_ticks(steps: list[float], edges: list[float], width: float) -> tuple[list[float], list[str]]:
    """The steps at which the plan changed, but for those that stand too close to the one before."""
    if len(steps) == 1:
        return [(edges[0] + edges[1]) / 2], [f"{steps[0]:.0f}"]
    inch = (edges[-1] - edges[0]) / width
    kept = [steps[0]]
    for step in steps[1:]:
        if step - kept[-1] >= (0.1 + 0.075 * len(f"{step:.0f}")) * inch:
            kept.append(step)
    return kept, [f"{step:.0f}" for step in kept]
