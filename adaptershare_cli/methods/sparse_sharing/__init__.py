"""Sparse Sharing (AAAI 2020): pruning finds a subnet of one network for each task; the subnets train together."""

from __future__ import annotations

from adaptershare_cli.methods.sparse_sharing.settings import SparseSharingSettings
from adaptershare_cli.methods.spec import MethodSpec

SPECS = (
    MethodSpec(
        name="sparse-sharing",
        package=__name__,
        summary="prune one network for each task, then train the subnets together",
        settings=SparseSharingSettings,
        code_version=1,
        start=f"{__name__}.start",
        tables=(f"{__name__}.tables:kept_weights",),
    ),
)
