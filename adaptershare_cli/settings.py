"""Every setting that changes a result, as frozen dataclasses; the command line's options are made from the fields.

An option's name is its field's name with hyphens; names follow Hugging Face `TrainingArguments` where it has one.
A setting counts in an artefact's key only where it differs from its default, so a new field with a default does
not make old artefacts stale. No torch here: `--help` must answer at once.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal

from adaptershare_cli.errors import UserError

Precision = Literal["auto", "bf16", "fp32"]
MAX_NONFINITE = 10


def option(
    default: Any,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    needs: tuple[str, Any] | None = None,
) -> Any:
    """A field with the help text and the bounds (both included) of its command-line option.

    It `needs` another field to have a certain value: without it, it would have no effect.
    """
    return field(default=default, metadata={"help": help, "min": minimum, "max": maximum, "needs": needs})


def flag(name: str, value: Any = None) -> str:
    """A field as it is written on the command line, with a value if it is given one."""
    written = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{written}" if value else f"--no-{written}"
    return f"--{written}" if value is None else f"--{written} {value}"


def check_settings(settings: Any) -> None:
    """Raise UserError where a value lies outside its field's bounds, or would have no effect beside the others."""
    by_name = {item.name: item for item in fields(settings)}
    for item in by_name.values():
        value = getattr(settings, item.name)
        check_value(item, value)
        needs = item.metadata.get("needs") if value != item.default else None
        while needs is not None:  # what is needed may need something itself
            name, needed = needs
            if getattr(settings, name) != needed:
                raise UserError(f"{flag(item.name)} belongs to {flag(name, needed)}", fix="Leave one of them out.")
            needs = by_name[name].metadata.get("needs")


def check_value(item: Field, value: Any) -> None:
    """Raise UserError where a value lies outside its field's bounds."""
    low, high = item.metadata.get("min"), item.metadata.get("max")
    if value is None or isinstance(value, bool | str):
        return
    too_low, too_high = low is not None and value < low, high is not None and value > high
    if not math.isfinite(value) or too_low or too_high:
        bounds = f"a finite number, at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise UserError(f"{flag(item.name)} must be {bounds}", where=f"got {value}")


def non_default(settings: Any) -> dict[str, Any]:
    """The settings that differ from their defaults, for an artefact's key."""
    return {f.name: getattr(settings, f.name) for f in fields(settings) if getattr(settings, f.name) != f.default}


@dataclass(frozen=True)
class DownloadSettings:
    """How strictly a source is read."""

    max_rejected: int = option(0, "Let up to this many malformed rows of a task go to rejected.parquet.", 0)


@dataclass(frozen=True)
class PreproSettings:
    """How rows become token ids and parts."""

    max_seq_length: int = option(128, "Longest input in tokens; longer ones are truncated and counted.", 8, 8192)
    heldout_size: int = option(64, "Rows cut from train for the gradients of checks (at most a fifth of train).", 2)
    select_size: int = option(128, "Rows cut from train for every choice (at most a fifth of train).", 1)
    max_train_examples: int | None = option(None, "Keep at most this many train rows a task.", 1)
    max_eval_examples: int | None = option(None, "Keep at most this many rows of each scored split.", 1)


@dataclass(frozen=True)
class TrainingSettings:
    """What all methods share."""

    optim: Literal["adamw_torch", "adamax"] = option("adamw_torch", "The optimizer: AdamW, or Adamax.")
    learning_rate: float = option(1e-3, "Peak learning rate; hyperformer and hyperformer++ take 1e-4.", 0, 1e30)
    num_train_epochs: float = option(3.0, "Passes over the train rows, unless --max-steps is given.", 0.001)
    max_steps: int | None = option(None, "Number of updates (over all tasks).", 1)
    per_device_train_batch_size: int = option(32, "Rows of a training batch (one task a batch).", 1)
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
    adapter_config: Literal["seq_bn", "double_seq_bn", "par_bn"] = option(
        "seq_bn", "The library's bottleneck: after feed-forward, after both blocks, or parallel."
    )
    reduction_factor: int = option(16, "Hidden size divided by the bottleneck's width.", 1)
    pooling: Literal["mean", "cls"] = option("mean", "How token states become one vector for the head.")
    head_dropout: float = option(0.1, "Dropout before each head.", 0, 0.9)
    encoder_dropout: bool = option(False, "Let the frozen encoder use its dropout while training.")
    eval_steps: int | None = option(None, "Score the select rows every so many updates.", 1)
    load_best_model_at_end: bool = option(
        False, "Keep the step with the best average on the select rows, not the last one."
    )
    leak_scope: Literal["run", "task"] = option(
        "run", "Drop train rows that stand in a scored split of any task of the run, or only of their own task."
    )


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how exactly a run computes; resolved values count in the key, never `auto`."""

    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where to compute.")
    precision: Precision = option("auto", "Of the frozen weights in training; scores and exports are fp32.")
    threads: int | None = option(None, "CPU threads (all cores of this process if not given).", 1)
    checkpoint_steps: int | None = option(
        None, "Save a checkpoint every so many updates; by default by time, at less than 1 % of it.", 1
    )
    inexact: bool = option(
        False, "Go on from a checkpoint of other library versions or another processor, and not bit for bit."
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
        None, "Start from an adapter of this earlier run (name, key prefix, glob or path), not from random weights."
    )
    init: str | None = option(
        None,
        "The task of --from-run whose adapter it is (for a group, any of its tasks); not needed if it has one task, "
        "nor of a HyperFormer run, whose generators then write one from a new task embedding.",
    )
    init_head: bool = option(False, "Start from that task's head too; the two tasks' labels must be the same.")


@dataclass(frozen=True)
class MethodSettings:
    """The settings of a method."""


@dataclass(frozen=True)
class ObserveSettings(MethodSettings):
    """What methods of joint training know. The checks: gradients of every task on held-out rows; all observe them."""

    observe: bool = option(True, "Take every task's gradients at checks (their history is the learnt correlation).")
    check_every: int | None = option(
        None, "Updates between checks; by default so many that checks take about 5 % of the training time.", 1,
        needs=("observe", True),
    )  # fmt: skip
    first_check: int | None = option(
        None, "Update of the first check; by default the end of the warm-up.", 1, needs=("observe", True)
    )
    row_gradients: Literal["unit", "raw"] = option(
        "unit", "Scale each held-out row's gradient to length 1, so that no few rows decide, or take it as it is.",
        needs=("observe", True),
    )  # fmt: skip
    shuffle_heldout_labels: bool = option(
        False, "Control: shuffle each task's held-out labels among its rows, so that only inputs relate.",
        needs=("observe", True),
    )  # fmt: skip
    loss_weighting: Literal["equal", "uncertainty"] = option(
        "equal", "Weigh the tasks' losses equally, or by a learnt uncertainty each: exp(-v) loss + v."
    )


@dataclass(frozen=True)
class PrivateSettings(ObserveSettings):
    """Each task has its own adapters, trained in the joint schedule."""


@dataclass(frozen=True)
class LookaheadSettings(ObserveSettings):
    """Methods under which a step on one task can change another task's loss."""

    lookahead_every: int | None = option(
        None,
        "Every so many updates try a step on each task and take every task's held-out loss after it (for the measure "
        "lookahead); costs (tasks + 2) passes over the held-out rows.",
        1,
    )


@dataclass(frozen=True)
class SharedSettings(LookaheadSettings):
    """All tasks share one adapter a layer."""


@dataclass(frozen=True)
class PlanSettings(LookaheadSettings):
    """Methods that need, or may start from, the sharing plan of an earlier run."""

    init_plan: str | None = option(
        None, "An earlier run (name, key prefix, glob or path) whose sharing plan is taken; weights are fresh."
    )


@dataclass(frozen=True)
class GivenPlanSettings(PlanSettings):
    """Train under the last plan of an earlier run."""


@dataclass(frozen=True)
class RandomPlanSettings(PlanSettings):
    """Split as an earlier run did, at the same steps, but with the tasks of each layer drawn at random."""


@dataclass(frozen=True)
class AdapterShareSettings(PlanSettings):
    """Start shared (or from --init-plan); split a group where two tasks' held-out gradients conflict."""

    rule: Literal["threshold", "significance"] = option(
        "threshold",
        "Split by a fixed threshold at each check, or where the held-out rows show a conflict beyond their noise.",
    )
    max_interference: float = option(0.0, "Split where -cosine of two tasks' gradients exceeds this.", -1, 1)
    significance_level: float = option(
        0.05, "Of --rule significance: expected share of false conflicts among all that are found.", 1e-9, 0.999,
        needs=("rule", "significance"),
    )  # fmt: skip
    guard: Literal["agreement", "entropy", "none"] = option(
        "agreement",
        "Of --rule threshold: hold a split back unless in each task of the group both held-out halves, or nearly all "
        "rows, agree.",
        needs=("rule", "threshold"),
    )
    min_intra_similarity: float = option(
        2.0, "Of --guard agreement: the halves' cosine must be at least cos(pi / this); -1 asks for nothing.", -1,
        needs=("guard", "agreement"),
    )  # fmt: skip
    entropy_angle: float = option(
        3.0, "Of --guard entropy: a row agrees if its cosine with its task's mean exceeds cos(pi / this).", 1,
        needs=("guard", "entropy"),
    )  # fmt: skip
    entropy_share: float = option(
        0.8, "Of --guard entropy: the share of each task's rows that must agree.", 0.5, 1, needs=("guard", "entropy")
    )
    max_growth: float | None = option(
        None, "Groups over all layers divided by layers may grow up to this (by default the number of tasks).", 1
    )
    target_parameters: int | None = option(None, "Trained parameters, heads included, may grow up to this.", 1)
    fuse: bool = option(
        False, "In a layer that has split, let each task attend (AdapterFusion) over the adapters of all its groups."
    )

    def __post_init__(self) -> None:
        if -1 < self.min_intra_similarity < 1:
            raise UserError(
                "--min-intra-similarity must be -1, or at least 1",
                where=f"got {self.min_intra_similarity:g}",
                fix="2 asks for a cosine of at least 0, 3 for at least 0.5.",
            )
        if not self.observe:
            raise UserError(
                "--method adaptershare splits by what it observes, so --no-observe leaves nothing of it",
                fix="Use --method shared.",
            )


@dataclass(frozen=True)
class HyperFormerSettings(ObserveSettings):
    """Each task's adapters are written by a generator a site, from the task's embedding."""

    task_embedding_dim: int = option(64, "Values of a task's embedding (and of a layer's and a position's).", 1)
    train_layer_norms: bool = option(
        False, "Train the encoder's own layer norms too, for all tasks together; they are then exported."
    )


@dataclass(frozen=True)
class HyperFormerPlusPlusSettings(HyperFormerSettings):
    """Each task's adapters are written by one generator, from embeddings of the task, the layer and the position."""

    task_hidden_dim: int = option(128, "Hidden values of the network that joins the three embeddings.", 1)
    projected_task_embedding_dim: int = option(64, "Output values of that network: what the generator reads.", 1)


@dataclass(frozen=True)
class AdapterFusionSettings(MethodSettings):
    """Train adapters first, then let each task learn to attend over all of them.

    Stage two's learning rate and the penalty are the paper's; stage one is trained with the common options.
    """

    fusion_over: str | None = option(
        None,
        "The adapters to attend over: those of train-single (not given), of a method of joint training (for example "
        "private), both made when missing, or of an earlier train-share run (name, key prefix, glob or path).",
    )
    adapters: str | None = option(
        None, "Attend over the adapters in the sub-folders of this folder (AdapterHub layout, safetensors)."
    )
    fusion_head: Literal["fresh", "copied"] = option(
        "fresh", "Stage two starts with fresh heads, or with those that were trained with the adapters."
    )
    fusion_learning_rate: float = option(5e-5, "Stage two's peak learning rate (--learning-rate is stage one's).", 0)
    fusion_regularization: float = option(0.01, "Weight of the sum over sites of |V - I|^2 in stage two's loss.", 0)
    stage_one_share: float | None = option(
        None, "Stage one's updates, as a share of the run's updates on each task (by default half).", 0.001, 1
    )
    stage_two_share: float | None = option(
        None, "Stage two's updates, likewise (by default what stage one leaves; all where the adapters are given).",
        0.001, 1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.adapters is not None and self.fusion_over is not None:
            raise UserError("--adapters and --fusion-over name two sets of adapters", fix="Give one of them.")


@dataclass(frozen=True)
class SparseSharingSettings(MethodSettings):
    """One network for all tasks; each task sees and trains a subnet of it, found by pruning it for that task alone."""

    prune: Literal["adapters", "encoder"] = option(
        "adapters",
        "What is shared and pruned: the matrices of one adapter stack, or the attention and feed-forward matrices of "
        "the encoder itself (they are then trained).",
    )
    masks: Literal["pruned", "random", "given", "ones"] = option(
        "pruned",
        "Each task's mask: pruned for it; drawn at random with the rates of --mask-run in every tensor; those of "
        "--mask-run; or everything (which is --method shared).",
    )
    mask_run: str | None = option(
        None, "Of --masks random and given: an earlier sparse-sharing run (name, key prefix, glob or path)."
    )
    rounds: int = option(8, "Rounds of pruning; each follows a training of the task alone.", 1, 100,
                         needs=("masks", "pruned"))  # fmt: skip
    final_rate: float = option(
        0.1, "Share of the weights that is left after the last round.", 1e-4, 0.9999, needs=("masks", "pruned")
    )
    round_epochs: float | None = option(
        None, "Passes over a task's train rows before each round; by default as many updates as joint training has.",
        0.001, needs=("masks", "pruned"),
    )  # fmt: skip
    pruning_scope: Literal["global", "per-tensor"] = option(
        "global", "Drop the smallest weights of all tensors together, or the same share of each tensor.",
        needs=("masks", "pruned"),
    )  # fmt: skip
    mask_unit: Literal["weight", "neuron"] = option(
        "weight", "Prune single weights, or (a variant) whole units of the adapters' bottlenecks.",
        needs=("masks", "pruned"),
    )  # fmt: skip
    mask_round: int | None = option(
        None, "Take every task's mask after this round; by default the round with the best select score (of equal "
        "ones the sparser).", 1, needs=("masks", "pruned"),
    )  # fmt: skip
    multitask_warmup_epochs: float = option(
        1.0, "Passes over all tasks' rows, everything shared, before the common start that every round goes back to; "
        "0 for none.", 0,
    )  # fmt: skip
    search_share: float | None = option(
        None, "Let warm-up and rounds take this share of the run's updates on each task, in proportion; by default "
        "they come on top, and count as examples.", 0.001, 0.999,
    )  # fmt: skip
    updates: Literal["strict", "leaky"] = option(
        "strict",
        "A batch leaves weights outside of its task's subnet and their moments as they are, or (the original) lets "
        "momentum and decay move them.",
    )

    def __post_init__(self) -> None:
        if (self.masks in ("random", "given")) != (self.mask_run is not None):
            raise UserError("--masks random and --masks given take the masks of --mask-run", fix="Give both or none.")
        if self.mask_round is not None and self.mask_round > self.rounds:
            raise UserError(f"--mask-round {self.mask_round} is later than the last of --rounds {self.rounds}")
        if self.mask_unit == "neuron" and self.prune == "encoder":
            raise UserError("--mask-unit neuron belongs to --prune adapters", fix="Leave one of them out.")
        if self.search_share is not None and self.masks == "ones" and not self.multitask_warmup_epochs:
            raise UserError("--search-share has no effect: there is neither pruning nor a warm-up", fix="Leave it out.")

    @property
    def trainings(self) -> int:
        """How often each task is trained alone: before each round, and with the last mask, if that may be chosen."""
        if self.masks != "pruned":
            return 0
        return self.mask_round or self.rounds + 1


STAGE_ONE = ("learning_rate", "stage_one_share")  # options of `adapterfusion` that given adapters leave without effect


def fusion_preset(tasks: int) -> dict[str, Any]:
    """AdapterFusion's published settings, by option: 30 epochs for the adapters, at most 10 for the fusion.

    The best step on the select rows stands for its early stopping; batches of 32 are the library's documentation's.
    """
    return {
        "learning_rate": 1e-4, "fusion_learning_rate": 5e-5, "num_train_epochs": 30.0, "stage_one_share": 1.0,
        "stage_two_share": 1 / 3, "lr_scheduler_type": "linear", "warmup_ratio": 0.0, "optim": "adamw_torch",
        "weight_decay": 0.0, "per_device_train_batch_size": 32, "reduction_factor": 16, "adapter_config": "seq_bn",
        "encoder_dropout": True, "load_best_model_at_end": True,
    }  # fmt: skip


def paper_preset(tasks: int) -> dict[str, Any]:
    """The original's published settings for `tasks` tasks (specs section 4), by option.

    Its batches of 8 with two accumulated are batches of 16 here; its check at update 0 comes after update 1; its
    held-out rows stood in the scored split, ours are cut from train.
    """
    return {
        "rule": "threshold", "row_gradients": "raw", "check_every": 5 * tasks, "first_check": 1, "heldout_size": 20,
        "max_interference": 0.0,
        "guard": "agreement", "min_intra_similarity": 2.0, "max_growth": float(tasks), "optim": "adamax",
        "learning_rate": 5e-5, "warmup_ratio": 0.1, "lr_scheduler_type": "linear", "max_grad_norm": 1.0,
        "weight_decay": 0.0, "per_device_train_batch_size": 16, "num_train_epochs": 10.0,
    }  # fmt: skip


def hyperformer_preset(tasks: int) -> dict[str, Any]:
    """HyperFormer's published settings, by option; adapters with reduction 32 after attention and feed-forward.

    Its four batches of 32 are one of 128 here; its label smoothing, and drawing rows with replacement, are not there.
    The schedule is its code's (500 updates of warm-up, then linear), where the paper says constant.
    """
    return {
        "train_layer_norms": True, "adapter_config": "double_seq_bn", "reduction_factor": 32, "max_seq_length": 128,
        "optim": "adamw_torch", "learning_rate": 3e-4, "lr_scheduler_type": "linear", "warmup_ratio": 500 / 65536,
        "max_steps": 65536, "per_device_train_batch_size": 128, "max_grad_norm": 1.0, "weight_decay": 0.0,
        "task_sampling": "temperature", "sampling_temperature": 10.0, "load_best_model_at_end": True,
    }  # fmt: skip


PRESETS = {"paper": paper_preset, "hyperformer-paper": hyperformer_preset, "adapterfusion-paper": fusion_preset}


def preset_values(preset: str, tasks: int, given: dict[str, Any], methods: Container[str]) -> dict[str, Any]:
    """The options that were given, and those of a preset for `tasks` tasks that have an effect beside them.

    `methods` are the names of all methods: --fusion-over something else means adapters that are there already.
    """
    values = PRESETS[preset](tasks)
    if "adapters" in given or ("fusion_over" in given and given["fusion_over"] not in methods):
        values = {name: value for name, value in values.items() if name not in STAGE_ONE}
    if "max_steps" in given:
        values.pop("num_train_epochs", None)
    if given.get("observe") is False:
        values = {k: v for k, v in values.items() if k not in {item.name for item in fields(ObserveSettings)}}
    return values | given


@dataclass(frozen=True)
class MeasureSettings:
    """A measure of how tasks relate. Measures of data alone have no further options."""


def _samples() -> Any:
    return option(1000, "Of measures that pass over train rows: at most so many a task, drawn at random.", 1)


@dataclass(frozen=True)
class SeededMeasureSettings(MeasureSettings):
    """Measures whose values differ from seed to seed."""

    permutations: int = option(1000, "Draws of the permutation null (over checks, or over seeds).", 1)


@dataclass(frozen=True)
class GradientSettings(SeededMeasureSettings):
    """Measures of the gradients that a run observed at its checks."""

    rows: Literal["all", "shared"] = option(
        "all", "Of gradient and gradient-directed: every check, or only those at which the two shared the adapter."
    )


@dataclass(frozen=True)
class TunedSettings(SeededMeasureSettings):
    """Measures that need trainings of their own, each task alone first."""

    target_steps: int | None = option(
        None,
        "Updates on each task in the trainings that a measure or --select makes; by default the run's updates divided "
        "by its tasks.",
        1,
    )


@dataclass(frozen=True)
class GradTSSettings(TunedSettings):
    """GradTS: Kendall's tau between matrices of head importance."""

    samples: int = _samples()
    importance: Literal["weight-grad", "head-gate"] = option(
        "weight-grad",
        "Of gradts: a head's importance from the gradients of its key and value weights (the paper), or of a gate on "
        "its output (cheaper).",
    )
    head_axis: Literal["output", "input"] = option(
        "output",
        "Of gradts with weight-grad: a head is its rows of the weights, or, as in the released code, columns.",
    )

    def __post_init__(self) -> None:
        if self.importance == "head-gate" and self.head_axis != "output":
            raise UserError("--head-axis belongs to --importance weight-grad", fix="Leave it out.")


@dataclass(frozen=True)
class AdapterWeightsSettings(TunedSettings):
    """Cosine of single-task adapters."""

    adapter_origin: Literal["start", "zero"] = option(
        "start", "Of adapter-weights: compare what training changed, or the weights as they are."
    )


@dataclass(frozen=True)
class FisherSettings(TunedSettings):
    """Similarity of diagonal Fisher embeddings."""

    samples: int = _samples()
    fisher_similarity: Literal["task2vec", "cosine"] = option(
        "task2vec", "Of fisher: cosine after dividing both by their sum (Task2Vec), or plain cosine (TaskEmb)."
    )


@dataclass(frozen=True)
class TextSettings(MeasureSettings):
    """Cosine of mean embeddings."""

    samples: int = _samples()


@dataclass(frozen=True)
class TransferSettings(TunedSettings):
    """Measured transfer: trained on the source, then on the target, against the target alone."""

    source_steps: int | None = option(
        None, "Of transfer: updates on the source before the target; by default as many as on the target.", 1
    )


@dataclass(frozen=True)
class PopularitySettings(TransferSettings):
    """How well a source does for all other targets."""

    against: Literal["transfer", "pair"] = option("transfer", "The measured truth that popularity is taken from.")

    def __post_init__(self) -> None:
        if self.against == "pair" and self.source_steps is not None:
            raise UserError("--source-steps belongs to --against transfer", fix="Leave it out.")


@dataclass(frozen=True)
class SelectionSettings:
    """Which tasks to train along with a target, by one measure: the procedures of GradTS, and baselines."""

    select: Literal["trial", "threshold", "fg"] | None = option(
        None,
        "Select which tasks to train along with --target, by the one --measure. trial: train on growing sets, the best "
        "source first, until the target's score on select rows falls; threshold: all with at least --threshold; fg: of "
        "the tasks that one of these selects, the rows that go well with the target by gradts-instance. What it will "
        "cost is said first.",
    )
    target: str | None = option(None, "Of --select: the task to select for, or several, comma-separated.")
    threshold: float | None = option(
        None, "Of --select threshold: a source's least value. With fg it takes the place of the trial.", -1e30, 1e30
    )
    stop_rule: Literal["strict", "paper-code"] = option(
        "strict",
        "Of trials: stop when the best score falls below the best one before, the target alone included; or as "
        "GradTS's released code does.",
    )
    row_threshold: float | None = option(None, "Of --select fg: keep the rows with at least this tau.", -1, 1)
    row_share: float | None = option(
        None,
        "Of --select fg: keep this share of each task's rows, the highest taus (0.5 if neither is given).",
        1e-9,
        1,
    )
    baselines: bool = option(
        True, "Of --select: also train the target alone, with all tasks, and with as many as were selected at random."
    )
    random_sets: int = option(1, "Of --baselines: how many random sets.", 1, needs=("baselines", True))

    def __post_init__(self) -> None:
        given = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        if self.select is None:
            if given:
                written = flag(given[0], False) if given[0] == "baselines" else flag(given[0])
                raise UserError(f"{written} belongs to --select", fix="Give --select too, or leave it out.")
            return
        if not self.targets:
            raise UserError("--select needs --target", fix="Name the task to select for, a task of the run.")
        if self.select == "threshold" and self.threshold is None:
            raise UserError("--select threshold needs --threshold", fix="Give the least value of a source.")
        if self.row_threshold is not None and self.row_share is not None:
            raise UserError("--row-threshold and --row-share exclude each other", fix="Give one of them.")
        useless = [
            *(["threshold"] if self.select == "trial" else []),
            *(["stop_rule"] if not self.by_trial else []),
            *(["row_threshold", "row_share"] if self.select != "fg" else []),
        ]
        for name in useless:
            if name in given:
                raise UserError(f"{flag(name)} has no effect on --select {self.select} here", fix="Leave it out.")

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, each once."""
        return tuple(dict.fromkeys(part.strip() for part in (self.target or "").split(",") if part.strip()))

    @property
    def by_trial(self) -> bool:
        """Whether the auxiliaries are found by a trial."""
        return self.select == "trial" or (self.select == "fg" and self.threshold is None)

    @property
    def trains(self) -> bool:
        """Whether sets of tasks are trained."""
        return self.by_trial or (self.select is not None and self.baselines)


def joint_settings(classes: list[type]) -> dict[str, Any]:
    """Every field that any of the given settings classes has, by name; the first class that has it defines it."""
    found: dict[str, Any] = {}
    for cls in classes:
        for item in fields(cls):
            found.setdefault(item.name, item)
    return found
