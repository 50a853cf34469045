"""Settings that several measures have in common; those of one measure stand in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adaptershare_cli.settings import option


@dataclass(frozen=True)
class MeasureSettings:
    """Every measure has settings; these are of measures without any."""


@dataclass(frozen=True)
class SeededMeasureSettings(MeasureSettings):
    """Measures whose values differ from seed to seed."""

    permutations: int = option(1000, "Draws of the permutation null (over checks, or over seeds).", 1)


@dataclass(frozen=True)
class TunedSettings(SeededMeasureSettings):
    """Measures that need trainings of their own, each task alone first."""

    target_steps: int | None = option(
        None,
        "Updates on each task in the trainings that a measure or --select makes; by default the run's updates divided "
        "by its tasks.",
        1,
        basic=True,
    )


def samples() -> Any:
    """The field of measures that pass over train rows."""
    return option(
        1000,
        "Of measures that pass over train rows: at most so many a task, drawn at random (of feature transfer 500, of "
        "grad-tag 200).",
        1,
    )
