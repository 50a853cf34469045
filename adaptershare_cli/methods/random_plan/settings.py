"""The settings of the method `random-plan`."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.methods.planned.settings import PlanSettings


@dataclass(frozen=True)
class RandomPlanSettings(PlanSettings):
    """Split as an earlier run did, at the same steps, but with the tasks of each layer drawn at random."""
