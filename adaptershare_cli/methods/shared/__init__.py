"""Full sharing: one adapter a layer for all tasks."""

from __future__ import annotations

from adaptershare_cli.methods.shared.settings import SharedSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="shared",
        package=__name__,
        summary="one adapter a layer for all tasks",
        settings=SharedSettings,
        code_version=3,
        tables=("adaptershare_cli.methods.planned.tables:last_plan",),
    ),
)
