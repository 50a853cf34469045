"""The last sharing plan of an earlier run, with fresh weights."""

from __future__ import annotations

from adaptershare_cli.methods.given_plan.settings import GivenPlanSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="given-plan",
        package=__name__,
        summary="the last plan of the run --init-plan, fresh weights",
        settings=GivenPlanSettings,
        code_version=2,
        needs_plan=True,
        start="adaptershare_cli.methods.planned.start",
        tables=("adaptershare_cli.methods.planned.tables:last_plan",),
    ),
)
