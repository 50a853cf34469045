"""What all pictures have in common: style, places in inches, readable text, the two files.

Pictures are made on `Figure` objects of their own (no pyplot, no window). All sizes are inches until they are handed to
matplotlib, so that cells and names keep their size whatever the number of tasks, and the picture grows instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

FEW_TASKS = 12  # up to so many tasks the values stand in the cells, and names are slanted
UNKNOWN, INK, FAINT = "#f4f4f4", "#222222", "#777777"
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


@contextmanager
def new_figure() -> Iterator[Figure]:
    """An empty figure in the pictures' style, whatever the user's matplotlibrc says."""
    with style.context(["default", STYLE]):
        figure = Figure()
        FigureCanvasAgg(figure)
        yield figure


def save(figure: Figure, path_stem: Path) -> list[Path]:
    """Write PNG and SVG, cut or extended to what is drawn."""
    paths = [Path(f"{path_stem}.png"), Path(f"{path_stem}.svg")]  # with_suffix would cut a stem with a dot
    whole: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15}
    figure.savefig(paths[0], dpi=150, metadata={"Software": None}, **whole)
    figure.savefig(paths[1], metadata={"Date": None}, **whole)
    return paths


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    full_width, full_height = figure.get_size_inches()
    return figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def write_title(axes: Axes, title: str, width: float, above: float) -> None:
    """The title over the axes, left-aligned, `above` inches over them, in lines of about `width` inches."""
    axes.annotate(
        "\n".join(wrap(title, width=max(30, int(width * 9.5)))),
        (0, 1), (0, 72 * above), "axes fraction", "offset points",
        ha="left", va="bottom", fontsize=11, fontweight="bold",
    )  # fmt: skip


def name_columns(axes: Axes, names: list[str], cell: float) -> float:
    """Write the names below the columns, flat if they fit, else slanted (few) or upright; return the font size."""
    size = float(np.interp(cell, [0.25, 0.5], [8, 9.5]))
    longest = max(map(len, names)) * size * 0.62 / 72  # about, in inches
    turned: dict[str, Any]
    if longest < cell * 0.95:
        turned = {}
    elif len(names) <= FEW_TASKS:
        turned = {"rotation": 45, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    else:
        turned = {"rotation": 90}
    axes.set_xticks(range(len(names)), names, fontsize=size, **turned)
    return size


def ink_on(colour: Any) -> str:
    """Dark or white text, whichever is readable on the colour (relative luminance)."""
    red, green, blue = to_rgb(colour)
    return INK if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.25 else "white"


def hatched(left: float, bottom: float, width: float = 1.0, height: float = 1.0) -> Rectangle:
    """A cell whose value is not known, in data units."""
    return Rectangle((left, bottom), width, height, facecolor=UNKNOWN, edgecolor="#bbbbbb", hatch="////", linewidth=0)


def number(value: float, decimals: int = 2) -> str:
    """The number with a true minus sign, and none before zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
