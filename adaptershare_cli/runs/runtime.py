"""Where and how exactly a run computes: device, precision, number of threads.

The rule for values that are left to the program (`auto`, or no --threads) stands in `runs.standing`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import RuntimeSettings


@dataclass(frozen=True)
class Runtime:
    """Values of a run, with nothing left that is `auto`; they count in its key."""

    device: str  # cpu | cuda
    precision: str  # bf16 | fp32
    threads: int

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Those of a run's request."""
        return cls(**{name: request[name] for name in NAMES})

    def to_json(self) -> dict[str, Any]:
        """As a request holds them."""
        return asdict(self)

    def __str__(self) -> str:
        count = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return ", ".join([*(["CUDA"] if self.device == "cuda" else []), count, self.precision])


NAMES = tuple(Runtime.__dataclass_fields__)


def given_values(settings: RuntimeSettings) -> dict[str, Any]:
    """The values that were given, by name; all others are left to the program."""
    return {name: value for name in NAMES if (value := getattr(settings, name)) not in ("auto", None)}


def resolve_runtime(settings: RuntimeSettings) -> Runtime:
    """What this machine computes with. Raises UserError for a device that is not there.

    torch is imported only where it has to be asked.
    """
    device, precision = settings.device, settings.precision
    if device != "cpu":
        device = _cuda_or_cpu(device)
    if precision == "auto":
        import torch

        from adaptershare_cli.model.precision import resolve_precision

        precision = resolve_precision(precision, torch.device(device))  # type: ignore[assignment]
    return Runtime(device, precision, settings.threads or free_threads(settings))


def cores() -> int:
    """The cores that this process may use; not every system can say which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_threads(settings: RuntimeSettings) -> int:
    """The threads of a training where their number is left to the program: the cores, shared by the --jobs."""
    return max(1, cores() // settings.jobs)


def _cuda_or_cpu(wanted: str) -> Any:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise UserError("There is no CUDA device", where="--device cuda", fix="Use --device cpu.")
    return "cpu"
