"""What was selected to train along with a target, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from adaptershare_cli.reporting.score_table import rounded
from adaptershare_cli.reporting.tables import MISSING

if TYPE_CHECKING:
    from rich.table import Table

NAMES = ("target", "procedure", "chosen")  # columns that hold names; the others hold numbers, or lists


def steps_table(selection: pd.DataFrame) -> Table:
    """A row for each step (`schemas.SELECTION`): the tasks trained along, the target's scores, whether it was chosen.

    Where rows were selected, their numbers stand in the last column. The score decides; what the target has on its
    scored splits stands beside it, with its standard error over the seeds.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text("auxiliaries of " + ", ".join(dict.fromkeys(selection["target"]))))
    columns = ("target", "procedure", "step", "trained along", "score", "scored splits", "chosen", "rows kept")
    for name in columns:
        right = name in ("step", "score", "scored splits")
        table.add_column(name, justify="right" if right else "left", overflow="ellipsis" if name in NAMES else "fold")
    selection = selection.assign(rule=selection["rule"].fillna(""))
    for (target, procedure, rule, step), rows in selection.groupby(
        ["target", "procedure", "rule", "step"], sort=False, dropna=False
    ):
        first = rows.iloc[0]
        kept = [f"{row.task} {len(row.rows)} of {row.available:.0f}" for row in rows.itertuples() if pd.notna(row.task)]
        names = ", ".join(first["auxiliaries"]) or "none"
        name = f"{procedure} ({rule})" if rule else str(procedure)
        chosen = "chosen" if first["chosen"] else ""
        scores = rounded(first["score"], 3), _over_seeds(first["scored"])
        cells = [target, name, str(step), names, *scores, chosen, "\n".join(kept)]
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table


def _over_seeds(values: Sequence[float] | None) -> str:
    """The mean over the seeds, with its standard error where there are several."""
    if values is None or not len(values):
        return MISSING
    error = f" ± {pd.Series(values).sem():.3f}" if len(values) > 1 else ""
    return rounded(pd.Series(values).mean(), 3) + error
