"""The plans that a run trained under, and the one reader of the table that records them (`schemas.SHARING`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from adaptershare_cli.sharing.plan import SharingPlan

FINAL = "final"  # the phase of the plan that a run went back to, where it kept an earlier step at its end


@dataclass(frozen=True)
class PlanHistory:
    """Each plan with the update from which it held; the first one holds from 0."""

    plans: tuple[tuple[int, SharingPlan], ...]

    @property
    def last(self) -> SharingPlan:
        """The plan at the end."""
        return self.plans[-1][1]

    @property
    def last_change(self) -> int:
        """The update after which the last plan holds."""
        return self.plans[-1][0]


def read_history(sharing: pd.DataFrame, tasks: Sequence[str]) -> PlanHistory:
    """The plans of one run, their tasks in the order of `tasks`.

    Where the run kept an earlier step at its end, its history ends there.
    """
    final = sharing[sharing["phase"] == FINAL]
    if len(final):
        sharing = sharing[(sharing["phase"] != FINAL) & (sharing["step"] <= final["step"].max())]
    plans = []
    for step, rows in sharing.groupby("step"):
        groups = rows.groupby(["layer", "group"])["task"].agg(tuple)
        layers = tuple(tuple(groups[layer]) for layer in sorted(rows["layer"].unique()))
        plans.append((int(step), SharingPlan(tuple(tasks), layers)))
    return PlanHistory(tuple(plans))
