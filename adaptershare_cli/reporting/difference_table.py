"""How two sides of runs differ, as a table for the terminal, and the rows on which they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adaptershare_cli.reporting.tables import MISSING, UNDEFINED

if TYPE_CHECKING:
    from rich.table import Table

LONGEST = 100  # characters of a text that are shown
Row = Mapping[str, Any]


def difference_table(rows: Sequence[Row]) -> Table:
    """A line a task, split and metric (times 100): both sides, how much more A has, its 95 % interval, what tells."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text("A - B, paired by row; 95 % bootstrap interval, exact sign test"))
    for name in ("task", "split", "metric", "A", "B", "A - B", "95 %", "only A right", "only B right", "p"):
        table.add_column(name, justify="left" if name in ("task", "split", "metric") else "right")
    for number, row in enumerate(rows):
        if number and row["task"] != rows[number - 1]["task"]:
            table.add_section()
        interval = MISSING if row["low"] is None else f"{_signed(row['low'])} … {_signed(row['high'])}"
        counts = [MISSING if row.get(side) is None else str(row[side]) for side in ("only_a", "only_b")]
        p_value = MISSING if row.get("p_value") is None else f"{row['p_value']:.2g}"
        style = "bold" if row["main"] else ""
        names = [Text(row[name], style=style) for name in ("task", "split", "metric")]
        sides = [UNDEFINED if row[side] is None else f"{100 * row[side]:.1f}" for side in ("a", "b")]
        table.add_row(*names, *sides, _signed(row["difference"]), interval, *counts, p_value)
    return table


def flip_table(rows: Sequence[Row]) -> Table:
    """A line a row (or word) that only one side has right, or is nearer to."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text("rows on which A and B differ"))
    for name in ("task", "split", "seed", "row", "label", "A", "B", "text"):
        table.add_column(name, overflow="fold", justify="right" if name in ("seed", "row") else "left")
    for row in rows:
        seeds = dict.fromkeys((row["seed_a"], row["seed_b"]))
        place = "" if row["place"] is None else f", word {row['place']}"
        words = [row["word"], row["text"], row["text_pair"]]
        text = " | ".join(" ".join(str(part).split())[:LONGEST] for part in words if part is not None)
        cells = [row["task"], row["split"], ", ".join(map(str, seeds)), f"{row['row']}{place}", row["label"], row["a"],
                 row["b"], text]  # fmt: skip
        styles = {"a": (5, 6), "b": (6, 5)}[row["better"]]
        table.add_row(*(
            Text(str(cell), style="green" if place == styles[0] else "red" if place == styles[1] else "")
            for place, cell in enumerate(cells)
        ))  # fmt: skip
    return table


def _signed(value: float | None) -> str:
    """A difference times 100 with its sign; never a negative zero."""
    return UNDEFINED if value is None else f"{round(100 * value, 1) + 0.0:+.1f}"
