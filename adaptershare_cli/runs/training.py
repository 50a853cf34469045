"""The making of a run's artefact: a job's training, from prepared rows to what is published."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from adaptershare_cli import schemas
from adaptershare_cli.data.batches import TaskParts
from adaptershare_cli.data.encoding import load_tokenizer
from adaptershare_cli.kinds import KINDS, of_one_label, prediction_tables
from adaptershare_cli.kinds.rows.shares import balanced
from adaptershare_cli.methods import METHODS
from adaptershare_cli.methods.base import MethodContext, TaskData, Updates
from adaptershare_cli.methods.planned.tables import plan_table
from adaptershare_cli.methods.start import Start
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.inputs import tokenizer_call
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.rows import input_record, lost_labels, lost_notes, read_parts, task_info
from adaptershare_cli.screen import TrainingView
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.signals import on_signals
from adaptershare_cli.store.disk import require_space
from adaptershare_cli.store.records import PreproRecord, RunRecord
from adaptershare_cli.training.checkpoint import Checkpoint
from adaptershare_cli.training.costs import Costs, count_costs
from adaptershare_cli.training.evaluation import score
from adaptershare_cli.training.loop import Hooks, Progress, Trainer
from adaptershare_cli.training.protocol import Method
from adaptershare_cli.training.schedule import task_updates, total_steps

_NEWER = {"class_weights": "none"}  # settings that came later, with the value that changes nothing


class Training:
    """The making of a run's artefact."""

    def __init__(self, context: StageContext, job: Job, store: CheckpointStore) -> None:
        self.context, self.job, self.store = context, job, store
        self.infos = {artefact.name: task_info(artefact) for artefact in job.prepared}

    def build(self, folder: Path) -> dict[str, Any]:
        """Train, and write what the artefact holds into `folder`."""
        job = self.job
        if job.again:
            self.store.clear(keep_forced=True)
        checkpoint = self.store.load(job.runtime.inexact, self.context.reporter.line)
        runtime = self.store.runtime
        device = torch.device(runtime.device)
        torch.set_num_threads(runtime.threads)
        parts, leaked = read_parts(job.training.leak_scope, job.prepared, job.limits)
        lost = lost_labels(job.prepared, parts, job.limits)
        if job.training.class_weights == "balanced":
            self.infos = {t: balanced(KINDS[i.kind], i, parts[t].train.answers) for t, i in self.infos.items()}
        self._tell_lost(leaked, lost)
        updates = planned_updates(job.training, parts, job.start)
        job.settings.check_updates(updates.total)
        name = f"{job.stage} {job.name} seed {job.seed}"
        with self.context.reporter.training(name, updates.total) as view:
            encoder = load_encoder(job.encoder, device)
            pad_token = PreproRecord.of(job.prepared[0]).pad_token
            method = self._method(encoder, parts, updates, pad_token, view)
            trainer = Trainer(
                method, parts, job.training, runtime.precision, job.runtime.checkpoint_steps,
                Hooks(progress=_shown_on(view), save=self.store.save), job.runtime.skippable,
                score_select=not job.lean or job.limits.target is not None, target=job.limits.target,
            )  # fmt: skip
            self._check_ends(folder, method, parts)
            self._train(trainer, checkpoint, view)
        if not job.lean:
            method.finish(folder)
        costs = _costs(trainer, job.start)
        self._write(folder, trainer, costs)
        timing = {f"{part}_seconds": round(seconds, 3) for part, seconds in trainer.seconds.items()}
        timing["training_seconds"] += job.start.seconds
        record = self._record(trainer, costs, parts, leaked, lost, updates)
        return {"info": record.to_json(), "timing": timing, "origin": {"encoder": str(job.encoder.folder.resolve())}}

    def _check_ends(self, folder: Path, method: Method, parts: Mapping[str, TaskParts]) -> None:
        """Try before the first update what would fail after the last: room for a checkpoint, and the metrics."""
        tensors, _ = method.state()
        require_space(folder, 3 * sum(tensor.nbytes for tensor in tensors.values()))  # with two moments each
        for task, part in parts.items():
            info = self.infos[task]
            outputs = np.zeros((len(part.select.answers), KINDS[info.kind].outputs(info)), np.float32)
            score(info, outputs, part.select)

    def _tell_lost(self, leaked: Mapping[str, int], lost: Mapping[str, Mapping[str, str]]) -> None:
        if self.job.lean:
            return
        for task, count in leaked.items():
            if count:
                self.context.reporter.line(f"{task}: {count} rows dropped: they stand in a scored split of this run")
        for task, labels in lost.items():
            for note in lost_notes(task, labels):
                self.context.reporter.line(note)

    def _method(
        self,
        encoder: PreTrainedModel,
        parts: Mapping[str, TaskParts],
        updates: Updates,
        pad_token: int,
        view: TrainingView,
    ) -> Method:
        job = self.job
        beginning = job.start.read(encoder, self.infos, job.training)
        return METHODS[job.method].build()(
            MethodContext(
                encoder=encoder,
                data=TaskData(
                    infos=self.infos,
                    heldout={task: part.heldout for task, part in parts.items()},
                    pad_token=pad_token,
                    select={task: part.select for task, part in parts.items()},
                    sizes={task: len(part.train) for task, part in parts.items()},
                ),
                training=job.training,
                settings=job.settings,
                updates=updates,
                seed=job.seed,
                weights=beginning.weights,
                start=beginning.own,
                tokenizer_call={} if job.lean else self._tokenizer_call(encoder),
                plan_changed=lambda step, before, after: view.table(plan_table(after, f"step {step}", before)),
            )
        )

    def _tokenizer_call(self, encoder: PreTrainedModel) -> dict[str, Any]:
        kind = next(iter(self.infos.values())).kind
        return tokenizer_call(encoder, load_tokenizer(self.job.encoder.folder, kind))

    def _train(self, trainer: Trainer, checkpoint: Checkpoint | None, view: TrainingView) -> None:
        if checkpoint is not None:
            view.resume(checkpoint.updates)
        with _stop_on_signal() as stop:
            trainer.hooks.stop = stop
            trainer.run(checkpoint)

    def _write(self, folder: Path, trainer: Trainer, costs: Costs) -> None:
        """Write the tables and the tasks' folders."""
        records, lean = trainer.records, self.job.lean
        tables = {
            name: pa.Table.from_pylist(records[name], table.schema)
            for name, table in (schemas.RUN_TABLES | prediction_tables()).items()
            if name in records and (name == "metrics" or not lean)
        }
        require_space(folder, 4 * costs.stored + sum(table.nbytes for table in tables.values()))
        for task in self.infos if not lean else ():
            trainer.method.export(task, folder / "tasks" / task)
        for name, table in tables.items():
            write_parquet(table, folder / f"{name}.parquet")

    def _record(
        self,
        trainer: Trainer,
        costs: Costs,
        parts: Mapping[str, TaskParts],
        leaked: dict[str, int],
        lost: Mapping[str, Mapping[str, str]],
        updates: Updates,
    ) -> RunRecord:
        job, plan = self.job, trainer.method.plan
        skipped = f"; {trainer.skipped} updates skipped: not finite" if trainer.skipped else ""
        return RunRecord(
            summary=f"{costs.trained:,} trained parameters{skipped}",
            tasks=list(self.infos),
            method=job.recorded_method(),
            seed=job.seed,
            settings=job.recorded_settings(),
            training=recorded_training(job.training),
            encoder={"name": job.encoder.name, "weights": job.encoder.weights},
            prepro={artefact.name: artefact.content for artefact in job.prepared},
            steps=updates.total,
            examples=_examples(job, updates),
            trained_parameters=costs.trained,
            skipped_updates=trainer.skipped,
            plan=plan.to_json() if plan is not None else None,
            precision=self.store.precision,
            machine=self.store.machine,
            exact=self.store.exact,
            leaked_rows=leaked,
            lost_labels={task: list(labels) for task, labels in lost.items()} or None,
            costs=asdict(costs),
            positive={task: info.positive for task, info in self.infos.items() if of_one_label(info.metrics)} or None,
            heldout_rows={task: len(part.heldout) for task, part in parts.items()},
            scored_rows={task: sum(map(len, part.scored.values())) for task, part in parts.items()},
            inputs={artefact.name: asdict(input_record(artefact)) for artefact in job.prepared},
            **job.recorded_start(),
        )


def recorded_training(training: TrainingSettings) -> dict[str, Any]:
    """The training settings as a run records them: those that are newer than the first runs only where they count."""
    return {name: value for name, value in asdict(training).items() if name not in _NEWER or value != _NEWER[name]}


def planned_updates(training: TrainingSettings, parts: Mapping[str, TaskParts], start: Start) -> Updates:
    """The updates of a run: what its start says, or what the schedule gives."""
    if start.updates is not None:
        return Updates(sum(start.updates.values()), start.updates)
    sizes = {task: len(part.train) for task, part in parts.items()}
    steps = total_steps(sizes, training)
    return Updates(steps, task_updates(sizes, training, steps))


def _examples(job: Job, updates: Updates) -> dict[str, int]:
    """Rows of each task that are trained on (updates x batch size), those behind the start too: runs compare by it."""
    batch = job.training.per_device_train_batch_size
    return {task: count * batch + job.start.examples.get(task, 0) for task, count in updates.of_task.items()}


def _costs(trainer: Trainer, start: Start) -> Costs:
    """What the run costs; what its start trained counts among what the run trained."""
    lengths = {task: [*chain(*(rows.lengths for rows in part.scored.values()))] for task, part in trainer.parts.items()}
    costs = count_costs(trainer.method, lengths)
    return replace(costs, trained=costs.trained + start.parameters, trained_heads=costs.trained_heads + start.heads)


def _shown_on(view: TrainingView) -> Callable[[Progress], None]:
    def show(event: Progress) -> None:
        if event.kind == "step":
            view.step(event.step, event.task, event.loss, event.rows)
        elif event.kind == "score":
            view.scoring(event.task, event.text, event.rows)
        else:
            view.note(event.text)

    return show


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a request to stop after the running update; a second one ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    with on_signals(ask, signal.SIGINT, signal.SIGTERM):
        yield lambda: bool(asked)
