"""The settings of the method `given-plan`."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.methods.planned.settings import PlanSettings


@dataclass(frozen=True)
class GivenPlanSettings(PlanSettings):
    """Train under the last plan of an earlier run."""
