"""What a correlation says, for the terminal: each task's nearest neighbour or best source, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from adaptershare_cli import schemas
from adaptershare_cli.measures.base import cost_share
from adaptershare_cli.reporting.tables import MISSING

COUNTED = {"± s.e.": "standard_error", "null 95 %": "null_upper", "p": "p_value", "checks": "checks"}


def relation_table(
    measure: str, answer: pd.DataFrame, tasks: Sequence[str], seeds: Sequence[int], directed: bool
) -> Table:
    """For each task the source with the highest value over all layers; columns without any value are left out.

    `answer` are the rows of `schemas.CORRELATION` that belong to no single seed: a mean over the `seeds`.
    """
    over_all = answer[answer["layer"] == schemas.ALL_LAYERS]
    over = f", mean of seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    what, column = ("best source", "source") if directed else ("nearest neighbour", "nearest")
    table = Table(title=f"{measure}: each task's {what}{over}")
    shown = {head: name for head, name in COUNTED.items() if over_all[name].notna().any()}
    table.add_column("task")
    table.add_column(column, overflow="fold")
    for head in ("value", *shown):
        table.add_column(head, justify="right")
    for task in tasks:
        rows = over_all[over_all["target"] == task].dropna(subset=["value"]).sort_values("source")
        if rows.empty:
            table.add_row(task, *[MISSING] * (len(table.columns) - 1))
            continue
        nearest = rows[rows["value"] == rows["value"].max()]
        best = nearest.iloc[0]
        names = _names(nearest["source"].tolist(), len(rows), bool(rows["value"].any()))
        table.add_row(task, names, _number(best["value"]), *(_cell(name, best[name]) for name in shown.values()))
    return table


def indifference(measure: str, answer: pd.DataFrame) -> str:
    """That a measure has one value for all pairs of tasks, in words; "" if it parts them, or there is one pair."""
    over_all = answer[answer["layer"] == schemas.ALL_LAYERS].dropna(subset=["value"])
    pairs = {frozenset(pair) for pair in zip(over_all["source"], over_all["target"], strict=True)}
    if len(pairs) < 2 or over_all["value"].nunique() > 1:
        return ""
    fixed = {"plan": {0.0: "as these runs never share an adapter", 1.0: "as these runs share every adapter"}}
    value = over_all["value"].iloc[0]
    why = fixed.get(measure, {}).get(value, "")
    return f"{measure}: {_number(value)} for every pair{', ' * bool(why)}{why}: it tells no task from another"


def cost_line(cost: dict[str, Any]) -> str:
    """The examples processed, and their share of what measuring transfer would take for as many seeds."""
    return (
        f"cost: {cost['own']['passes']:,} passes of an example forward or backward, "
        f"{cost['training']['passes']:,} in the trainings behind it; "
        f"{100 * cost_share(cost, 'transfer'):.1f} % of measuring transfer"
    )


def _names(nearest: list[str], others: int, related: bool) -> str:
    """The nearest neighbours in words. Of equal ones all are named or counted, so that none is favoured."""
    if not related:
        return "none"
    if len(nearest) == others > 1:
        return f"all {others} others"
    return ", ".join(nearest[:2]) + (f" and {len(nearest) - 2} more" if len(nearest) > 2 else "")


def _cell(name: str, value: float) -> str:
    if name == "checks" and not pd.isna(value):
        return f"{value:.0f}"
    return f"{value:.3f}" if name == "p_value" and not pd.isna(value) else _number(value)


def _number(value: float) -> str:
    """With three decimals, or two digits where the number is too small for these."""
    if pd.isna(value):
        return MISSING
    return f"{value:.3f}" if abs(value) >= 0.0095 or value == 0 else f"{value:.1e}"
