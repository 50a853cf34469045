"""What `train-single` and `train-share` share: one run from prepro artefacts to a published run artefact."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from transformers import PreTrainedModel

from adaptershare_cli import schemas
from adaptershare_cli.cli.console import Reporter, TrainingView
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import prediction_tables
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods import METHODS, load_builder
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.model.encoder import check_inputs, load_encoder, resolve_precision
from adaptershare_cli.reporting.plan_table import plan_table
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.runs.context import StageContext, ensure, full_request, settings_key
from adaptershare_cli.runs.rows import WHOLE, Limits, dropped, read_parts
from adaptershare_cli.settings import MethodSettings, ObserveSettings, check_settings, non_default
from adaptershare_cli.signals import on_signals
from adaptershare_cli.store.workspace import TRUTH, Artefact, digest, request_key, require_space, write_parquet
from adaptershare_cli.training.costs import count_costs
from adaptershare_cli.training.loop import Hooks, Progress, TaskParts, Trainer
from adaptershare_cli.training.schedule import task_updates, total_steps

# Options that name runs or folders: of these their content counts, not the words that named them.
NAMES = ("init_plan", "fusion_over", "adapters", "mask_run")


@dataclass(frozen=True)
class Origin:
    """What a run starts from besides its tasks' rows.

    `request` joins the run's request (`origin` in it: contents that differ from seed to seed; no words that name runs),
    `artefacts` its inputs, `info` its record, `settings` those that are told in words; `read(encoder, infos)` gives
    fields of `MethodContext`. `examples` are rows of the run's tasks that were trained on before, `parameters` and
    `seconds` what that trained (`heads` of them in heads) and took, where it is a part of the method; `updates` those
    of each task, where they are not what the schedule gives.
    """

    request: dict[str, Any] = field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    read: Callable[[PreTrainedModel, dict[str, TaskInfo]], dict[str, Any]] = lambda encoder, infos: {}
    settings: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, int] = field(default_factory=dict)
    parameters: int = 0
    heads: int = 0
    seconds: float = 0.0
    updates: dict[str, int] | None = None

    def record(self) -> dict[str, Any]:
        """What a run's info says of it; `origin_key` is the same for all seeds of what the runs were trained with."""
        if not self.artefacts:
            return self.info
        return {**self.info, "origin_key": request_key({"runs": sorted({settings_key(run) for run in self.artefacts})})}


SCRATCH = Origin()


@dataclass(frozen=True)
class Job:
    """A training: the artefact's stage and name, the method and its settings, prepared tasks, seed, start and rows.

    One of stage `truth` is `lean`: only scores are taken and kept (on select rows where `limits` have a target), and
    nothing is printed.
    """

    stage: str
    name: str
    method: str
    settings: MethodSettings
    prepared: list[Artefact]
    seed: int
    origin: Origin = SCRATCH
    limits: Limits = WHOLE

    @property
    def lean(self) -> bool:
        """Whether scores are all that is kept."""
        return self.stage == TRUTH

    def request(self, context: StageContext) -> dict[str, Any]:
        """All that decides the result."""
        device, precision, threads = resolve_runtime(context)
        request = {
            "method": self.method,
            "method_version": METHODS[self.method].code_version,
            "method_settings": {k: v for k, v in non_default(self.settings).items() if k not in NAMES},
            "training": non_default(context.training),
            "encoder": context.encoder.weights,
            "tasks": [[artefact.name, artefact.content] for artefact in self.prepared],
            "device": device.type,
            "precision": precision,
            "threads": threads,
            "seed": self.seed,
            **self.origin.request,
        }
        if missing := dropped(self.prepared, self.limits.avoid):
            request["avoid"] = digest(missing)
        if self.limits.keep:
            request["keep"] = digest({task: sorted(rows) for task, rows in self.limits.keep.items()})
        if self.limits.target is not None:
            request["target"] = self.limits.target
        return request


def train_run(context: StageContext, job: Job) -> Artefact:
    """The run artefact of one training (one task for `train-single`), resumed from its last checkpoint if it has one.

    Left out are the rows that the job's limits leave out, and those that stand in a scored split of this run. Publishes
    `tasks/<task>/` (adapter and head) and the tables of `schemas.RUN_TABLES` and predictions.
    """
    check_settings(job.settings)
    device, precision, threads = resolve_runtime(context)
    request = job.request(context)
    full = full_request(job.stage, request)
    inputs = [*job.prepared, *job.origin.artefacts]
    forced = context.force == job.stage
    store = CheckpointStore(context.workspace, f"{job.name}-{request_key(full)}", full, inputs, device, forced)

    def build(folder: Path) -> dict[str, Any]:
        torch.set_num_threads(threads)
        parts, leaked = read_parts(context, job.prepared, job.limits)
        for task, count in leaked.items() if not job.lean else ():
            if count:
                context.reporter.line(f"{task}: {count} rows dropped: they stand in a scored split of this run")
        infos = {artefact.name: TaskInfo.of(artefact.info) for artefact in job.prepared}
        steps, updates = _schedule(context, parts, job.origin)
        _check_first(job.settings, steps)
        pad_token = job.prepared[0].info["pad_token"]
        with context.reporter.training(f"{job.stage} {job.name} seed {job.seed}", steps) as view:
            encoder = load_encoder(context.encoder, device)
            check_inputs(encoder, {task: part.all() for task, part in parts.items()}, pad_token)
            method_context = MethodContext(
                encoder=encoder,
                infos=infos,
                heldout={task: part.heldout for task, part in parts.items()},
                training=context.training,
                settings=job.settings,
                max_steps=steps,
                seed=job.seed,
                pad_token=pad_token,
                task_steps=updates,
                sizes={task: len(part.train) for task, part in parts.items()},
                select={task: part.select for task, part in parts.items()},
                plan_changed=lambda step, before, after: view.table(plan_table(after, f"step {step}", before)),
                **job.origin.read(encoder, infos),
            )
            hooks = Hooks(progress=_show(view), save=store.save)
            trainer = Trainer(
                load_builder(job.method)(method_context), parts, context.training, precision,
                context.runtime.checkpoint_steps, hooks, context.runtime.skippable,
                score_select=not job.lean or job.limits.target is not None, target=job.limits.target,
            )  # fmt: skip
            if forced:
                store.clear(keep_forced=True)
            _run(trainer, store, view, context.runtime.inexact)
        built = _write(folder, trainer, infos, job.lean, job.origin)
        built["info"] |= {
            **_record(context, job, parts),
            "leaked_rows": leaked,
            "steps": steps,
            "examples": _examples(context, updates, job.origin),
            "precision": precision,
            "machine": store.machine,
            "exact": store.exact,
        }
        built["timing"]["training_seconds"] += job.origin.seconds
        return built

    return ensure(
        context,
        job.stage,
        job.name,
        request,
        build,
        inputs,
        # All skipping allowed is one key: it does not change what a run is, only whether it may end.
        lacks=lambda found: found.info["skipped_updates"] > context.runtime.skippable,
        settle=lambda made: store.clear(keep_forced=not made),
        quiet=job.lean,
    )


def find_run(context: StageContext, job: Job) -> Artefact | None:
    """What `train_run` with the same arguments has made, if it has."""
    full = full_request(job.stage, job.request(context))
    return context.workspace.find(job.stage, job.name, request_key(full))


def _record(context: StageContext, job: Job, parts: dict[str, TaskParts]) -> dict[str, Any]:
    """What a run's info says of the job."""
    settings = {name: value for name, value in asdict(job.settings).items() if name not in NAMES}
    return {
        "method": _recorded_method(job),
        "seed": job.seed,
        "heldout_rows": {task: len(part.heldout) for task, part in parts.items()},
        "scored_rows": {task: sum(map(len, part.scored.values())) for task, part in parts.items()},
        "settings": settings | job.origin.settings,
        "training": asdict(context.training),
        "encoder": {"name": context.encoder.name, "weights": context.encoder.weights},
        "prepro": {artefact.name: artefact.content for artefact in job.prepared},
        **job.origin.record(),
    }


def _check_first(settings: MethodSettings, steps: int) -> None:
    first = settings.first_check if isinstance(settings, ObserveSettings) else None
    if first is not None and first > steps:
        raise UserError(
            f"--first-check {first} comes after the last update, so nothing would be checked",
            where=f"the run has {steps} updates",
            fix="Give an earlier one, or more updates.",
        )


def _schedule(context: StageContext, parts: dict[str, TaskParts], origin: Origin) -> tuple[int, dict[str, int]]:
    """Updates of the run, and of each task."""
    if origin.updates is not None:
        return sum(origin.updates.values()), origin.updates
    sizes = {task: len(part.train) for task, part in parts.items()}
    steps = total_steps(sizes, context.training)
    return steps, task_updates(sizes, context.training, steps)


def _recorded_method(job: Job) -> str:
    if job.stage != "train-single":
        return job.method
    return "single" if job.origin is SCRATCH else "single-from-run"


def resolve_runtime(context: StageContext) -> tuple[torch.device, str, int]:
    """Device, precision and number of threads, none of them `auto` any more."""
    runtime = context.runtime
    kind = runtime.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device", where="--device cuda", fix="Use --device cpu.")
    device = torch.device(kind)
    # Not every system can say which cores this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return device, resolve_precision(runtime.precision, device), runtime.threads or cores


def _run(trainer: Trainer, store: CheckpointStore, view: TrainingView, inexact: bool) -> None:
    checkpoint = store.load(inexact, view.note)
    if checkpoint is not None:
        view.resume(checkpoint.updates)
    with _stop_on_signal() as stop:
        trainer.hooks.stop = stop
        trainer.run(checkpoint)


def _show(view: TrainingView) -> Any:
    def show(event: Progress) -> None:
        if event.kind == "step":
            view.step(event.step, event.task, event.loss, event.rows)
        elif event.kind == "score":
            view.scoring(event.task, event.text, event.rows)
        else:
            view.note(event.text)

    return show


@contextmanager
def _stop_on_signal() -> Iterator[Any]:
    """Turn SIGINT and SIGTERM into a request to stop after the running update; a second one ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    with on_signals(ask, signal.SIGINT, signal.SIGTERM):
        yield lambda: bool(asked)


def _examples(context: StageContext, updates: dict[str, int], origin: Origin) -> dict[str, int]:
    """Rows of each task that are trained on (updates x batch size), the origin's too: what makes runs comparable."""
    batch = context.training.per_device_train_batch_size
    return {task: count * batch + origin.examples.get(task, 0) for task, count in updates.items()}


def _write(folder: Path, trainer: Trainer, infos: dict[str, TaskInfo], lean: bool, origin: Origin) -> dict[str, Any]:
    """Write tables and tasks' folders; what the origin trained counts among what the run trained (`costs.trained`)."""
    if not lean:
        trainer.method.finish(folder)
    records = trainer.records
    tables = {
        name: pa.Table.from_pylist(records[name], table.schema)
        for name, table in (schemas.RUN_TABLES | prediction_tables()).items()
        if name in records and (name == "metrics" or not lean)
    }
    lengths = {task: [*chain(*(rows.lengths for rows in part.scored.values()))] for task, part in trainer.parts.items()}
    costs = count_costs(trainer.method, lengths)
    costs = replace(costs, trained=costs.trained + origin.parameters, trained_heads=costs.trained_heads + origin.heads)
    require_space(folder, 4 * costs.stored + sum(table.nbytes for table in tables.values()))
    for task in infos if not lean else ():
        trainer.method.export(task, folder / "tasks" / task)
    for name, table in tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    skipped = f"; {trainer.skipped} updates skipped: not finite" if trainer.skipped else ""
    plan = trainer.method.plan
    return {
        "info": {
            "tasks": list(infos),
            "trained_parameters": costs.trained,
            "costs": asdict(costs),
            "skipped_updates": trainer.skipped,
            "plan": plan.to_json() if plan is not None else None,
            "summary": f"{costs.trained:,} trained parameters{skipped}",
        },
        "timing": {f"{part}_seconds": round(seconds, 3) for part, seconds in trainer.seconds.items()},
    }


def run_results(run: Artefact) -> list[dict[str, Any]]:
    """The final scores of a run on its scored splits, as rows of `schemas.METRICS`."""
    rows = run.table("metrics.parquet").to_pylist()
    return [row for row in rows if row["final"] and row["split"] != "select"]


def print_run(reporter: Reporter, runs: list[Artefact], title: str) -> None:
    """A table of the main scores of runs: a column a method and seed, a row for each task and scored split.

    Runs of single tasks stand in one column, as those of a seed belong together.
    """
    from rich.table import Table

    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        column = scores.setdefault(f"{run.info['method']} seed {run.info['seed']}", {})
        column |= {f"{row['task']} {row['split']}": row for row in run_results(run) if row["main"]}
    table = Table(title=title)
    table.add_column("task and split")
    for name in scores:
        table.add_column(name, justify="right")
    table.add_column("metric")
    for line in dict.fromkeys(line for column in scores.values() for line in column):
        found = [column.get(line) for column in scores.values()]
        metric = next(row["metric"] for row in found if row is not None)
        cells = ["–" if r is None else "n/a" if r["value"] is None else f"{100 * r['value']:.1f}" for r in found]
        table.add_row(line, *cells, metric)
    reporter.table(table)
