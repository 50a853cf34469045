"""The settings of the method `shared`."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.methods.planned.settings import LookaheadSettings


@dataclass(frozen=True)
class SharedSettings(LookaheadSettings):
    """All tasks share one adapter a layer."""
