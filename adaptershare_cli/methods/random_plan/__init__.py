"""The baseline for AdapterShare's choices: the splits of an earlier run, with other tasks in them."""

from __future__ import annotations

from adaptershare_cli.methods.random_plan.settings import RandomPlanSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="random-plan",
        package=__name__,
        summary="split as the run --init-plan did, with tasks drawn at random",
        settings=RandomPlanSettings,
        code_version=2,
        needs_plan=True,
        start="adaptershare_cli.methods.planned.start",
        tables=("adaptershare_cli.methods.planned.tables:last_plan",),
    ),
)
