"""Recon (ICLR 2023): the layers whose gradients conflict most become each task's own, the others are shared."""

from __future__ import annotations

from adaptershare_cli.methods.recon.settings import ReconSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="recon",
        package=__name__,
        summary="share all, then begin anew with the layers private whose gradients conflicted most",
        settings=ReconSettings,
        code_version=1,
        start=f"{__name__}.start",
        tables=(f"{__name__}.tables:conflicts", "adaptershare_cli.methods.planned.tables:last_plan"),
    ),
)
