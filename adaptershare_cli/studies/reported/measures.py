"""What correlate found, as the report's page shows it: values of measures, their scores, pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adaptershare_cli.measures import MEASURES
from adaptershare_cli.reporting.chance import noise
from adaptershare_cli.reporting.page.facts import MeasureFacts, Picture
from adaptershare_cli.statistics.matrices import answer_of, task_matrix
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import CorrelationRecord, StudyRecord

VALUES, SCORES = "correlation.parquet", "scores.parquet"


def measure_facts(studies: Iterable[Artefact]) -> list[MeasureFacts]:
    """The values of each measure over all layers; measures that are not known any more are left out."""
    found = []
    for study in studies:
        if VALUES not in study.meta["files"]:
            continue
        record = CorrelationRecord.of(study)
        measure = MEASURES.get(record.measure)
        if measure is None:
            continue
        answer = answer_of(study.table(VALUES).to_pandas())
        seeds = f"seeds {', '.join(map(str, record.seeds))}" if record.seeds else ""
        found.append(
            MeasureFacts(
                name=record.measure,
                summary=measure.summary,
                label=f"{record.measure} ({', '.join(part for part in (seeds, study.key) if part)})",
                about=", ".join([study.label, *record.runs]),
                tasks=tuple(record.tasks),
                values=task_matrix(answer, record.tasks),
                pale=noise(answer, list(record.tasks), measure),
                errors=task_matrix(answer, record.tasks, "standard_error"),
                range=measure.range,
                unit=measure.unit,
                directed=record.directed,
            )
        )
    return found


def judged_measures(studies: Iterable[Artefact]) -> list[dict[str, Any]]:
    """How measures stand against measured truths: the rows of `schemas.SCORES` over all targets."""
    return [
        row
        for study in studies
        if SCORES in study.meta["files"]
        for row in study.table(SCORES).to_pylist()
        if row["target"] is None
    ]


def drawn_pictures(studies: Iterable[Artefact]) -> list[Picture]:
    """The pictures of studies as SVG, in their order."""
    return [
        Picture(f"{study.path.name}: {name.removesuffix('.svg')}", study.file(name).read_bytes())
        for study in studies
        for name in StudyRecord.of(study).plots
        if name.endswith(".svg")
    ]
