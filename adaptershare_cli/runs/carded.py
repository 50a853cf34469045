"""What a run knows that the model card of one of its tasks tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from statistics import mean

from adaptershare_cli.kinds import metric_title
from adaptershare_cli.methods import METHODS
from adaptershare_cli.model.source import EMBEDDED, EMBEDDED_ID, EMBEDDED_PACKAGE, is_hub_id
from adaptershare_cli.reporting.card import CardFacts, Partners, Score
from adaptershare_cli.runs.choose import kinds_of
from adaptershare_cli.runs.served import ServedRun
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace


def card_facts(workspace: Workspace, served: ServedRun, task: str) -> CardFacts:
    """The facts of one task."""
    record, info = RunRecord.of(served.run), served.infos[task]
    runs = _replicates(workspace, served.run)
    inputs = served.inputs[task]
    method = METHODS.get(record.method)
    name = EMBEDDED_ID if served.encoder.name == EMBEDDED else served.encoder.name
    return CardFacts(
        info=info,
        run=served.run.path.name,
        method=record.method,
        summary=method.summary if method is not None else "an adapter and a head for the task alone",
        citation=method.citation if method is not None else "",
        encoder=f"{name} ({EMBEDDED_PACKAGE} has it)" if served.encoder.name == EMBEDDED else name,
        base_model=name if is_hub_id(name) else "",
        encoder_hash=served.encoder.weights,
        max_seq_length=inputs.max_seq_length,
        pairs=bool(inputs.pairs),
        examples=record.examples.get(task, 0),
        steps=record.steps,
        together=[other for other in record.tasks if other != task],
        scores=_scores(runs, task),
        partners=partners_of(record, task),
        cosines=_cosines(served.run, task),
    )


def _replicates(workspace: Workspace, run: Artefact) -> list[Artefact]:
    """The run, and those of its workspace that differ in the seed alone."""
    there = [found for stage in ("train-single", "train-share") for found in workspace.artefacts(stage, _pass_over)]
    if run.path.resolve() not in {found.path.resolve() for found in there}:
        return [run]
    kinds = kinds_of(there)
    return [found for found in there if kinds[found.label] == kinds[run.label]]


def _pass_over(path: object, error: object) -> None:
    """A damaged run is no replicate."""


def _scores(runs: list[Artefact], task: str) -> list[Score]:
    """The final scores of a task on its scored splits, each with the values of all seeds."""
    values: dict[tuple[str, str], dict[int, float | None]] = defaultdict(dict)
    rows: dict[tuple[str, str], int] = {}
    for run in runs:
        record = RunRecord.of(run)
        for row in run.table("metrics.parquet").to_pylist():
            if row["task"] == task and row["final"] and row["split"] != "select":
                name = metric_title(row["metric"], (record.positive or {}).get(task))
                values[name, row["split"]][record.seed] = row["value"]
                rows[name, row["split"]] = row["rows"]
    return [
        Score(name, split, dict(sorted(found.items())), rows[name, split]) for (name, split), found in values.items()
    ]


def partners_of(record: RunRecord, task: str) -> list[Partners]:
    """With whom the task shares its adapter, layers with the same partners together; nothing of a run without plan."""
    if record.plan is None or task not in (plan := SharingPlan.from_json(record.plan)).tasks:
        return []
    of_layer = [
        tuple(other for group in groups if task in group for other in group if other != task) for groups in plan.layers
    ]
    found = []
    for partners, layers in groupby(enumerate(of_layer), key=lambda item: item[1]):
        numbers = [number for number, _ in layers]
        found.append(Partners(numbers[0], numbers[-1], partners))
    return found


def _cosines(run: Artefact, task: str) -> Mapping[str, float]:
    """The mean cosine of the task's held-out gradients with those of each other task, where they were observed."""
    if "interference.parquet" not in run.meta["files"]:
        return {}
    found: dict[str, list[float]] = defaultdict(list)
    for row in run.table("interference.parquet", ["task_a", "task_b", "cosine"]).to_pylist():
        pair = [row["task_a"], row["task_b"]]
        if task in pair and row["cosine"] is not None:
            pair.remove(task)
            found[pair[0]].append(row["cosine"])
    return {other: mean(values) for other, values in sorted(found.items(), key=lambda item: -mean(item[1]))}
