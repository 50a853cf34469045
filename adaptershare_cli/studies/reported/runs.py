"""Runs as the report's page shows them: choice, curves, and how their plans came about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from adaptershare_cli.measures.plan import last_plan
from adaptershare_cli.reporting.page.facts import PlanHistory, RunFacts, Split
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.statistics.missing import or_none
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

BINS = 20  # points of a curve of losses, at most
FINAL = "final"  # the phase of scores with the weights that were kept
Curves = dict[str, list[tuple[int, float]]]


def run_facts(runs: Iterable[Artefact]) -> dict[str, RunFacts]:
    """Each run by its name."""
    return {run.path.name: _run(run) for run in runs}


def _run(run: Artefact) -> RunFacts:
    record = RunRecord.of(run)
    metrics = run.table("metrics.parquet").to_pandas()
    select = metrics[metrics["main"] & (metrics["split"] == "select")]
    return RunFacts(
        name=run.path.name,
        method=record.method,
        seed=record.seed,
        tasks=tuple(record.tasks),
        steps=record.steps,
        select=_select(select.to_dict("records")),
        command=run.recorded_command,
        settings={**record.training, **record.settings},
        encoder=record.encoder_name,
        encoder_hash=record.encoder_weights,
        precision=record.precision,
        machine=record.machine,
        versions=run.meta.get("versions", {}),
        data=record.prepro,
        plan=SharingPlan.from_json(record.plan) if record.plan else None,
        scores=_scores(select[~select["final"]]),
        losses=_losses(run.table("steps.parquet", ["phase", "step", "task", "loss"]).to_pandas(), len(record.tasks)),
        history=_history(run),
    )


def _select(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Each task's main metric on select rows: with the weights that were kept, else at the last evaluation."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = found.get(row["task"])
        if before is None or (row["final"], row["step"]) >= (before["final"], before["step"]):
            found[row["task"]] = row
    return {task: or_none(row["value"]) for task, row in found.items()}


def _scores(select: pd.DataFrame) -> Curves:
    """Each task's main metric on select rows (x 100) over the updates of the last phase that evaluated it."""
    curves: Curves = {}
    for task, rows in select.dropna(subset=["value"]).groupby("task", sort=False):
        last = rows[rows["phase"] == rows["phase"].iloc[-1]].drop_duplicates("step", keep="last")
        curves[str(task)] = [(int(row.step), 100 * float(row.value)) for row in last.sort_values("step").itertuples()]
    return curves


def _losses(steps: pd.DataFrame, tasks: int) -> Curves:
    """Each task's mean loss over the updates of its last phase, in at most `BINS` spans of them.

    Spans are long enough for each of so many tasks to have its turn, about, so that seeds have them in common.
    """
    curves: Curves = {}
    for task, rows in steps.dropna(subset=["loss"]).groupby("task", sort=False):
        last = rows[rows["phase"] == rows["phase"].iloc[-1]]
        width = max(2 * tasks, -(-int(last["step"].max()) // BINS))
        means = last.groupby((last["step"] - 1) // width)["loss"].mean()
        curves[str(task)] = [(int(width * (place + 1)), float(value)) for place, value in means.items()]  # type: ignore[operator, call-overload]
    return curves


def _history(run: Artefact) -> PlanHistory | None:
    """How the plan of the last phase came about; None of a run without plan."""
    if "sharing.parquet" not in run.meta["files"]:
        return None
    sharing = run.table("sharing.parquet").to_pandas()
    if sharing.empty:
        return None
    tasks = tuple(map(str, last_plan(sharing).columns))
    phase = sharing["phase"].iloc[-1]
    wide = sharing[sharing["phase"] == phase].pivot(index=["layer", "task"], columns="step", values="group")
    wide = wide.sort_index(axis=1)
    layers = sorted(wide.index.get_level_values("layer").unique())
    groups = {int(layer): wide.reindex([(layer, task) for task in tasks]).to_numpy(float) for layer in layers}
    steps = tuple(int(step) for step in wide.columns)
    return PlanHistory(tasks, steps, groups, _splits(tasks, steps, groups, _parted(run, phase)))


def _parted(run: Artefact, phase: str) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """By update and layer the pairs that part there, as rows of `schemas.INTERFERENCE`."""
    if "interference.parquet" not in run.meta["files"]:
        return {}
    columns = ["phase", "step", "layer", "task_a", "task_b", "cosine", "cosine_error", "decision"]
    table = run.table("interference.parquet", columns).to_pandas()
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in table[(table["decision"] == "split") & (table["phase"] == phase)].to_dict("records"):
        found.setdefault((row["step"], row["layer"]), []).append(row)
    return found


def _splits(
    tasks: tuple[str, ...],
    steps: tuple[int, ...],
    groups: dict[int, np.ndarray],
    parted: dict[tuple[int, int], list[dict[str, Any]]],
) -> list[Split]:
    """Every group that parted, in the order of the updates."""
    found = []
    for change in range(1, len(steps)):
        for layer, history in groups.items():
            for parts in _parts(tasks, history[:, change - 1], history[:, change]):
                inside = {task for part in parts for task in part}
                pairs = [row for row in parted.get((steps[change], layer), ())
                         if {row["task_a"], row["task_b"]} <= inside and row["cosine"] == row["cosine"]]  # fmt: skip
                lowest = min(pairs, key=lambda row: row["cosine"], default=None)
                told = (None, None, None) if lowest is None else (
                    (lowest["task_a"], lowest["task_b"]), lowest["cosine"], or_none(lowest["cosine_error"])
                )  # fmt: skip
                found.append(Split(steps[change], layer, parts, *told))
    return found


def _parts(tasks: tuple[str, ...], before: np.ndarray, after: np.ndarray) -> list[tuple[tuple[str, ...], ...]]:
    """The groups that stood together before and do not after, as their parts."""
    found = []
    for group in dict.fromkeys(before[~np.isnan(before)]):
        inside = np.flatnonzero(before == group)
        parts: dict[float, list[str]] = {}
        for place in inside:
            parts.setdefault(float(after[place]), []).append(tasks[place])
        if len(parts) > 1:
            found.append(tuple(tuple(part) for part in parts.values()))
    return found
