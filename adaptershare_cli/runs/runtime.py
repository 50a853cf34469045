"""Where and how exactly a run computes, with nothing left that is `auto`."""

from __future__ import annotations

import os

import torch

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.precision import resolve_precision
from adaptershare_cli.settings import RuntimeSettings


def resolve_runtime(runtime: RuntimeSettings) -> tuple[torch.device, str, int]:
    """Device, precision and number of threads. Raises UserError for a device that is not there."""
    kind = runtime.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device", where="--device cuda", fix="Use --device cpu.")
    device = torch.device(kind)
    # Not every system can say which cores this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return device, resolve_precision(runtime.precision, device), runtime.threads or cores
