"""The settings of the method `adaptershare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.planned.settings import PlanSettings
from adaptershare_cli.settings.fields import option


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
