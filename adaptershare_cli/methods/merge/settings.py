"""The settings of the method `merge`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.methods.assembled.settings import AssembledSettings
from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class MergeSettings(AssembledSettings):
    """Merge the adapters of tasks that were trained alone from the same start."""

    merge: Literal["average", "ties"] = option(
        "average",
        "How adapters become one: by their mean, or by TIES (the largest fifth of each one's changes, of the sign that "
        "weighs more).",
    )
    merge_groups: Literal["found", "all"] = option(
        "found",
        "Which are merged: groups, where the mean main metric on select rows rises with every merging, or all of them.",
    )
