"""The heat map of a correlation: the same colours and order of tasks in all pictures, or fitted to the data."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.spatial.distance import squareform

from adaptershare_cli import schemas
from adaptershare_cli.measures.spec import SHARE, Measure
from adaptershare_cli.reporting.chance import noise
from adaptershare_cli.reporting.plots.canvas import (
    FAINT,
    FEW_TASKS,
    INK,
    axes_at,
    hatched,
    ink_on,
    name_columns,
    new_figure,
    number,
    save,
    write_title,
)
from adaptershare_cli.statistics.matrices import off_diagonal, task_matrix
from adaptershare_cli.statistics.missing import known_mean

DIAGONAL = "#d4d4d4"
PALE = 0.75  # how much of the colour of noise is white


def heat_map(
    correlation: pd.DataFrame, path_stem: Path, title: str, measure: Measure, fitted: bool = False
) -> list[Path]:
    """Draw the values over all layers as a heat map and return PNG and SVG.

    `correlation` (`schemas.CORRELATION`) is of the `measure`; only its rows of layer -1 are drawn: row = source, column
    = target, which is said where the measure is directed. Tasks stand in the table's order, which is the runs'. If the
    table has a null, the median over the pairs of its 95 % level is marked in the colour scale, and values above their
    own pair's level are marked in their cells. What cannot be told from chance is pale (`noise`). Colours cover the
    measure's range where that lies within -1 and 1.

    `fitted`, the colours of all but shares fit the data, and tasks are ordered by a clustering, with its dendrogram
    above (for three or more tasks): average linkage on 1 - value, leaves in optimal order; for a directed measure on
    the mean of both directions, and unknown pairs, hatched, are as far apart as the known ones are on average. Colours
    then diverge from 0, unless the values lie far above 0. That colours fit is said in the picture, also of a measure
    whose range has no bound. Raises ValueError without rows.
    """
    rows = correlation[correlation["layer"] == schemas.ALL_LAYERS]
    if rows.empty:
        raise ValueError("the correlation has no rows over all layers to draw")
    tasks = list(dict.fromkeys([*rows["source"], *rows["target"]]))
    values, levels = (task_matrix(correlation, tasks, column) for column in ("value", "null_upper"))
    pale = noise(correlation, tasks, measure)
    tree = cluster(values) if fitted else None
    order = leaves_list(tree) if tree is not None else np.arange(len(tasks))
    values, levels, pale = (matrix[np.ix_(order, order)] for matrix in (values, levels, pale))
    whole = measure.range if measure.unit == SHARE or (not fitted and max(map(abs, measure.range)) <= 1) else None
    scale, colours = _colour_scale(values, levels, whole)
    notes = [] if whole else ["colours fit the data"]
    if rows["checks"].max() == 1:
        notes.append("1 check: too few to read")
    with new_figure() as figure:
        picture = _HeatMap(figure, [tasks[place] for place in order], values, levels, pale, scale, colours, notes)
        picture.draw(tree, title, measure.directed)
        return save(figure, path_stem)


def cluster(similarity: np.ndarray) -> np.ndarray | None:
    """Average linkage on top - similarity (tasks x tasks, NaN unknown), leaves in optimal order; None for one task.

    top is 1, or the highest similarity if one exceeds 1.
    """
    if len(similarity) < 2:
        return None
    similar = known_mean(np.stack([similarity, similarity.T]))
    np.fill_diagonal(similar, np.nan)
    distance = _top(similar) - similar
    distance[np.isnan(distance)] = 1.0 if np.isnan(distance).all() else np.nanmean(distance)
    np.fill_diagonal(distance, 0.0)
    return linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)


def _top(similarity: np.ndarray) -> float:
    return max(1.0, float(np.nanmax(off_diagonal(similarity), initial=-math.inf)))


def _colour_scale(
    values: np.ndarray, levels: np.ndarray, whole: tuple[float, float] | None
) -> tuple[Normalize, Colormap]:
    """The `whole` range if one is named, in two colours if it has both signs.

    Else values far above 0 from lowest to highest; others as far from 0 either way.

    Far above is over 0.5 (such as cosines of mean embeddings), or no share or correlation at all (over 1).
    """
    known = np.array([x for x in (*off_diagonal(values), *off_diagonal(levels)) if x == x])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if whole is not None:
        return Normalize(*whole), matplotlib.colormaps["RdBu_r" if whole[0] < 0 else "Blues"]
    if low > 0.5 or (low >= 0 and high > 1):
        return Normalize(low, high if high > low else low + 1), matplotlib.colormaps["Blues"]
    largest = max(-low, high)
    step = 10 ** math.floor(math.log10(largest)) / 2 if largest > 0 else 1.0
    limit = math.ceil(round(largest / step, 6)) * step or 1.0
    return Normalize(-limit, limit), matplotlib.colormaps["RdBu_r"]


class _HeatMap:
    """The parts of the picture, in order of drawing; `values` and `levels` are in the order of the names."""

    def __init__(
        self,
        figure: Figure,
        names: list[str],
        values: np.ndarray,
        levels: np.ndarray,
        pale: np.ndarray,
        scale: Normalize,
        colours: Colormap,
        notes: list[str],
    ) -> None:
        self.figure, self.names, self.values, self.levels, self.pale = figure, names, values, levels, pale
        self.scale, self.colours, self.notes = scale, colours, notes
        largest = float(np.nanmax(np.abs(off_diagonal(values)), initial=0.0))
        self.decimals = 0 if largest >= 100 else 1 if largest > 10 else 2 if largest >= 0.1 else 3
        self.cell = float(np.interp(len(names), [2, 8, 12, 30], [0.85, 0.6, 0.5, 0.25]))  # inches

    def draw(self, tree: np.ndarray | None, title: str, directed: bool) -> None:
        """Lay out the cells, the tree above them and the scale beside them."""
        side = self.cell * len(self.names)
        branches = 0.7 if tree is not None and len(self.names) > 2 else 0.0  # a tree of two says nothing
        self.figure.set_size_inches(side + 3, side + branches + 3)  # only a canvas: `save` cuts it to what is drawn
        axes = axes_at(self.figure, 1.5, 1.5, side, side)
        axes.imshow(self.values, cmap=self.colours, norm=self.scale, aspect="auto", interpolation="nearest")
        self._cover_blank_cells(axes)
        self._mark_cells(axes)
        self._name_sides(axes, directed)
        if branches and tree is not None:
            self._draw_tree(axes_at(self.figure, 1.5, 1.5 + side + 0.06, side, branches), tree)
        self._draw_scale(axes_at(self.figure, 1.5 + side + 0.3, 1.5, 0.16, max(side, 1.2)), directed)
        write_title(axes, title, side + 1.3, branches + 0.2)

    def _cover_blank_cells(self, axes: Axes) -> None:
        """Grey diagonal, hatched unknown cells, pale ones, white lines between cells."""
        cover = np.zeros((*self.values.shape, 4))  # red, green, blue, opacity
        cover[self.pale] = to_rgba("white", PALE)
        places = np.arange(len(cover))
        cover[places, places] = to_rgba(DIAGONAL)
        axes.imshow(cover, aspect="auto", interpolation="nearest")
        for row, column in zip(*np.nonzero(np.isnan(self.values)), strict=True):
            if row != column:
                axes.add_patch(hatched(column - 0.5, row - 0.5))
        for line in np.arange(0.5, len(self.values) - 1):
            axes.axhline(line, color="white", linewidth=1)
            axes.axvline(line, color="white", linewidth=1)

    def _mark_cells(self, axes: Axes) -> None:
        """Values as text for few tasks (bold above the pair's null level), else a dot above the null level."""
        above = (self.values > self.levels) & ~self.pale  # False where either is unknown
        size = float(np.interp(self.cell, [0.5, 0.85], [8, 10]))
        for row, column in np.ndindex(self.values.shape):
            value = float(self.values[row, column])
            if row == column or np.isnan(value):
                continue
            ink = FAINT if self.pale[row, column] else ink_on(self.colours(self.scale(value)))
            if len(self.names) <= FEW_TASKS:
                text = number(value, self.decimals)
                weight = "bold" if above[row, column] else "normal"
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size, fontweight=weight)
            elif above[row, column]:
                axes.plot(column, row, marker="o", markersize=2.6, color=ink, markeredgewidth=0)

    def _name_sides(self, axes: Axes, directed: bool) -> None:
        size = name_columns(axes, self.names, self.cell)
        axes.set_yticks(range(len(self.names)), self.names, fontsize=size)
        axes.tick_params(length=0, pad=4)
        axes.spines[:].set_visible(False)
        if directed:
            axes.set_ylabel("source", fontsize=10, fontweight="bold", labelpad=8)
            axes.set_xlabel("target", fontsize=10, fontweight="bold", labelpad=8)

    def _draw_tree(self, axes: Axes, tree: np.ndarray) -> None:
        """The dendrogram over the columns; its axis begins a little below the closest pair, not at 0."""
        tree = tree.copy()
        least = 1e-9 * max(1.0, float(tree[:, 2].max()))
        tree[:, 2] = heights = np.maximum(tree[:, 2], least)  # so that 0 means a leaf below
        spread = max(float(np.ptp(heights)), 0.02 * float(heights.max()))
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
        name = "1" if _top(self.values) == 1 else "max"
        axes.set_ylabel(f"{name} \N{MINUS SIGN} value", fontsize=7, color=FAINT)

    def _draw_scale(self, axes: Axes, directed: bool) -> None:
        bar = Colorbar(axes, cmap=self.colours, norm=self.scale, orientation="vertical")
        bar.outline.set_visible(False)
        signed = bool((self.scale.vmin or 0.0) < 0)
        axes.yaxis.set_major_locator(MaxNLocator(6, symmetric=signed, steps=[1, 2, 5, 10]))
        axes.tick_params(labelsize=8, length=2)
        notes = list(self.notes)
        if (self.pale & ~np.isnan(self.values)).any():
            notes.append("pale: not told from chance")
        levels = off_diagonal(self.levels)
        if not np.isnan(levels).all():
            level = float(np.nanmedian(levels))
            axes.axhline(level, color=INK, linewidth=1.6)
            place = axes.get_yaxis_transform()
            axes.plot(-0.45, level, marker=">", color=INK, markersize=6, transform=place, clip_on=False)
            notes.append(
                f"\N{BLACK RIGHT-POINTING SMALL TRIANGLE} null\u2019s 95 % level: {number(level, self.decimals)}"
            )
            mark = "bold" if len(self.names) <= FEW_TASKS else "dot"
            notes.append(f"{mark}: above the pair\u2019s own")
        if np.isnan(off_diagonal(self.values)).any():
            notes.append("hatched: unknown")
        if directed:
            notes.append("row = source, column = target")
        axes.annotate(
            "\n".join(notes), (0, 0), (-8, -10), "axes fraction", "offset points",
            fontsize=7.5, color=FAINT, va="top", ha="left",
        )  # fmt: skip
