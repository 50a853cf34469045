"""A sharing plan: for each layer a partition of the tasks into groups. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Group = tuple[str, ...]


@dataclass(frozen=True)
class SharingPlan:
    """For each layer the groups of tasks that share its adapter.

    `tasks` fixes the order; groups hold their tasks in that order and are sorted by their first task, so equal
    partitions are equal values. Raises ValueError when a task stands twice or a layer is not a partition of the tasks.
    """

    tasks: tuple[str, ...]
    layers: tuple[tuple[Group, ...], ...]

    def __post_init__(self) -> None:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"a task stands twice in {self.tasks}")
        for number, groups in enumerate(self.layers):
            members = [task for group in groups for task in group]
            if sorted(members) != sorted(self.tasks) or any(not group for group in groups):
                raise ValueError(f"layer {number}: {groups} is not a partition of {self.tasks}")
        order = {task: index for index, task in enumerate(self.tasks)}
        normal = tuple(
            tuple(sorted((tuple(sorted(g, key=order.__getitem__)) for g in groups), key=lambda g: order[g[0]]))
            for groups in self.layers
        )
        object.__setattr__(self, "layers", normal)

    @classmethod
    def shared(cls, tasks: Sequence[str], layers: int) -> SharingPlan:
        """All tasks in one group in each layer."""
        return cls(tuple(tasks), ((tuple(tasks),),) * layers)

    @classmethod
    def private(cls, tasks: Sequence[str], layers: int) -> SharingPlan:
        """Each task alone in each layer."""
        return cls(tuple(tasks), (tuple((task,) for task in tasks),) * layers)

    @classmethod
    def of_groups(cls, tasks: Sequence[str], layers: int, groups: Mapping[Group, str]) -> SharingPlan:
        """These groups, each in `all` layers or in the `lower` or `upper` half; elsewhere its tasks are alone.

        Of an odd number of layers the one in the middle is an upper one.
        """
        reach = {"all": range(layers), "lower": range(layers // 2), "upper": range(layers // 2, layers)}

        def of_layer(number: int) -> tuple[Group, ...]:
            whole = {group: number in reach[where] for group, where in groups.items()}
            return tuple(part for g in groups for part in ([g] if whole[g] else [(task,) for task in g]))

        return cls(tuple(tasks), tuple(map(of_layer, range(layers))))

    def group(self, layer: int, task: str) -> Group:
        """The group that holds `task` in `layer`."""
        return next(group for group in self.layers[layer] if task in group)

    def share(self, layer: int, first: str, second: str) -> bool:
        """Whether two tasks share the adapter of `layer`."""
        return second in self.group(layer, first)

    @property
    def growth(self) -> float:
        """Groups over all layers divided by the number of layers: 1 is fully shared, len(tasks) is private."""
        return sum(len(groups) for groups in self.layers) / len(self.layers)

    def split(self, layer: int, kept: Iterable[str], moved: Iterable[str]) -> SharingPlan:
        """Replace the group `kept + moved` of `layer` by the two groups. Raises ValueError if it is not one."""
        kept, moved = tuple(kept), tuple(moved)
        others = tuple(group for group in self.layers[layer] if sorted(group) != sorted(kept + moved))
        if not kept or not moved or len(others) == len(self.layers[layer]):
            raise ValueError(f"layer {layer}: {kept} and {moved} are not the parts of a group")
        layers = (*self.layers[:layer], (*others, kept, moved), *self.layers[layer + 1 :])
        return SharingPlan(self.tasks, layers)

    def rows(self, phase: str, step: int) -> list[dict[str, Any]]:
        """The plan as rows of `schemas.SHARING`."""
        return [
            {"phase": phase, "step": step, "layer": layer, "task": task, "group": number}
            for layer, groups in enumerate(self.layers)
            for number, group in enumerate(groups)
            for task in group
        ]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; `from_json` is its inverse."""
        return {"tasks": list(self.tasks), "layers": [[list(group) for group in groups] for groups in self.layers]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SharingPlan:
        """The inverse of `to_json`."""
        layers = tuple(tuple(tuple(group) for group in groups) for groups in value["layers"])
        return cls(tuple(value["tasks"]), layers)
