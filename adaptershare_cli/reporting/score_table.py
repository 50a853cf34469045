"""How good measures are, as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adaptershare_cli.reporting.tables import MISSING

if TYPE_CHECKING:
    from rich.table import Table


def score_table(scores: pd.DataFrame) -> Table:
    """One row a measure, one column a score over all targets with its 95 % interval; below them null and ceiling.

    `scores` is `schemas.SCORES` of one truth; scores that are empty throughout are left out (`empty_scores`). The null
    is the mean over the measures of the same score for random measures; of the ceiling's two numbers the second is for
    a measure without noise. `p` is Mantel's, of pearson.
    """
    from rich.table import Table
    from rich.text import Text

    whole = scores[scores["target"].isna()]
    names = [name for name in dict.fromkeys(whole["score"]) if name not in empty_scores(scores)]
    truth = ", ".join(dict.fromkeys(whole["against"]))
    table = Table(title=Text(f"measures against {truth}, mean over targets, 95 % interval"))
    for name in ("measure", *names, "p", "cost"):
        table.add_column(name.replace("-", " "), justify="left" if name == "measure" else "right")
    for measure, rows in whole.groupby("measure", sort=False):
        by_score = rows.set_index("score")
        cells = [_with_interval(by_score.loc[name], decimals_of(name)) for name in names]
        p_value = by_score["p_value"].get("pearson", float("nan"))
        table.add_row(Text(str(measure)), *cells, rounded(p_value, 3), percentage(rows["cost_share"].iloc[0]))
    table.add_section()
    null = whole.groupby("score")["null_mean"].mean()
    table.add_row("random, mean", *(rounded(null[name], decimals_of(name)) for name in names), "", "")
    ceiling = whole.drop_duplicates("score").set_index("score")
    cells = [_ceiling(ceiling.loc[name], decimals_of(name)) for name in names]
    table.add_row("ceiling", *cells, "", "")
    return table


def empty_scores(scores: pd.DataFrame) -> list[str]:
    """The scores that no measure has over all targets, nor the ceiling: the table leaves them out."""
    whole = scores[scores["target"].isna()].groupby("score", sort=False)[["value", "ceiling"]].count().sum(axis=1)
    return [str(name) for name, count in whole.items() if not count]


def decimals_of(score: str) -> int:
    """Regret is in the truth's unit, in which a hundredth is much."""
    return 3 if score.startswith("regret") else 2


def rounded(value: float, decimals: int) -> str:
    """The value rounded, never as a negative zero; a dash where it is unknown."""
    return MISSING if pd.isna(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _with_interval(row: pd.Series, decimals: int) -> str:
    ends = f"\n{rounded(row['low'], decimals)}…{rounded(row['high'], decimals)}" if pd.notna(row["low"]) else ""
    return rounded(row["value"], decimals) + ends


def _ceiling(row: pd.Series, decimals: int) -> str:
    upper = f" to {rounded(row['ceiling_upper'], decimals)}" if pd.notna(row["ceiling_upper"]) else ""
    return rounded(row["ceiling"], decimals) + upper


def percentage(share: float) -> str:
    """A share in percent, with three significant digits."""
    return MISSING if pd.isna(share) else f"{100 * share:.3g} %"
