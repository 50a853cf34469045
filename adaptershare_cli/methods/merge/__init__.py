"""Merged adapters: each task is trained alone, then adapters are merged in groups without any training."""

from __future__ import annotations

from adaptershare_cli.methods.merge.settings import MergeSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="merge",
        package="adaptershare_cli.methods.assembled",
        summary="train each task alone, then merge adapters in groups by forward passes over select rows",
        settings=MergeSettings,
        code_version=1,
        start=f"{__name__}.start",
        tables=(f"{__name__}.tables:merges",),
    ),
)
