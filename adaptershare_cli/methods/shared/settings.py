"""The settings of the method `shared`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.methods.planned.settings import LookaheadSettings
from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class SharedSettings(LookaheadSettings):
    """All tasks share one adapter a layer."""

    shared_layers: Literal["all", "lower", "upper"] = option(
        "all",
        "In which layers the adapter is shared: in all, or in one half alone; in the other each task has its own.",
    )
