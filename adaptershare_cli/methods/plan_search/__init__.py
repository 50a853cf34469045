"""Plan search: which tasks share one adapter in all layers, by training groups of tasks and keeping the best ones."""

from __future__ import annotations

from adaptershare_cli.methods.plan_search.settings import PlanSearchSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="plan-search",
        package="adaptershare_cli.methods.assembled",
        summary="train groups of tasks, and keep those that together do best on select rows",
        settings=PlanSearchSettings,
        code_version=2,
        start=f"{__name__}.start",
        tables=(f"{__name__}.tables:rounds", f"{__name__}.tables:groups"),
    ),
)
