"""The settings of the method `plan-search`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.methods.assembled.settings import AssembledSettings
from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class PlanSearchSettings(AssembledSettings):
    """Search for groups of tasks; every choice goes by select rows."""

    budget: int | None = option(
        None,
        "Task trainings that the search may make, each task alone included (a group of three counts three); by default "
        "three times as many as there are tasks.",
        1,
    )
    search_measure: Literal["probe", "logme", "knn", "none"] = option(
        "probe", "The measure that says before any group is trained which tasks may help each other (none: nothing).",
        needs=("proposals", "predicted"),
    )  # fmt: skip
    proposals: Literal["predicted", "random"] = option(
        "predicted",
        "What is trained next: the groups of the plan that is predicted to be best, or (a baseline at the same cost) "
        "those of random plans.",
    )
    layers: Literal["all", "halves"] = option(
        "all",
        "halves: once the groups are found, try for each to share in the lower or the upper half of the layers only. "
        "That is two more trainings of each of its tasks, beyond the budget.",
    )
    search_value: Literal["points", "scaled"] = option(
        "points",
        "What is to be as high as possible: the mean of the tasks' main metrics, or of their gains over being alone, "
        "each divided by how much that task's gains differ from group to group.",
    )
