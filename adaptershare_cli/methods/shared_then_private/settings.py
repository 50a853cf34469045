"""The settings of the method `shared-then-private`."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.methods.assembled.settings import AssembledSettings


@dataclass(frozen=True)
class SharedThenPrivateSettings(AssembledSettings):
    """Of all tasks together, each gone on alone, and each alone from the start, the best for each task."""
