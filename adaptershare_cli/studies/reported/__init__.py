"""What the report's page shows, read from artefacts as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adaptershare_cli.reporting.page import PageFacts
from adaptershare_cli.reporting.tables import ComparisonGroup
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.studies.pairing import Prepared
from adaptershare_cli.studies.reported.measures import drawn_pictures, judged_measures, measure_facts
from adaptershare_cli.studies.reported.over_rows import row_gains
from adaptershare_cli.studies.reported.runs import run_facts
from adaptershare_cli.studies.reported.tasks import data_of, task_facts

__all__ = ["data_of", "page_facts"]


def page_facts(
    title: str,
    groups: Sequence[ComparisonGroup],
    runs: Sequence[Artefact],
    studies: Sequence[Artefact],
    prepared: Prepared,
    notes: Sequence[str],
) -> PageFacts:
    """All that the page shows of these runs, of what correlate found of them, and of the rows that are still there."""
    facts = PageFacts(
        title=title,
        groups=groups,
        runs=run_facts(runs),
        notes=notes,
        pictures=drawn_pictures(studies),
        measures=measure_facts(studies),
        judged=judged_measures(studies),
    )
    return replace(facts, tasks=task_facts(prepared, runs, facts), over_rows=row_gains(prepared, runs, facts))
