"""The trainings that a measure needs: what is there, what the rest will cost, and then one after the other."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adaptershare_cli.kinds.metrics import own
from adaptershare_cli.measures.base import Cost
from adaptershare_cli.measures.trainings import Training, scored_rows, trained_rows
from adaptershare_cli.methods.shared.settings import SharedSettings
from adaptershare_cli.methods.start import Start
from adaptershare_cli.methods.stored_adapter import adapter_start
from adaptershare_cli.runs.beginning import ALONE
from adaptershare_cli.runs.executors import Pending, open_executor
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.past import StoredRun
from adaptershare_cli.runs.results import find_run, main_scores
from adaptershare_cli.runs.rows import Limits, task_info
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.store.artefact import verify
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import TRUTH, Artefact
from adaptershare_cli.studies.replicates import Replicates

Runs = dict[Training, Artefact]


def announce_trainings(
    replicates: Replicates,
    what: str,
    trainings: Sequence[Training],
    at_most: bool = False,
    unknown: Sequence[Training] = (),
) -> Runs:
    """Say what making those that are missing will cost; returns those that are there.

    `unknown` are trainings of the same size as some that cannot be known yet, so it is `at_most` that.
    """
    runs = _found(replicates, trainings)
    todo = [*(training for training in trainings if training not in runs), *unknown]
    if not todo:
        replicates.context.reporter.line(f"{what}: all {len(trainings)} trainings are there")
        return runs
    for info in map(task_info, replicates.prepared.values()):
        own.require_known(info.name, info.metrics)
    rate, note = _rate(replicates, runs)
    updates, rows = sum(len(t.tasks) * t.steps for t in todo), trained_rows(todo, replicates.batch)
    count = f"{'at most ' * at_most}{len(todo)} of {len(trainings) + len(unknown)}"
    replicates.context.reporter.line(
        f"{what}: {count} trainings to make: {updates:,} updates on {rows:,} rows, "
        f"{_scored(replicates, todo):,} rows scored; about {_duration(_work(replicates, todo) / rate)} "
        f"({rate:.0f} rows/s in {note}). It may be stopped at any time: the same command goes on."
    )
    return runs


def make_trainings(
    replicates: Replicates, measure: str, trainings: Sequence[Training], announced: bool = False
) -> Runs:
    """The artefact of each training. Those that are missing are made, after a line on what that will cost.

    A training of one task from fresh weights is a `train-single` run as users make it; all others, and trials, are
    artefacts of stage `truth`, which keep their scores alone. No such line where it was `announced` before.
    """
    context = replicates.context
    runs = _found(replicates, trainings) if announced else announce_trainings(replicates, measure, trainings)
    todo = [training for training in trainings if training not in runs]
    rate = _rate(replicates, runs)[0] if todo else math.nan
    executor = open_executor(context)
    started, kept = time.monotonic(), len(runs)
    pending: dict[Training, Pending] = {}

    def collect(training: Training) -> None:
        runs[training] = pending.pop(training).result()

    for number, training in enumerate(todo):
        while len(pending) >= executor.jobs:
            collect(next(iter(pending)))
        if training.start in pending:
            collect(training.start)
        done = number - len(pending)
        if done:
            rate = _work(replicates, todo[:done]) / (time.monotonic() - started)
        left = _duration(_work(replicates, todo[done:]) / rate)
        place = f"training {kept + number + 1} of {len(trainings)}"
        context.reporter.line(f"{measure}: {place}, {training.name}, seed {training.seed} (about {left} to go)")
        pending[training] = executor.submit(_job(replicates, training, runs))
    for training in [*pending]:
        collect(training)
    return runs


def training_request(replicates: Replicates, training: Training) -> dict[str, Any]:
    """All that decides the result of a training that starts from nothing."""
    return _job(replicates, training, {}).request()


def training_scores(runs: Runs) -> dict[Training, dict[str, float]]:
    """For each training the main metric of each of its tasks (of a trial: the target), the mean over its scored splits.

    A metric that is undefined (the predictions are constant) counts as 0.
    """
    return {training: main_scores(run) for training, run in runs.items()}


def trial_curves(runs: Runs) -> list[dict[int, float]]:
    """For each trial its target's main metric on select rows, by updates done; undefined counts as 0."""
    found = []
    for training, run in runs.items():
        rows = [row for row in run.table("metrics.parquet").to_pylist() if row["main"] and row["split"] == "select"]
        found.append({row["step"] // len(training.tasks): row["value"] or 0.0 for row in rows if not row["final"]})
    return found


def trainings_cost(replicates: Replicates, trainings: Sequence[Training], scoring: bool) -> Cost:
    """What the trainings process, with or without the scoring of their results."""
    rows = trained_rows(trainings, replicates.batch)
    return Cost(rows + _scored(replicates, trainings) * scoring, rows)


def _job(replicates: Replicates, training: Training, runs: Mapping[Training, Artefact]) -> Job:
    """A training as a job; what it starts from, if anything, is among `runs`."""
    tasks, start = training.tasks, training.start
    alone = len(tasks) == 1
    stage, name = ("train-single", tasks[0]) if alone and start is None else (TRUTH, "-".join(("pair", *tasks)))
    if start is not None:
        name = f"transfer-{start.tasks[0]}-{tasks[0]}"
    if training.target is not None:
        stage, name = TRUTH, f"trial-{training.target}"
    context = replicates.checked_context
    settings = _settings(replicates, training)
    return Job(
        stage,
        name,
        "private" if alone else "shared",
        ALONE if alone else SharedSettings(observe=False),
        settings,
        context.runtime,
        context.encoder,
        tuple(replicates.prepared[task] for task in tasks),
        training.seed,
        adapter_start(StoredRun(runs[start]), start.tasks[0], settings) if start is not None else Start(),
        Limits(replicates.scored_contents, dict(training.rows), training.target),
        again=context.force == stage,
    )


def _settings(replicates: Replicates, training: Training) -> TrainingSettings:
    """The runs' settings, with the training's updates on each of its tasks and the last step kept."""
    default = TrainingSettings()
    return replace(
        replicates.context.training,
        max_steps=training.steps * len(training.tasks),
        num_train_epochs=default.num_train_epochs,
        task_sampling="uniform" if len(training.tasks) > 1 else default.task_sampling,
        sampling_temperature=default.sampling_temperature,
        eval_steps=training.every if training.target is not None else None,
        load_best_model_at_end=False,
    )


def _found(replicates: Replicates, trainings: Iterable[Training]) -> Runs:
    """The trainings whose artefacts are there, verified."""
    runs: Runs = {}
    for training in trainings:
        if training.start is not None and training.start not in runs:
            continue  # what it starts from is still to be made
        run = find_run(replicates.context.workspace, _job(replicates, training, runs))
        if run is not None:
            verify(run)
            replicates.context.reporter.kept_artefact(run.label, quiet=True)
            runs[training] = run
    return runs


def _scored(replicates: Replicates, trainings: Sequence[Training]) -> int:
    """Rows that the trainings are scored on. Select rows are looked up only where there are trials."""
    trials = any(training.target is not None for training in trainings)
    return scored_rows(trainings, replicates.scored, replicates.select if trials else {})


def _work(replicates: Replicates, trainings: Sequence[Training]) -> float:
    """Rows of training that trainings and their scoring are worth; a scored row has no backward pass."""
    return trained_rows(trainings, replicates.batch) + _scored(replicates, trainings) / 2


def _rate(replicates: Replicates, runs: Mapping[Training, Artefact]) -> tuple[float, str]:
    """Rows a second, and where that was measured: in the trainings that are there, else in the run at hand."""
    work, seconds, note = _work(replicates, list(runs)), sum(map(_seconds, runs.values())), "those that are there"
    if not runs or not seconds:
        run = replicates.first
        work = RunRecord.of(run).steps * replicates.batch + sum(replicates.scored.values()) / 2
        seconds, note = _seconds(run), run.path.name
    return work / max(seconds, 1e-3), note


def _seconds(run: Artefact) -> float:
    return sum(json.loads((run.path / "timing.json").read_text(encoding="utf-8")).values())


def _duration(seconds: float) -> str:
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
