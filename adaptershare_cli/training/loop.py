"""The one training loop: batches, updates, checks, checkpoints, scores. It knows methods only by their protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from adaptershare_cli.data.batches import Batch, Rows, TaskParts, TaskStream
from adaptershare_cli.errors import Interrupted, RunError, UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.model.precision import linear_precision
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.checkpoint import Checkpoint, CheckpointTimer, with_prefix, without_prefix
from adaptershare_cli.training.evaluation import predict, prediction_rows, score
from adaptershare_cli.training.optimizer import Optimizer
from adaptershare_cli.training.protocol import Method, Phase
from adaptershare_cli.training.schedule import task_order


@dataclass(frozen=True)
class Progress:
    """What the loop tells its caller: `kind` is step, score or note. Steps are counted over all phases."""

    kind: str
    step: int = 0
    total: int = 0
    task: str = ""
    loss: float = math.nan
    rows: int = 0
    text: str = ""


@dataclass
class Hooks:
    """The loop's only ways out: progress, saving, and being asked to stop."""

    progress: Callable[[Progress], None] = lambda event: None
    save: Callable[[Checkpoint], None] | None = None  # None: no checkpoint is made
    stop: Callable[[], bool] = lambda: False


@dataclass
class Best:
    """The best step of a phase so far by the average of the main metrics on the select rows."""

    step: int = 0
    value: float = -math.inf
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


class Trainer:
    """Trains one method on its tasks' rows; `run` does it all.

    `checkpoint_steps` as in `CheckpointTimer`; up to `max_nonfinite` updates are skipped because their loss or gradient
    is not finite. Without `score_select` no step can be chosen. With a `target` no other task is scored.
    """

    def __init__(
        self,
        method: Method,
        parts: dict[str, TaskParts],
        settings: TrainingSettings,
        precision: str,
        checkpoint_steps: int | None,
        hooks: Hooks,
        max_nonfinite: int = 0,
        score_select: bool = True,
        target: str | None = None,
    ) -> None:
        self.method, self.parts, self.settings = method, parts, settings
        self.precision, self.hooks, self.max_nonfinite = precision, hooks, max_nonfinite
        self.checkpoints = CheckpointTimer(checkpoint_steps)
        self.context, self.score_select = method.context, score_select
        self.judged = set(parts) if target is None else {target}
        self.records = method.context.records
        for name in ("steps", "metrics", "predictions"):
            self.records.setdefault(name, [])
        self.best = Best()
        self.kept: dict[str, int] = {}  # the step of its phase that each task ended with
        self.total = 0  # updates of all phases
        self.seconds = {"training": 0.0, "scoring": 0.0, "checkpoint": 0.0}

    def run(self, resume: Checkpoint | None = None) -> None:
        """Train all phases (from `resume` on), each up to its best step if asked for, and score. Fills `records`."""
        phases = list(self.method.phases())
        self.total = sum(phase.max_steps for phase in phases)
        with linear_precision(self.context.encoder, self.precision):
            for phase in phases:
                if resume is not None and phase.name != resume.phase:
                    continue
                self._phase(phase, resume)
                phase.end(self._keep(phase))
                resume = None
        self._final_scores(phases)

    def _keep(self, phase: Phase) -> int:
        """End a phase with its best step, if that was asked for, or its last; returns that step."""
        step = phase.max_steps
        if self.best.tensors:
            last, step = self.method.plan, self.best.step
            self.method.load_state(self.best.tensors, self.best.meta)
            plan = self.method.plan
            if plan is not None and plan != last:
                # Splits after the best step are undone: the table ends with what is exported.
                self.records["sharing"].extend(plan.rows("final", step))
            of = f" of {phase.name}" if phase.keep_best else ""
            self._note(f"kept step {step}{of} (average {100 * self.best.value:.1f} on the select rows)")
        self.best = Best()
        self.kept.update(dict.fromkeys(phase.tasks, step))
        return step

    def _phase(self, phase: Phase, resume: Checkpoint | None) -> None:
        streams = {
            task: TaskStream(
                task, self.parts[task].train, self.settings.per_device_train_batch_size, self.context.seed,
                self.context.data.pad_token,
            )
            for task in phase.tasks
        }  # fmt: skip
        start = 0
        if resume is not None:
            self.method.load_state(without_prefix("method", resume.tensors), resume.meta["method"])
        else:
            phase.begin()
        settings = self.settings
        if phase.learning_rate is not None:
            settings = replace(settings, learning_rate=phase.learning_rate)
        optimizer = Optimizer(phase.parameters(), settings, phase.max_steps, phase.apart(), phase.undecayed())
        if resume is not None:
            start = self._restore(resume, optimizer, streams)
        sizes = {task: len(self.parts[task].train) for task in phase.tasks}
        order = task_order(sizes, self.settings, phase.max_steps, derive_seed(self.context.seed, phase.name))
        for step in range(start + 1, phase.max_steps + 1):
            started = time.perf_counter()
            self._update(phase, step, next(streams[order[step - 1]]), optimizer)
            self.method.after_update(phase, step, optimizer)
            self.seconds["training"] += time.perf_counter() - started
            self._select_scores(phase, step)
            stop = self.hooks.stop()
            ends = step == phase.max_steps
            if stop or self.checkpoints.due(self.done, phase_ends=ends, run_ends=self.done == self.total):
                self._save(phase, step, optimizer, streams)
            if stop:
                raise Interrupted(f"Stopped after update {self.done} of {self.total}; the checkpoint is saved")

    def _update(self, phase: Phase, step: int, batch: Batch, optimizer: Optimizer) -> None:
        self.method.train_mode()
        torch.manual_seed(derive_seed(self.context.seed, "dropout", phase.name, step))
        loss = self.method.loss(batch)
        loss.backward()
        rate, value = optimizer.learning_rate, loss.item()
        norm = optimizer.gradient_norm()
        skipped = not (math.isfinite(value) and math.isfinite(norm))
        if skipped:
            self._skip(step, batch, f"The loss ({value}) or its gradient ({norm}) is not finite")
            optimizer.skip()
        else:
            optimizer.step(norm, phase.subnet(batch.task))
        self.records["steps"].append(
            {"phase": phase.name, "step": step, "task": batch.task, "rows": len(batch), "loss": value,
             "learning_rate": rate, "grad_norm": norm, "skipped": skipped}
        )  # fmt: skip
        self.hooks.progress(Progress("step", self.done, self.total, batch.task, value, len(batch)))

    @property
    def done(self) -> int:
        """Updates of all phases so far, skipped ones included."""
        return len(self.records["steps"])

    @property
    def skipped(self) -> int:
        """How many updates were skipped so far because they were not finite."""
        return sum(row["skipped"] for row in self.records["steps"])

    def _skip(self, step: int, batch: Batch, what: str) -> None:
        """Say that an update is skipped; raise RunError where no more may be."""
        rows = self.parts[batch.task].train.row[batch.indices].tolist()
        where = f"task {batch.task}, update {step}, train rows {rows}"
        if self.skipped < self.max_nonfinite:
            self._note(f"{what}, so nothing was changed: {where}")
            return
        many = f"; {self.skipped} updates were skipped before" if self.max_nonfinite else ""
        raise RunError(
            what + many,
            where=where,
            fix="Lower --learning-rate, look at these rows, or let such updates be skipped (--on-nonfinite skip, up to "
            "--max-nonfinite of them). The last checkpoint is kept.",
        )

    def _select_scores(self, phase: Phase, step: int) -> None:
        every, choose = self.settings.eval_steps, self.settings.load_best_model_at_end or phase.keep_best
        if every is None and choose:
            every = max(1, phase.max_steps // 10)
        last = step == phase.max_steps
        if not self.score_select or not (last or (every and step % every == 0)):
            return
        started = time.perf_counter()
        self.method.eval_mode()
        mains = []
        for task in (task for task in phase.tasks if task in self.judged):
            rows = self.parts[task].select
            scores = score(self.context.data.infos[task], self._predict(task, rows), rows)
            mains.append(next(iter(scores.values())))
            self._record(task, "select", phase.name, step, scores, rows.examples, final=False)
        # A metric that is undefined counts as 0 here, so that every step is judged by the same tasks.
        average = float(np.mean([value or 0.0 for value in mains]))
        if choose and average > self.best.value:
            tensors, meta = self.method.state()
            self.best = Best(step, average, {name: t.clone() for name, t in tensors.items()}, meta)
        self.seconds["scoring"] += time.perf_counter() - started

    def _final_scores(self, phases: list[Phase]) -> None:
        """Score select (if asked for) and every scored split with the exported weights, in fp32; keep predictions.

        Select rows are not run again where the phase that settled a task has scored these very weights, in fp32.
        """
        settled = {task: phase for phase in phases if phase.settled or phase is phases[-1] for task in phase.tasks}
        started = time.perf_counter()
        self.method.eval_mode()
        for task, parts in self.parts.items():
            if task not in self.judged:
                continue
            info = self.context.data.infos[task]
            known = self._select_scores_of(settled[task], task) if task in settled else {}
            if known:
                self._record(task, "select", "final", self.kept[task], known, parts.select.examples, final=True)
            again = {"select": parts.select} if self.score_select and not known else {}
            for split, rows in {**again, **parts.scored}.items():
                self.hooks.progress(Progress("score", task=task, text=split, rows=len(rows)))
                outputs = self._predict(task, rows, self._interruptible_logits)
                scores = score(info, outputs, rows)
                self._record(task, split, "final", self.kept[task], scores, rows.examples, final=True)
                if split != "select":
                    table = self.records.setdefault(KINDS[info.kind].predictions_table, [])
                    table.extend(prediction_rows(info, split, rows, outputs))
        self.seconds["scoring"] += time.perf_counter() - started

    def _select_scores_of(self, phase: Phase, task: str) -> dict[str, float | None]:
        """What `task` had on select rows at the step of the phase that was kept, if that was computed in fp32."""
        if self.precision != "fp32":
            return {}
        return {
            row["metric"]: row["value"]
            for row in self.records["metrics"]
            if row["split"] == "select" and row["task"] == task
            and row["phase"] == phase.name and row["step"] == self.kept[task]
        }  # fmt: skip

    def _interruptible_logits(self, batch: Batch) -> torch.Tensor:
        if self.hooks.stop():
            raise Interrupted("Stopped while scoring; all updates before it are kept")
        return self.method.logits(batch)

    def _predict(self, task: str, rows: Rows, logits: Callable[[Batch], torch.Tensor] | None = None) -> np.ndarray:
        size = self.settings.per_device_eval_batch_size
        info = self.context.data.infos[task]
        outputs = KINDS[info.kind].outputs(info)
        found = predict(logits or self.method.logits, task, rows, outputs, size, self.context.data.pad_token)
        if not np.isfinite(found).all():
            raise RunError(
                "The model's outputs are not finite",
                where=f"task {task}",
                fix="Lower --learning-rate. The last checkpoint is kept.",
            )
        return found

    def _record(
        self, task: str, split: str, phase: str, step: int, scores: dict[str, float | None], rows: int, final: bool
    ) -> None:
        for index, (metric, value) in enumerate(scores.items()):
            self.records["metrics"].append(
                {"task": task, "split": split, "phase": phase, "step": step, "metric": metric, "value": value,
                 "rows": rows, "main": index == 0, "final": final}
            )  # fmt: skip

    def _save(self, phase: Phase, step: int, optimizer: Optimizer, streams: dict[str, TaskStream]) -> None:
        save = self.hooks.save
        if save is None:
            return
        self.checkpoints.save(lambda: save(self._checkpoint(phase, step, optimizer, streams)))
        self.seconds["checkpoint"] += self.checkpoints.seconds

    def _checkpoint(self, phase: Phase, step: int, optimizer: Optimizer, streams: dict[str, TaskStream]) -> Checkpoint:
        tensors, method_meta = self.method.state()
        moments, optimizer_meta = optimizer.state(self.method.names())
        best = {"step": self.best.step, "value": self.best.value, "meta": self.best.meta} if self.best.tensors else None
        meta = {
            "method": method_meta,
            "optimizer": optimizer_meta,
            "streams": {task: stream.state() for task, stream in streams.items()},
            "best": best,
            "kept": self.kept,
            "seconds": self.seconds,
        }
        all_tensors = {
            **with_prefix("method", tensors),
            **with_prefix("optimizer", moments),
            **with_prefix("best", self.best.tensors),
        }
        return Checkpoint(phase.name, step, all_tensors, meta, self.records)

    def _restore(self, checkpoint: Checkpoint, optimizer: Optimizer, streams: dict[str, TaskStream]) -> int:
        moments = without_prefix("optimizer", checkpoint.tensors)
        optimizer.load_state(self.method.names(), moments, checkpoint.meta["optimizer"])
        for task, stream in streams.items():
            stream.load_state(checkpoint.meta["streams"][task])
        if checkpoint.meta["best"] is not None:
            best = checkpoint.meta["best"]
            self.best = Best(best["step"], best["value"], without_prefix("best", checkpoint.tensors), best["meta"])
        self.kept = dict(checkpoint.meta["kept"])
        self.seconds |= checkpoint.meta["seconds"]
        for name, rows in checkpoint.records.items():
            self.records[name][:] = rows
        if self.skipped > self.max_nonfinite:
            raise UserError(
                f"The run that goes on here has skipped {self.skipped} updates, of which {self.max_nonfinite} are "
                "allowed now",
                fix=f"Give --on-nonfinite skip --max-nonfinite {self.skipped} or more, or --force to train anew.",
            )
        return checkpoint.step

    def _note(self, text: str) -> None:
        self.hooks.progress(Progress("note", text=text))
