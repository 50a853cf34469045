"""What the report's page shows of runs and studies, read from their artefacts as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adaptershare_cli.reporting.page.facts import Picture, RunFacts
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord, StudyRecord


def run_facts(runs: Iterable[Artefact]) -> dict[str, RunFacts]:
    """Each run by its name."""
    return {run.path.name: _run(run) for run in runs}


def _run(run: Artefact) -> RunFacts:
    record = RunRecord.of(run)
    rows = [row for row in run.table("metrics.parquet").to_pylist() if row["main"] and row["split"] == "select"]
    return RunFacts(
        name=run.path.name,
        method=record.method,
        seed=record.seed,
        tasks=tuple(record.tasks),
        steps=record.steps,
        select=_select(rows),
        command=run.recorded_command,
        settings={**record.training, **record.settings},
        encoder=record.encoder_name,
        encoder_hash=record.encoder_weights,
        precision=record.precision,
        machine=record.machine,
        versions=run.meta.get("versions", {}),
        data=record.prepro,
        plan=SharingPlan.from_json(record.plan) if record.plan else None,
    )


def _select(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Each task's main metric on select rows: with the weights that were kept, else at the last evaluation."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = found.get(row["task"])
        if before is None or (row["final"], row["step"]) >= (before["final"], before["step"]):
            found[row["task"]] = row
    return {task: row["value"] for task, row in found.items()}


def drawn_pictures(studies: Iterable[Artefact]) -> list[Picture]:
    """The pictures of studies as SVG, in their order."""
    return [
        Picture(f"{study.path.name}: {name.removesuffix('.svg')}", study.file(name).read_bytes())
        for study in studies
        for name in StudyRecord.of(study).plots
        if name.endswith(".svg")
    ]
