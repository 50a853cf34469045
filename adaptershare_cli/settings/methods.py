"""The settings of each method of joint training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings.fields import option


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
        "--mask-run; or everything (which without a warm-up is --method shared).",
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
