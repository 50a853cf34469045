"""By type: tasks of one kind and one form of text share an adapter; nothing is tried, and nothing chosen."""

from __future__ import annotations

from adaptershare_cli.methods.by_type.settings import ByTypeSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="by-type",
        package="adaptershare_cli.methods.assembled",
        summary="tasks of one kind, single texts apart from pairs, share one adapter a layer",
        settings=ByTypeSettings,
        code_version=1,
        start=f"{__name__}.start",
        tables=("adaptershare_cli.methods.planned.tables:last_plan",),
    ),
)
