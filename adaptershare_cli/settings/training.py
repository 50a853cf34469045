"""The settings that all trainings have, and those of the stages before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from adaptershare_cli.settings.fields import option

Precision = Literal["auto", "bf16", "fp32"]
MAX_NONFINITE = 10


@dataclass(frozen=True)
class DownloadSettings:
    """How strictly a source is read."""

    max_rejected: int = option(0, "Let up to this many malformed rows of a task go to rejected.parquet.", 0, basic=True)


LeakScope = Literal["run", "task", "none"]


def _leak_scope() -> Any:
    return option(
        "run",
        "Drop train rows that stand in a scored split of any task of the run, only of their own task, or of none: "
        "texts that repeat by nature are kept.",
    )


@dataclass(frozen=True)
class PreproSettings:
    """How rows become token ids and parts."""

    max_seq_length: int = option(
        128, "Longest input in tokens; longer ones are truncated and counted.", 8, 8192, basic=True
    )
    heldout_size: int = option(64, "Rows cut from train for the gradients of checks (at most a fifth of train).", 2)
    select_size: int = option(128, "Rows cut from train for every choice (at most a fifth of train).", 1)
    max_train_examples: int | None = option(None, "Keep at most this many train rows a task.", 1, basic=True)
    max_eval_examples: int | None = option(None, "Keep at most this many rows of each scored split.", 1)
    leak_scope: LeakScope = _leak_scope()


@dataclass(frozen=True)
class TrainingSettings:
    """What all methods share."""

    optim: Literal["adamw_torch", "adamax"] = option("adamw_torch", "The optimizer: AdamW, or Adamax.")
    learning_rate: float = option(
        1e-3, "Peak learning rate; some methods have another default (see --method).", 0, 1e30, basic=True
    )
    num_train_epochs: float = option(3.0, "Passes over the train rows, unless --max-steps is given.", 0.001, basic=True)
    max_steps: int | None = option(None, "Number of updates (over all tasks).", 1, basic=True)
    per_device_train_batch_size: int = option(32, "Rows of a training batch (one task a batch).", 1, basic=True)
    per_device_eval_batch_size: int = option(64, "Rows of a scoring batch.", 1)
    warmup_ratio: float = option(0.1, "Share of the updates with a rising learning rate.", 0, 1)
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = option(
        "linear", "How the learning rate falls after the warm-up."
    )
    weight_decay: float = option(0.0, "Weight decay (decoupled with AdamW).", 0)
    max_grad_norm: float = option(1.0, "Clip the gradient's norm to this; 0 turns clipping off.", 0)
    task_sampling: Literal["proportional", "uniform", "temperature"] = option(
        "proportional", "How often each task is drawn: by its rows, equally, or by rows^(1/temperature)."
    )
    sampling_temperature: float = option(
        2.0, "The temperature of --task-sampling temperature.", 1, needs=("task_sampling", "temperature")
    )
    # Which kinds there are, and the options that only some of them have, is said in `model.adapters`.
    adapter_config: str = option("seq_bn", "The kind of adapter.")
    reduction_factor: int = option(16, "Hidden size divided by the bottleneck's width.", 1)
    class_weights: Literal["none", "balanced"] = option(
        "none",
        "Let every label count the same in the loss: one of n rows of n_c rows with it counts n / (labels * n_c).",
    )
    pooling: Literal["mean", "cls"] = option("mean", "How token states become one vector for the head.")
    head_dropout: float = option(0.1, "Dropout before each head.", 0, 0.9)
    encoder_dropout: bool = option(False, "Let the frozen encoder use its dropout while training.")
    eval_steps: int | None = option(None, "Score the select rows every so many updates.", 1)
    load_best_model_at_end: bool = option(
        False, "Keep the step with the best average on the select rows, not the last one."
    )
    leak_scope: LeakScope = _leak_scope()


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how exactly a run computes. What `auto` means is said in `runs.standing`; a key has no `auto`."""

    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where to compute.", basic=True)
    precision: Precision = option("auto", "Of the frozen weights in training; scores and exports are fp32.")
    threads: int | None = option(
        None, "CPU threads of a training (if not given: all cores of this process, shared by the --jobs).", 1
    )
    jobs: int = option(
        1, "Trainings that run at once, each in a process of its own; they share the threads (see --threads).", 1,
        basic=True,
    )  # fmt: skip
    checkpoint_steps: int | None = option(
        None, "Save a checkpoint every so many updates; by default by time, at less than 1 % of it.", 1
    )
    inexact: bool = option(
        False,
        "Go on, not bit for bit, from a checkpoint of other library versions, another processor, or another number of "
        "threads or precision than is chosen here.",
    )
    on_nonfinite: Literal["stop", "skip"] = option(
        "stop", "When a loss or gradient is not finite: stop the run, or skip that update."
    )
    max_nonfinite: int | None = option(
        None, "Of --on-nonfinite skip: stop after so many skipped updates (by default 10).", 1,
        needs=("on_nonfinite", "skip"),
    )  # fmt: skip

    @property
    def skippable(self) -> int:
        """How many updates that are not finite a run may skip."""
        return 0 if self.on_nonfinite == "stop" else self.max_nonfinite or MAX_NONFINITE


@dataclass(frozen=True)
class StartSettings:
    """Where a single task's adapter starts."""

    from_run: str | None = option(
        None,
        "Start from an adapter of this earlier run (name, key prefix, glob or path), not from random weights.",
        names="runs",
        basic=True,
    )
    init: str | None = option(
        None,
        "The task of --from-run whose adapter it is (for a group, any of its tasks); not needed if it has one task, "
        "nor of a HyperFormer run, whose generators then write one from a new task embedding.",
        basic=True,
    )
    init_head: bool = option(False, "Start from that task's head too; the two tasks' labels must be the same.")
