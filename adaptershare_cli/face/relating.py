"""How tasks relate: the command `correlate`, and what it made as objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.face.calling import run_command
from adaptershare_cli.face.views import Correlation
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import CorrelationRecord, StudyRecord


def correlate(workspace: Path, screen: Terminal, options: Mapping[str, Any]) -> list[Correlation]:
    """The measures that a call of `correlate` made or kept, without scores, selections and verdicts beside them."""
    made = run_command("correlate", workspace, screen, options)
    return [_correlation(artefact) for artefact in made if StudyRecord.of(artefact).kind is None]


def _correlation(artefact: Artefact) -> Correlation:
    record = CorrelationRecord.of(artefact)
    table = artefact.table("correlation.parquet").to_pandas()
    return Correlation(record.measure, record.directed, table, tuple(record.notes or ()), tuple(record.tasks))
