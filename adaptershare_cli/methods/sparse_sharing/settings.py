"""The settings of the method `sparse-sharing`."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.model.adapters import shape_options
from adaptershare_cli.settings import RuntimeSettings, TrainingSettings
from adaptershare_cli.settings.fields import flag, option

# The size of the original's search and training: 20 rounds to a tenth of the weights, 100 epochs each, batches of 10.
PUBLISHED_SEARCH: dict[str, Any] = {"rounds": 20, "final_rate": 0.1, "round_epochs": 100.0}
PUBLISHED_TRAINING: dict[str, Any] = {"num_train_epochs": 100.0, "per_device_train_batch_size": 10}


@dataclass(frozen=True)
class SparseSharingSettings(MethodSettings):
    """One network for all tasks; each task sees and trains a subnet of it, found by pruning it for that task alone."""

    takes_chosen_rows: ClassVar[bool] = False
    can_be_stage_one: ClassVar[bool] = False

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
        None,
        "Of --masks random and given: an earlier sparse-sharing run (name, key prefix, glob or path).",
        names="runs",
    )
    rounds: int = option(8, "Rounds of pruning; each follows a training of the task alone.", 1, 100,
                         needs=("masks", "pruned"))  # fmt: skip
    final_rate: float = option(
        0.1, "Share of the weights that is left after the last round.", 1e-4, 0.9999, needs=("masks", "pruned")
    )
    round_epochs: float | None = option(
        None, "Passes over a task's train rows before each round; by default a task's trainings alone have together as "
        "many updates as it has in joint training (the original: 100).", 0.001, needs=("masks", "pruned"),
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
    multitask_warmup_epochs: float | None = option(
        None, "Passes over all tasks' rows, everything shared, before the common start that every round goes back to; "
        "0 for none; by default one, or as many updates as joint training has if they are fewer.", 0,
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
        if self.search_share is not None and self.masks == "ones" and self.multitask_warmup_epochs == 0:
            raise UserError("--search-share has no effect: there is neither pruning nor a warm-up", fix="Leave it out.")

    @property
    def trainings(self) -> int:
        """How often each task is trained alone: before each round, and with the last mask, if that may be chosen."""
        if self.masks != "pruned":
            return 0
        return self.mask_round or self.rounds + 1

    def runtime(self, runtime: RuntimeSettings, training: TrainingSettings, chosen: Set[str]) -> RuntimeSettings:
        """An encoder that is trained itself is held in fp32, and has no adapters."""
        if self.prune != "encoder":
            return runtime
        for name in shape_options(training):
            if name in chosen:
                value = flag(name, getattr(training, name))
                raise UserError(f"{value} has no effect: there are no adapters", where="--prune encoder")
        if runtime.precision == "bf16":
            raise UserError(
                "--precision bf16 is for frozen weights, and --prune encoder trains them", fix="Leave one of them out."
            )
        return replace(runtime, precision="fp32")
