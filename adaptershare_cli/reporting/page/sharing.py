"""Who shares with whom and why, as the page shows it: plans over their updates, splits, measures of relatedness."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptershare_cli.reporting.charts import Drawing, plan_drawing
from adaptershare_cli.reporting.page.facts import MeasureFacts, PageFacts, PlanHistory, RunFacts, Split
from adaptershare_cli.reporting.page.results import Entry, TableView
from adaptershare_cli.reporting.score_table import decimals_of, rounded
from adaptershare_cli.reporting.tables import MISSING
from adaptershare_cli.statistics.matrices import off_diagonal

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class PlanView:
    """A run's plan: its picture, and the splits that led to it in words."""

    name: str
    drawing: Drawing
    splits: list[str]


@dataclass(frozen=True)
class HeatCell:
    """A value as text, how strong its colour is (0 to 1), the side of 0 that it lies on, and what is told of it."""

    text: str
    strength: float
    side: str  # more | less | none
    pale: bool
    tip: str


@dataclass(frozen=True)
class HeatView:
    """A measure as a table of coloured cells."""

    name: str
    caption: str
    tasks: tuple[str, ...]
    rows: list[tuple[str, list[HeatCell | None]]]
    directed: bool


@dataclass(frozen=True)
class SharingView:
    """The section's content."""

    plans: list[PlanView]
    plain: list[str]
    heats: list[HeatView]
    judged: list[TableView]

    def __bool__(self) -> bool:
        return bool(self.plans or self.plain or self.heats or self.judged)


def sharing_view(facts: PageFacts) -> SharingView:
    """Everything that is known of who shares."""
    plans: list[PlanView] = []
    plain: dict[tuple[str, str], list[int]] = {}
    for run in facts.runs.values():
        if run.history is None:
            continue
        if run.history.is_plain:
            together = len(np.unique(next(iter(run.history.groups.values())))) == 1
            plain.setdefault((run.method, "all tasks share" if together else "no task shares"), []).append(run.seed)
        else:
            plans.append(_plan(run, run.history))
    told = [f"{method}: {what}, in all layers (seeds {', '.join(map(str, sorted({*seeds})))})."
            for (method, what), seeds in plain.items()]  # fmt: skip
    return SharingView(plans, told, [_heat(one) for one in facts.measures], list(_judged(facts.judged)))


def _named(run: RunFacts) -> str:
    return f"{run.method}, seed {run.seed} ({run.name})"


def _plan(run: RunFacts, history: PlanHistory) -> PlanView:
    name = _named(run)
    title = f"{name}: who shares in which layer, and from which update on"
    drawing = plan_drawing(dict(history.groups), history.tasks, history.steps, run.steps, title)
    return PlanView(name, drawing, [_split(split) for split in history.splits])


def _split(split: Split) -> str:
    parts = " | ".join(" ".join(part) for part in split.parts)
    text = f"update {split.step}, layer {split.layer}: {parts}"
    if split.cosine is None or split.pair is None:
        return text
    error = "" if split.error is None else f" ± {split.error:.2f}"
    return f"{text}; lowest cosine {_number(split.cosine, 2)}{error} ({split.pair[0]}, {split.pair[1]})"


def _heat(measure: MeasureFacts) -> HeatView:
    """Colours reach from 0 to the measure's bound where that is known and at most 1, else to the largest value."""
    known = off_diagonal(measure.values)
    known = known[np.isfinite(known)]
    largest = float(np.abs(known).max()) if known.size else 1.0
    bound = max(map(abs, measure.range))
    full = bound if bound <= 1 else largest
    decimals = 0 if largest >= 100 else 1 if largest > 10 else 2 if largest >= 0.1 else 3
    rows = []
    for source, values in enumerate(measure.values):
        cells: list[HeatCell | None] = []
        for target, value in enumerate(values):
            if source == target:
                cells.append(None)
                continue
            tip = _tip(measure, source, target, decimals)
            strength = min(1.0, abs(value) / full) if full and math.isfinite(value) else 0.0
            side = "none" if not math.isfinite(value) else "less" if value < 0 else "more"
            text = MISSING if side == "none" else _number(float(value), decimals)
            cells.append(HeatCell(text, round(strength, 2), side, bool(measure.pale[source, target]), tip))
        rows.append((measure.tasks[source], cells))
    caption = f"{measure.name}: {measure.summary}. Of {measure.about}"
    return HeatView(measure.label, caption, measure.tasks, rows, measure.directed)


def _tip(measure: MeasureFacts, source: int, target: int, decimals: int) -> str:
    arrow = "\N{RIGHTWARDS ARROW}" if measure.directed else "and"
    error = measure.errors[source, target]
    told = f" ± {error:.{max(2, decimals)}f}" if math.isfinite(error) else ""
    pale = "; not told from chance" if measure.pale[source, target] else ""
    pair = f"{measure.tasks[source]} {arrow} {measure.tasks[target]}"
    return f"{pair}: {_number(float(measure.values[source, target]), max(2, decimals))}{told}{pale}"


def _judged(rows: Sequence[Mapping[str, Any]]) -> Iterable[TableView]:
    """For each truth a table: a measure a row, a score a column."""
    for against in dict.fromkeys(row["against"] for row in rows):
        own = [row for row in rows if row["against"] == against]
        scores = [s for s in dict.fromkeys(row["score"] for row in own)
                  if any(row["value"] is not None for row in own if row["score"] == s)]  # fmt: skip
        by_place = {(row["measure"], row["score"]): row for row in own}
        table = [
            (measure, [_score(by_place.get((measure, score)), score) for score in scores])
            for measure in dict.fromkeys(row["measure"] for row in own)
        ]
        headers = [("measure", ""), *((score.replace("-", " "), "") for score in scores)]
        yield TableView(f"Measures against measured {against}: mean over targets [95 % interval]", headers, table, [])


def _score(row: Mapping[str, Any] | None, score: str) -> Entry:
    if row is None or row["value"] is None:
        return Entry(MISSING, None)
    decimals = decimals_of(score)
    text = rounded(row["value"], decimals)
    if row["low"] is not None:
        text += f" [{rounded(row['low'], decimals)}, {rounded(row['high'], decimals)}]"
    return Entry(text, row["value"])


def _number(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)
