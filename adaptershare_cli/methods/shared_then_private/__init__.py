"""Shared, then private: a shared training that each task may go on from alone, if select rows say that it pays."""

from __future__ import annotations

from adaptershare_cli.methods.shared_then_private.settings import SharedThenPrivateSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="shared-then-private",
        package="adaptershare_cli.methods.assembled",
        summary="train all tasks together, let each go on alone, keep what is best for it on select rows",
        settings=SharedThenPrivateSettings,
        code_version=1,
        start=f"{__name__}.start",
        tables=(f"{__name__}.tables:choices",),
    ),
)
