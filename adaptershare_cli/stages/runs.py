"""What `train-single` and `train-share` share: one run from prepro artefacts to a published run artefact."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from adaptershare_cli import schemas
from adaptershare_cli.console import Reporter, TrainingView
from adaptershare_cli.data.batches import Rows, TaskInfo
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import METHODS, load_builder
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.counting import count_costs
from adaptershare_cli.model.encoder import check_inputs, load_encoder, resolve_precision
from adaptershare_cli.reporting.plan_table import plan_table
from adaptershare_cli.settings import ObserveSettings, check_settings, non_default
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.signals import on_signals
from adaptershare_cli.stages.checkpoints import CheckpointStore
from adaptershare_cli.stages.common import StageContext, ensure, full_request
from adaptershare_cli.stages.prepro import PARTS
from adaptershare_cli.training.loop import Hooks, Progress, TaskParts, Trainer
from adaptershare_cli.training.schedule import task_shares, total_steps
from adaptershare_cli.workspace import TRUTH, Artefact, canonical, request_key, require_space, write_parquet

InitAdapter = tuple[Artefact, str]  # a run, and the task of it whose adapter is the start


def run_request(
    context: StageContext,
    method: str,
    method_settings: ObserveSettings,
    prepared: list[Artefact],
    seed: int,
    origin: Artefact | None = None,
    init_adapter: InitAdapter | None = None,
    avoid: Set[str] = frozenset(),
) -> dict[str, Any]:
    """All that decides the result of a training; the arguments are those of `train_run`."""
    device, precision, threads = resolve_runtime(context)
    request = {
        **_settings_request(context, method, method_settings),
        "tasks": [[artefact.name, artefact.content] for artefact in prepared],
        "device": device.type,
        "precision": precision,
        "threads": threads,
        "seed": seed,
    }
    if origin is not None:
        request["init_plan"] = origin.content
    if init_adapter is not None:
        request["init_adapter"] = [init_adapter[0].content, init_adapter[1]]
    if dropped := _dropped(prepared, avoid):
        request["avoid"] = hashlib.sha256(canonical(dropped).encode()).hexdigest()
    return request


def train_run(
    context: StageContext,
    stage: str,
    name: str,
    method: str,
    method_settings: ObserveSettings,
    prepared: list[Artefact],
    seed: int,
    origin: Artefact | None = None,
    init_adapter: InitAdapter | None = None,
    avoid: Set[str] = frozenset(),
) -> Artefact:
    """The run artefact of one training (one task for `train-single`), resumed from its last checkpoint if it has one.

    `origin` is the run whose sharing plans the method takes up, `init_adapter` a run and the task of it whose adapter
    every task starts from. Train, held-out and select rows whose content is in `avoid` are left out, as are those that
    stand in a scored split of this run. Publishes `tasks/<task>/` (adapter and head) and the tables of
    `schemas.RUN_TABLES`; of stage `truth` only the final scores are taken and kept, and nothing is printed.
    """
    check_settings(method_settings)
    device, precision, threads = resolve_runtime(context)
    request = run_request(context, method, method_settings, prepared, seed, origin, init_adapter, avoid)
    lean = stage == TRUTH

    full = full_request(stage, request)
    inputs = [*prepared, *([origin] if origin else []), *([init_adapter[0]] if init_adapter else [])]
    forced = context.force == stage
    store = CheckpointStore(context.workspace, f"{name}-{request_key(full)}", full, inputs, device, forced)

    def build(folder: Path) -> dict[str, Any]:
        torch.set_num_threads(threads)
        parts, leaked = read_parts(context, prepared, avoid)
        for task, count in leaked.items() if not lean else ():
            if count:
                context.reporter.line(f"{task}: {count} rows dropped: they stand in a scored split of this run")
        infos = {artefact.name: task_info(artefact) for artefact in prepared}
        sizes = {task: len(part.train) for task, part in parts.items()}
        steps = total_steps(sizes, context.training)
        _check_first(method_settings, steps)
        pad_token = prepared[0].info["pad_token"]
        with context.reporter.training(f"{stage} {name} seed {seed}", steps) as view:
            encoder = load_encoder(context.encoder, device)
            check_inputs(encoder, {task: part.all() for task, part in parts.items()}, pad_token)
            method_context = MethodContext(
                encoder=encoder,
                infos=infos,
                heldout={task: part.heldout for task, part in parts.items()},
                training=context.training,
                settings=method_settings,
                max_steps=steps,
                seed=seed,
                pad_token=pad_token,
                init_adapter=init_adapter and init_adapter[0].path / "tasks" / init_adapter[1],
                plan_changed=lambda step, before, after: view.table(plan_table(after, f"step {step}", before)),
                **(read_plans(origin, tuple(infos)) if origin else {}),
            )
            hooks = Hooks(progress=_show(view), save=store.save)
            trainer = Trainer(
                load_builder(method)(method_context), parts, context.training, precision,
                context.runtime.checkpoint_steps, hooks, context.runtime.skippable, score_select=not lean,
            )  # fmt: skip
            if forced:
                store.clear(keep_forced=True)
            _run(trainer, store, view, context.runtime.inexact)
        built = _write(folder, trainer, infos, lean)
        built["info"] |= {
            "method": "single" if stage == "train-single" else method,
            "seed": seed,
            "steps": steps,
            "examples": _examples(context, sizes, steps),
            "leaked_rows": leaked,
            "heldout_rows": {task: len(part.heldout) for task, part in parts.items()},
            "scored_rows": {task: sum(map(len, part.scored.values())) for task, part in parts.items()},
            "settings": {k: v for k, v in asdict(method_settings).items() if k != "init_plan"},
            "init_plan": origin.label if origin else None,
            "training": asdict(context.training),
            "encoder": {"name": context.encoder.name, "weights": context.encoder.weights},
            "precision": precision,
            "prepro": {artefact.name: artefact.content for artefact in prepared},
            "machine": store.machine,
            "exact": store.exact,
        }
        return built

    return ensure(
        context,
        stage,
        name,
        request,
        build,
        inputs,
        # All skipping allowed is one key: it does not change what a run is, only whether it may end.
        lacks=lambda found: found.info["skipped_updates"] > context.runtime.skippable,
        settle=lambda made: store.clear(keep_forced=not made),
        quiet=lean,
    )


def _settings_request(context: StageContext, method: str, settings: ObserveSettings) -> dict[str, Any]:
    """What decides a run's result, besides tasks, seed and machine."""
    return {
        "method": method,
        "method_version": METHODS[method].code_version,
        # Of a run named by --init-plan its content counts, not the words that named it.
        "method_settings": {k: v for k, v in non_default(settings).items() if k != "init_plan"},
        "training": non_default(context.training),
        "encoder": context.encoder.weights,
    }


def _check_first(settings: ObserveSettings, steps: int) -> None:
    if settings.first_check is not None and settings.first_check > steps:
        raise UserError(
            f"--first-check {settings.first_check} comes after the last update, so nothing would be checked",
            where=f"the run has {steps} updates",
            fix="Give an earlier one, or more updates.",
        )


def find_run(
    context: StageContext,
    stage: str,
    name: str,
    method: str,
    method_settings: ObserveSettings,
    prepared: list[Artefact],
    seed: int,
    origin: Artefact | None = None,
    init_adapter: InitAdapter | None = None,
    avoid: Set[str] = frozenset(),
) -> Artefact | None:
    """What `train_run` with the same arguments has made, if it has."""
    request = run_request(context, method, method_settings, prepared, seed, origin, init_adapter, avoid)
    return context.workspace.find(stage, name, request_key(full_request(stage, request)))


def _dropped(prepared: list[Artefact], avoid: Set[str]) -> list[str]:
    """Contents of rows that `avoid` takes out of a training beyond those that its own scored splits do."""
    if not avoid:
        return []

    def contents(parts: Callable[[Artefact], Iterable[str]]) -> set[str]:
        tables = [a.table(f"{part}.parquet", ["content"]) for a in prepared for part in parts(a)]
        return {content for table in tables for content in table["content"].to_pylist()}

    return sorted((contents(lambda a: PARTS) & avoid) - contents(lambda a: a.info["scored"]))


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


def read_parts(
    context: StageContext, prepared: list[Artefact], avoid: Set[str] = frozenset()
) -> tuple[dict[str, TaskParts], dict[str, int]]:
    """All parts of all tasks, without rows that stand in a scored split of any task of the run (unless asked).

    Rows whose content is in `avoid` are left out of train, held-out and select, too. Returns the parts and how many of
    these rows each task lost.
    """
    tables = {a.name: {part: a.table(f"{part}.parquet") for part in (*PARTS, *a.info["scored"])} for a in prepared}
    forbidden = set(avoid)
    if context.training.leak_scope == "run":
        for artefact in prepared:
            for split in artefact.info["scored"]:
                forbidden.update(tables[artefact.name][split]["content"].to_pylist())
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
    return parts, lost


def read_plans(run: Artefact, tasks: tuple[str, ...]) -> dict[str, Any]:
    """`init_plan` and `plan_history` of `MethodContext` from an earlier run of the same tasks, in any order.

    Where the run kept an earlier step at its end, its history ends there.
    """
    table = run.table("sharing.parquet").to_pandas()
    final = table[table["phase"] == "final"]
    if len(final):
        table = table[(table["phase"] != "final") & (table["step"] <= final["step"].max())]
    history = []
    for step, rows in table.groupby("step"):
        groups = rows.groupby(["layer", "group"])["task"].agg(tuple)
        layers = tuple(tuple(groups[layer]) for layer in sorted(rows["layer"].unique()))
        history.append((int(step), SharingPlan(tasks, layers)))
    return {"init_plan": history[-1][1], "plan_history": tuple(history)}


def _run(trainer: Trainer, store: CheckpointStore, view: TrainingView, inexact: bool) -> None:
    checkpoint = store.load(inexact, view.note)
    if checkpoint is not None:
        view.resume(checkpoint.step)
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


def _examples(context: StageContext, sizes: dict[str, int], steps: int) -> dict[str, int]:
    """Rows of each task that the schedule asks for (updates x batch size): what makes runs comparable."""
    batch = context.training.per_device_train_batch_size
    return {task: round(share * steps) * batch for task, share in task_shares(sizes, context.training).items()}


def _write(folder: Path, trainer: Trainer, infos: dict[str, TaskInfo], lean: bool) -> dict[str, Any]:
    if not lean:
        trainer.method.finish(folder)
    records = trainer.records
    tables = {
        name: pa.Table.from_pylist(records[name], schema)
        for name, schema in schemas.RUN_TABLES.items()
        if name in records and (name == "metrics" or not lean)
    }
    lengths = {task: [*chain(*(rows.lengths for rows in part.scored.values()))] for task, part in trainer.parts.items()}
    costs = count_costs(trainer.method, lengths)
    require_space(folder, 4 * costs.stored + sum(table.nbytes for table in tables.values()))
    for task in infos if not lean else ():
        trainer.method.export(task, folder / "tasks" / task)
    for name, table in tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    skipped = f"; {trainer.skipped} updates skipped: not finite" if trainer.skipped else ""
    return {
        "info": {
            "tasks": list(infos),
            "trained_parameters": costs.trained,
            "costs": asdict(costs),
            "skipped_updates": trainer.skipped,
            "plan": trainer.method.plan.to_json(),
            "summary": f"{costs.trained:,} trained parameters{skipped}",
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
