"""The settings of the method `by-type`."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.methods.assembled.settings import AssembledSettings


@dataclass(frozen=True)
class ByTypeSettings(AssembledSettings):
    """Tasks of one type share one adapter a layer."""
