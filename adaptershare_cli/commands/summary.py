"""What --json says of an artefact: where it is, what it records, and its answer (scores, values, what was selected)."""

from __future__ import annotations

from typing import Any

from adaptershare_cli.runs.baselines import Baselines
from adaptershare_cli.runs.results import constant_score
from adaptershare_cli.schemas import ALL_LAYERS
from adaptershare_cli.store.artefact import Artefact


def artefact_summary(artefact: Artefact, baselines: Baselines) -> dict[str, Any]:
    """The artefact as JSON values; README.md describes the fields."""
    stage, info = artefact.meta["stage"], artefact.info
    summary: dict[str, Any] = {
        "name": artefact.label,
        "run": artefact.path.name,
        "stage": stage,
        "key": artefact.key,
        "path": str(artefact.path),
        "files": {name: str(artefact.path / name) for name in artefact.meta["files"] if name.endswith(".parquet")},
    }
    if stage in ("train-single", "train-share"):
        told = ("tasks", "method", "seed", "steps", "examples", "trained_parameters", "plan", "costs")
        summary |= {name: info.get(name) for name in told}
        scores = [row for row in artefact.table("metrics.parquet").to_pylist() if row["final"]]
        constants = baselines.of(artefact)
        summary["scores"] = [
            {n: row[n] for n in ("task", "split", "metric", "value", "rows", "main")}
            | {"constant": constant_score(row, constants)}
            for row in scores
        ]
    if "correlation.parquet" in artefact.meta["files"]:
        rows = artefact.table("correlation.parquet").to_pylist()
        summary["values"] = [row for row in rows if row["seed"] is None and row["layer"] == ALL_LAYERS]
    if "scores.parquet" in artefact.meta["files"]:
        summary["scores"] = artefact.table("scores.parquet").to_pylist()
    if "selection.parquet" in artefact.meta["files"]:
        rows = artefact.table("selection.parquet").to_pylist()
        summary["selection"] = [{name: value for name, value in row.items() if name != "rows"} for row in rows]
    if stage == "report":
        summary["results"] = artefact.table("results.parquet").to_pylist()
    return summary | {"info": info}
