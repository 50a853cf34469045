"""What other rows would give where methods have one seed in common: intervals of `compare`, for the page's answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from adaptershare_cli.reporting.page.facts import Gain, PageFacts
from adaptershare_cli.reporting.page.roles import Contest, main_group
from adaptershare_cli.reporting.tables import Row
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.studies.differing import ALL, compare_tasks
from adaptershare_cli.studies.pairing import PairedTask, Prepared, Side, paired_tasks

MOST_ROWS = 20_000  # that are drawn again: beyond, a report would take long


def row_gains(
    prepared: Prepared, artefacts: Sequence[Artefact], facts: PageFacts
) -> dict[tuple[str, str], Mapping[str, Gain]]:
    """The gains of each pair of methods that the answer compares; nothing where seeds tell more, or rows are many."""
    if not facts.groups:
        return {}
    contest = Contest(facts.groups[main_group(facts.groups)], facts.runs)
    if len(contest.seeds) != 1:
        return {}
    by_name = {artefact.path.name: artefact for artefact in artefacts}
    found: dict[tuple[str, str], Mapping[str, Gain]] = {}
    for one, other in contest.pairs:
        side, other_side = (_side(row, contest.seeds[0], by_name) for row in (one, other))
        pairs, refused = paired_tasks(prepared, side, other_side, contest.tasks)
        rows = sum(len(split[0].rows) for pair in pairs for split in pair.splits.values())
        if not refused and rows <= MOST_ROWS:
            found[one.label, other.label] = _gains(pairs)
    return found


def _side(row: Row, seed: int, by_name: Mapping[str, Artefact]) -> Side:
    runs = [by_name[name] for name, own in zip(row.runs, row.seed_numbers, strict=True) if own == seed]
    return Side.of(row.label, runs)


def _gains(pairs: Sequence[PairedTask]) -> dict[str, Gain]:
    """Of the main metric of each task, over all its splits, and of the mean over the tasks."""
    rows = compare_tasks([_of_main_metric(pair) for pair in pairs]).rows
    several = {pair.task for pair in pairs if len(pair.splits) > 1}
    found = {}
    for row in rows:
        if row["task"] in several and row["split"] != ALL:
            continue
        task = "" if row["task"] == ALL and len(pairs) > 1 else row["task"]
        found[task] = Gain(*(_points(row[name]) for name in ("difference", "low", "high")))
    if len(pairs) == 1:
        found[""] = found[pairs[0].task]
    return found


def _of_main_metric(pair: PairedTask) -> PairedTask:
    """The task without its other metrics, of which nothing is shown."""
    splits = {
        name: [replace(one, info=replace(one.info, metrics=one.info.metrics[:1])) for one in found]
        for name, found in pair.splits.items()
    }
    return replace(pair, splits=splits)


def _points(value: float | None) -> float:
    return math.nan if value is None else 100 * value
