"""Private adapters: each task has its own, in the joint schedule."""

from __future__ import annotations

from adaptershare_cli.methods.private.settings import PrivateSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="private",
        package=__name__,
        summary="own adapters for each task, joint schedule",
        settings=PrivateSettings,
        code_version=3,
        tables=("adaptershare_cli.methods.planned.tables:last_plan",),
    ),
)
