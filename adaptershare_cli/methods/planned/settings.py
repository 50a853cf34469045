"""What methods that train under a sharing plan have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.settings.fields import option


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

    @property
    def looks_at_heldout(self) -> bool:
        """At checks."""
        return self.observe

    def check_updates(self, updates: int) -> None:
        """Raise UserError where the first check would come after the last update."""
        if self.first_check is not None and self.first_check > updates:
            raise UserError(
                f"--first-check {self.first_check} comes after the last update, so nothing would be checked",
                where=f"the run has {updates} updates",
                fix="Give an earlier one, or more updates.",
            )


@dataclass(frozen=True)
class LookaheadSettings(ObserveSettings):
    """Methods under which a step on one task can change another task's loss."""

    lookahead_every: int | None = option(
        None,
        "Every so many updates try a step on each task and take every task's held-out loss after it (for the measure "
        "lookahead); costs (tasks + 2) passes over the held-out rows.",
        1,
    )

    @property
    def looks_at_heldout(self) -> bool:
        """At checks, and when it looks ahead."""
        return self.observe or self.lookahead_every is not None


@dataclass(frozen=True)
class PlanSettings(LookaheadSettings):
    """Methods that need, or may start from, the sharing plan of an earlier run."""

    init_plan: str | None = option(
        None,
        "An earlier run (name, key prefix, glob or path) whose sharing plan is taken; weights are fresh.",
        names="runs",
        basic=True,
    )
