"""What `train-single` and `train-share` share: one run from prepro artefacts to a published run artefact."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from transformers import PreTrainedModel

from adaptershare_cli import schemas
from adaptershare_cli.console import Reporter, TrainingView
from adaptershare_cli.data.batches import Rows, TaskInfo
from adaptershare_cli.errors import Interrupted, UserError
from adaptershare_cli.methods import METHODS, load_builder
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.model.encoder import load_encoder, resolve_precision
from adaptershare_cli.model.export import count_parameters
from adaptershare_cli.reporting.plan_table import plan_table
from adaptershare_cli.settings import MethodSettings, check_bounds, non_default
from adaptershare_cli.stages.checkpoints import CheckpointStore
from adaptershare_cli.stages.common import StageContext, ensure, settings_key
from adaptershare_cli.stages.prepro import PARTS
from adaptershare_cli.training.loop import Hooks, Progress, TaskParts, Trainer
from adaptershare_cli.training.schedule import task_updates, total_steps
from adaptershare_cli.workspace import CODE_VERSIONS, Artefact, request_key, write_parquet

TABLES = {
    "steps": schemas.STEPS,
    "metrics": schemas.METRICS,
    "predictions": schemas.PREDICTIONS,
    "sharing": schemas.SHARING,
    "interference": schemas.INTERFERENCE,
    "attention": schemas.ATTENTION,
}
# Options that name runs or folders: of these their content counts, not the words that named them.
NAMES = ("init_plan", "fusion_over", "adapters")


@dataclass(frozen=True)
class Origin:
    """What a run starts from besides its tasks' rows.

    `request` joins the run's request (`origin` in it: contents that differ from seed to seed; no words that name runs),
    `artefacts` its inputs, `info` its record, `settings` those that are told in words; `read(encoder, infos)` gives
    fields of `MethodContext`. `examples` are rows of the run's tasks that were trained on before, `parameters` and
    `seconds` what that trained and took, where it is a part of the method; `updates` those of each task, where they are
    not what the schedule gives.
    """

    request: dict[str, Any] = field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    read: Callable[[PreTrainedModel, dict[str, TaskInfo]], dict[str, Any]] = lambda encoder, infos: {}
    settings: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, int] = field(default_factory=dict)
    parameters: int = 0
    seconds: float = 0.0
    updates: dict[str, int] | None = None

    def record(self) -> dict[str, Any]:
        """What a run's info says of it; `origin_key` is the same for all seeds of what the runs were trained with."""
        if not self.artefacts:
            return self.info
        return {**self.info, "origin_key": request_key({"runs": sorted({settings_key(run) for run in self.artefacts})})}


SCRATCH = Origin()


def train_run(
    context: StageContext,
    stage: str,
    name: str,
    method: str,
    method_settings: MethodSettings,
    prepared: list[Artefact],
    seed: int,
    origin: Origin = SCRATCH,
    guarded: Sequence[Artefact] = (),
) -> Artefact:
    """The run artefact of one training (one task for `train-single`), resumed from its last checkpoint if it has one.

    Rows that stand in a scored split of the prepared tasks `guarded` are not trained on either. Publishes
    `tasks/<task>/` (adapter and head) and the tables of `TABLES`.
    """
    check_bounds(method_settings)
    device, precision, threads = resolve_runtime(context)
    guarded = _overlapping(context, prepared, guarded)
    request = {
        "method": method,
        "method_version": METHODS[method].code_version,
        "method_settings": {k: v for k, v in non_default(method_settings).items() if k not in NAMES},
        "training": non_default(context.training),
        "tasks": [[artefact.name, artefact.content] for artefact in prepared],
        "encoder": context.encoder.weights,
        "device": device.type,
        "precision": precision,
        "threads": threads,
        "seed": seed,
        **origin.request,
        **({"guarded": sorted(other.content for other in guarded)} if guarded else {}),
    }

    def build(folder: Path) -> dict[str, Any]:
        torch.set_num_threads(threads)
        key = request_key({"stage": stage, "code_version": CODE_VERSIONS[stage], **request})
        store = CheckpointStore(context.workspace, f"{name}-{key}", request)
        if context.force == stage:
            store.clear()
        parts, leaked = read_parts(context, prepared, guarded)
        infos = {artefact.name: task_info(artefact) for artefact in prepared}
        steps, updates = _schedule(context, parts, origin)
        encoder = load_encoder(context.encoder, device)
        with context.reporter.training(f"{stage} {name} seed {seed}", steps) as view:
            method_context = MethodContext(
                encoder=encoder,
                infos=infos,
                heldout={task: part.heldout for task, part in parts.items()},
                training=context.training,
                settings=method_settings,
                max_steps=steps,
                seed=seed,
                pad_token=prepared[0].info["pad_token"],
                task_steps=updates,
                select={task: part.select for task, part in parts.items()},
                plan_changed=lambda step, before, after: view.table(plan_table(after, f"step {step}", before)),
                **origin.read(encoder, infos),
            )
            hooks = Hooks(progress=_show(view), save=store.save)
            trainer = Trainer(
                load_builder(method)(method_context), parts, context.training, precision,
                context.runtime.checkpoint_steps, hooks,
            )  # fmt: skip
            _run(trainer, store, view)
        built = _write(folder, trainer, infos, origin.parameters)
        built["info"] |= {
            "method": method if stage == "train-share" else "single" if origin is SCRATCH else "single-from-run",
            "seed": seed,
            "steps": steps,
            "examples": _examples(context, updates, origin),
            "leaked_rows": leaked,
            "settings": {k: v for k, v in asdict(method_settings).items() if k not in NAMES} | origin.settings,
            "training": asdict(context.training),
            "encoder": {"name": context.encoder.name, "weights": context.encoder.weights},
            "precision": precision,
            "prepro": {artefact.name: artefact.content for artefact in prepared},
            **origin.record(),
        }
        built["timing"]["training_seconds"] += origin.seconds
        return built

    artefact = ensure(context, stage, name, request, build, [*prepared, *guarded, *origin.artefacts])
    CheckpointStore(context.workspace, artefact.path.name, request).clear()
    return artefact


def _schedule(context: StageContext, parts: dict[str, TaskParts], origin: Origin) -> tuple[int, dict[str, int]]:
    """Updates of the run, and of each task."""
    if origin.updates is not None:
        return sum(origin.updates.values()), origin.updates
    sizes = {task: len(part.train) for task, part in parts.items()}
    steps = total_steps(sizes, context.training)
    return steps, task_updates(sizes, context.training, steps)


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


def task_info(artefact: Artefact) -> TaskInfo:
    """What training needs to know of a prepared task."""
    info = artefact.info
    bounds = tuple(info["range"]) if info["range"] else None
    return TaskInfo(info["task"], info["kind"], tuple(info["labels"]), bounds, tuple(info["metrics"]))


def scored_contents(context: StageContext, prepared: Sequence[Artefact]) -> set[str]:
    """What must not be trained on: the rows of all scored splits of the tasks, if --leak-scope is run."""
    if context.training.leak_scope == "task":
        return set()
    splits = [(artefact, split) for artefact in prepared for split in artefact.info["scored"]]
    return {row for artefact, split in splits for row in _contents(artefact, split)}


def train_sizes(context: StageContext, prepared: Sequence[Artefact]) -> dict[str, int]:
    """Train rows of each task that are left when the tasks are trained in one run."""
    forbidden = scored_contents(context, prepared)
    return {a.name: sum(row not in forbidden for row in _contents(a, "train")) for a in prepared}


def _contents(artefact: Artefact, part: str) -> list[str]:
    return artefact.table(f"{part}.parquet", ["content"])["content"].to_pylist()


def _overlapping(context: StageContext, prepared: list[Artefact], guarded: Sequence[Artefact]) -> list[Artefact]:
    """The guarded tasks, other than the prepared ones, of whose scored rows some stand among those to learn from."""
    others = [other for other in guarded if other not in prepared]
    own = {row for artefact in prepared if others for part in PARTS for row in _contents(artefact, part)}
    return [other for other in others if not own.isdisjoint(scored_contents(context, [other]))]


def read_parts(
    context: StageContext, prepared: list[Artefact], guarded: Sequence[Artefact] = ()
) -> tuple[dict[str, TaskParts], dict[str, int]]:
    """All parts of all tasks, without rows that stand in a scored split of any task of the run (unless asked).

    Nor with those of the tasks `guarded`. Returns the parts and how many train, held-out and select rows each task
    lost.
    """
    tables = {a.name: {part: a.table(f"{part}.parquet") for part in (*PARTS, *a.info["scored"])} for a in prepared}
    forbidden = scored_contents(context, [*prepared, *guarded])
    parts: dict[str, TaskParts] = {}
    lost: dict[str, int] = {}
    for artefact in prepared:
        kept: dict[str, Rows] = {}
        lost[artefact.name] = 0
        for part, table in tables[artefact.name].items():
            if part in PARTS:
                mask = [content not in forbidden for content in table["content"].to_pylist()]
                lost[artefact.name] += mask.count(False)
                table = table.filter(pa.array(mask, pa.bool_()))
                if not table.num_rows:
                    raise UserError(
                        f"Every {part} row of task {artefact.name} stands in a scored split of a task of this run",
                        fix="Leave a task out, or use --leak-scope task.",
                    )
            kept[part] = Rows(table)
        scored = {split: kept[split] for split in artefact.info["scored"]}
        parts[artefact.name] = TaskParts(kept["train"], kept["heldout"], kept["select"], scored)
        if lost[artefact.name]:
            context.reporter.line(
                f"{artefact.name}: {lost[artefact.name]} rows dropped: they stand in a scored split of this run"
            )
    return parts, lost


def _run(trainer: Trainer, store: CheckpointStore, view: TrainingView) -> None:
    checkpoint = store.load()
    if checkpoint is not None:
        view.resume(checkpoint.done)
    with _stop_on_signal() as stop:
        trainer.hooks.stop = stop
        try:
            trainer.run(checkpoint)
        except Interrupted as error:
            raise Interrupted(error.what, fix="Run the same command again to go on.") from error


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

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals stay with whoever has them
        before = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _examples(context: StageContext, updates: dict[str, int], origin: Origin) -> dict[str, int]:
    """Rows of each task that are trained on (updates x batch size), the origin's too: what makes runs comparable."""
    batch = context.training.per_device_train_batch_size
    return {task: count * batch + origin.examples.get(task, 0) for task, count in updates.items()}


def _write(folder: Path, trainer: Trainer, infos: dict[str, TaskInfo], trained_before: int) -> dict[str, Any]:
    records = trainer.records
    for task in infos:
        trainer.method.export(task, folder / "tasks" / task)
    trainer.method.finish(folder)
    for name, schema in TABLES.items():
        if name in records:
            write_parquet(pa.Table.from_pylist(records[name], schema), folder / f"{name}.parquet")
    trained = count_parameters(list(trainer.method.names())) + trained_before
    plan = trainer.method.plan
    return {
        "info": {
            "tasks": list(infos),
            "trained_parameters": trained,
            "plan": plan.to_json() if plan is not None else None,
            "summary": f"{trained:,} trained parameters",
        },
        "timing": {f"{part}_seconds": round(seconds, 3) for part, seconds in trainer.seconds.items()},
    }


def run_results(run: Artefact) -> list[dict[str, Any]]:
    """The final scores of a run on its scored splits, as rows of `schemas.METRICS`."""
    rows = run.table("metrics.parquet").to_pylist()
    return [row for row in rows if row["final"] and row["split"] != "select"]


def print_run(reporter: Reporter, runs: list[Artefact], title: str) -> None:
    """A table of the main scores of runs: a row a run, a column for each task and scored split."""
    from rich.table import Table

    scores = {run.label: {f"{r['task']} {r['split']}": r for r in run_results(run) if r["main"]} for run in runs}
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    table = Table(title=title)
    table.add_column("task and split")
    for run in runs:
        table.add_column(f"{run.info['method']} seed {run.info['seed']}", justify="right")
    table.add_column("metric")
    for column in columns:
        found = [scores[run.label].get(column) for run in runs]
        metric = next(row["metric"] for row in found if row is not None)
        cells = ["–" if r is None else "n/a" if r["value"] is None else f"{100 * r['value']:.1f}" for r in found]
        table.add_row(column, *cells, metric)
    reporter.table(table)
