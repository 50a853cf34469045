"""The settings of the method `private`."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.methods.planned.settings import ObserveSettings


@dataclass(frozen=True)
class PrivateSettings(ObserveSettings):
    """Each task has its own adapters, trained in the joint schedule."""
