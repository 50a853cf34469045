"""The picture of a measure against the truth, a point a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import linregress

from adaptershare_cli.reporting.plots.canvas import FAINT, INK, axes_at, new_figure, number, save, write_title
from adaptershare_cli.statistics.matrices import known_pairs
from adaptershare_cli.statistics.missing import known_mean
from adaptershare_cli.statistics.ranking import spearman

COLOURS = (  # Okabe & Ito 2008: safe for the colour-blind
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
SIGNS = ("o", "s", "^", "D", "v", "P", "X", "*")
MANY = "#0072B2"  # the colour of all points if there are more tasks than signs
SIGN: dict[str, Any] = {"markersize": 7, "markeredgecolor": INK, "markeredgewidth": 0.7}
WIDTH, HEIGHT = 4.4, 3.6  # of the plot, in inches


def scatter_picture(
    values: np.ndarray,
    truth: np.ndarray,
    tasks: list[str],
    path_stem: Path,
    title: str,
    measure: str,
    against: str,
    errors: np.ndarray | None = None,
    note: str = "",
) -> list[Path]:
    """Draw a point for each pair known to both, the measure across, the mean truth up; return PNG and SVG.

    `values` is (tasks, tasks), row = source, column = target, NaN unknown; `truth` (seeds, tasks, tasks). Bars are one
    standard error: of the mean over the seeds, and across `errors` (tasks, tasks) where given. The line is a least
    squares fit; Spearman's rank correlation over all pairs stands above, then `note` (such as a p value). Up to eight
    tasks a point's colour is its target and its sign its source. `measure` and `against` name the axes.
    Raises ValueError if no pair is known.
    """
    of_seeds = np.ma.masked_invalid(truth)
    mean = known_mean(truth)
    spread = np.ma.filled(of_seeds.std(axis=0, ddof=1) / np.sqrt(of_seeds.count(axis=0)), np.nan)
    known = known_pairs(values, mean)
    if not known.any():
        raise ValueError("no pair is known to both the measure and the truth")
    across = np.full(values.shape, np.nan) if errors is None else errors
    source, target = np.nonzero(known)
    points = _Points(source, target, values[known], mean[known], across[known], spread[known])
    with new_figure() as figure:
        figure.set_size_inches(WIDTH + 3, HEIGHT + 3)
        axes = axes_at(figure, 1.0, 1.0, WIDTH, HEIGHT)
        _draw_points(axes, points, tasks)
        _draw_fit(axes, points)
        axes.set_xlabel(measure, fontsize=9.5, labelpad=6)
        axes.set_ylabel(against, fontsize=9.5, labelpad=6)
        lines = _notes(points, len(truth), note)
        axes.annotate(
            "\n".join(lines), (0, 1), (0, 8), "axes fraction", "offset points",
            fontsize=8, color=FAINT, va="bottom", ha="left", linespacing=1.4,
        )  # fmt: skip
        write_title(axes, title, WIDTH + 0.5, 0.2 + 0.17 * len(lines))
        return save(figure, path_stem)


class _Points(NamedTuple):
    """One entry a pair: places of source and target, measure and truth with their standard errors (NaN unknown)."""

    source: np.ndarray
    target: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray
    y_error: np.ndarray


def _draw_points(axes: Axes, points: _Points, tasks: list[str]) -> None:
    few = len(tasks) <= len(SIGNS)
    colours = [COLOURS[target] if few else MANY for target in points.target]
    for draw, at, along, error in (
        (axes.vlines, points.x, points.y, points.y_error),
        (axes.hlines, points.y, points.x, points.x_error),
    ):
        half = np.where(np.isnan(error), 0.0, error)
        draw(at, along - half, along + half, colors=colours, linewidth=0.8, alpha=0.5 if few else 0.25, zorder=2)
    if few:
        for x, y, source, target in zip(points.x, points.y, points.source, points.target, strict=True):
            axes.plot(x, y, SIGNS[source], color=COLOURS[target], **SIGN, zorder=3)
        discs = [Line2D([], [], marker="o", linestyle="", color=colour, markersize=7) for colour in COLOURS]
        signs = [Line2D([], [], marker=sign, linestyle="", color="white", **SIGN) for sign in SIGNS]
        legend = axes.legend(
            list(zip(discs, signs, strict=True))[: len(tasks)], tasks, handler_map={tuple: HandlerTuple(None, 0.8)},
            loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=8.5, handlelength=3,
            title="colour: target, sign: source", title_fontsize=8, alignment="left", labelspacing=0.7,
        )  # fmt: skip
        legend.get_title().set_color(FAINT)
    else:
        axes.plot(points.x, points.y, "o", color=MANY, markersize=3.5, markeredgewidth=0, alpha=0.45, zorder=3)
    axes.axhline(0, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=8, length=3, color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _draw_fit(axes: Axes, points: _Points) -> None:
    """The least squares line over the range of the measure, if the measure varies."""
    low, high = float(points.x.min()), float(points.x.max())
    if high > low:
        fit = linregress(points.x, points.y)
        ends = np.array([low, high])
        axes.plot(ends, fit.intercept + fit.slope * ends, color=INK, linewidth=1.1, alpha=0.7, zorder=1.5)


def _notes(points: _Points, seeds: int, note: str) -> list[str]:
    rho = spearman(points.x, points.y)
    shown = "undefined" if np.isnan(rho) else number(rho)
    first = f"Spearman\u2019s \u03c1 = {shown} over {len(points.x)} pairs" + (f", {note}" if note else "")
    bars = f"; bars: \u00b1 1 standard error over {seeds} seeds" if np.isfinite(points.y_error).any() else ""
    return [first, f"line: least squares{bars}"]
