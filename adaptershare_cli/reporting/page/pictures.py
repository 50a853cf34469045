"""The pictures of a comparison: score against cost, and curves of scores and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adaptershare_cli.reporting.charts import Drawing, cost_drawing, curve_charts
from adaptershare_cli.reporting.charts.curves import Curve, line_class, mean_curve
from adaptershare_cli.reporting.page.facts import RunFacts
from adaptershare_cli.reporting.tables import SINGLE, ComparisonGroup, Row


@dataclass(frozen=True)
class ComparisonPictures:
    """What is there to be drawn; `lines` are the methods of the curves with the classes of their lines."""

    cost: Drawing | None
    cost_legend: list[tuple[str, str]]
    lines: list[tuple[str, str]]
    scores: list[tuple[str, Drawing]]
    losses: list[tuple[str, Drawing]]


def pictures_of(group: ComparisonGroup, runs: Mapping[str, RunFacts]) -> ComparisonPictures:
    """The pictures of one comparison. Curves are means over seeds; methods that train each task alone have none."""
    rows = [row for row in group.rows if row.method != SINGLE]
    tasks = list(dict.fromkeys(column.task for column in group.columns))
    names = [row.label for row in rows]
    cost = cost_drawing(group.rows)
    drawn = {
        kind: curve_charts({task: {row.label: _curve(row, runs, task, kind) for row in rows} for task in tasks}, names,
                           {"scores": "select score", "losses": "loss"}[kind])
        for kind in ("scores", "losses")
    }  # fmt: skip
    lines = [(name, line_class(number)) for number, name in enumerate(names)] if any(drawn.values()) else []
    return ComparisonPictures(cost[0] if cost else None, cost[1] if cost else [], lines, **drawn)


def _curve(row: Row, runs: Mapping[str, RunFacts], task: str, kind: str) -> Curve:
    curves = [getattr(runs[name], kind).get(task, []) for name in row.runs]
    return mean_curve([curve for curve in curves if curve])
