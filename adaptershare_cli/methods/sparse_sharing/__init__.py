"""Sparse Sharing (AAAI 2020): pruning finds a subnet of one network for each task; the subnets train together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptershare_cli.methods.sparse_sharing.settings import (
    PUBLISHED_SEARCH,
    PUBLISHED_TRAINING,
    SparseSharingSettings,
)
from adaptershare_cli.methods.spec import MethodSpec, Preset


def published(tasks: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The size of Sparse Sharing's search and training, as its code has it.

    Its optimizer, SGD with a rate of 0.1, is that of a BiLSTM from scratch and stays out; the epochs of its warm-up are
    not published.
    """
    values: dict[str, Any] = {**PUBLISHED_TRAINING, "max_grad_norm": 5.0}
    return values | PUBLISHED_SEARCH if chosen.get("masks", "pruned") == "pruned" else values


SPECS = (
    MethodSpec(
        name="sparse-sharing",
        package=__name__,
        citation="Learning Sparse Sharing Architectures for Multiple Tasks. AAAI 2020.",
        summary="prune one network for each task, then train the subnets together",
        settings=SparseSharingSettings,
        code_version=2,
        start=f"{__name__}.start",
        tables=(f"{__name__}.tables:kept_weights",),
        presets=(Preset("sparse-sharing-paper", "Sparse Sharing's size of search (hours)", published),),
    ),
)
