"""Which layers several tasks can run together: a tree over the layers, from what each task uses in them.

Tasks whose weights are the same in layers 0 to l give the same states there, so these are computed once. Below the
first layer in which any two tasks differ there is one branch; above it one for each set of tasks that has been together
so far: a group of the sharing plan, as far as its tasks were together in every layer below.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Branch:
    """Layers `start` to `end` (excluded), run once for all of `tasks`; then each of `parts` goes on by itself.

    Without parts the tasks stay together to the end.
    """

    tasks: tuple[str, ...]
    start: int
    end: int
    parts: tuple[Branch, ...] = ()

    @property
    def layers(self) -> int:
        """How many layers are run in all, here and in the parts."""
        return self.end - self.start + sum(part.layers for part in self.parts)


def branches(keys: Mapping[str, Sequence[Hashable]], start: int = 0) -> Branch:
    """The tree of the tasks in `keys`, which give for each layer what stands for the weights that a task uses there.

    All tasks are of one depth, and alike in the layers below `start`.
    """
    tasks = tuple(keys)
    depth = len(keys[tasks[0]])
    for layer in range(start, depth):
        groups: dict[Hashable, list[str]] = {}
        for task in tasks:
            groups.setdefault(keys[task][layer], []).append(task)
        if len(groups) > 1:
            parts = [branches({task: keys[task] for task in group}, layer) for group in groups.values()]
            return Branch(tasks, start, layer, tuple(parts))
    return Branch(tasks, start, depth)
