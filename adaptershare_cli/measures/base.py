"""What a measure's function is told besides what it needs, and what it answers. No artefact and no workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adaptershare_cli.seeds import derive_seed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from adaptershare_cli.data.batches import Rows


@dataclass(frozen=True)
class Cost:
    """Examples processed. A row that is trained on counts once forward and once backward.

    With a frozen encoder a backward pass takes no gradients of the large weights and costs about as much as a forward
    pass, so `passes` adds the two.
    """

    forward: int = 0
    backward: int = 0

    @property
    def passes(self) -> int:
        """Forward and backward passes of one example together."""
        return self.forward + self.backward

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forward + other.forward, self.backward + other.backward)

    def to_json(self) -> dict[str, int]:
        """For an artefact's record."""
        return {"forward": self.forward, "backward": self.backward, "passes": self.passes}


def cost_share(cost: Mapping[str, Any], truth: str) -> float:
    """What a measure costs, its trainings included, as a share of what measuring the truth costs, for one seed each.

    `cost` is what an artefact of a correlation records (`info["cost"]`).
    """
    passes = cost["own"]["passes"] + cost["training"]["passes"]
    return passes / cost["seeds"] / cost["brute_force"][truth]["passes"]


@dataclass(frozen=True)
class Scope:
    """Which tasks are related, for which seeds, and whom to tell how far a long computation has come.

    `seeds` are those of trainings that are made for the measure; runs that were there before have seeds of their own.
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    progress: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Measurement:
    """What a measure's function returns.

    `values` (`statistics.summary.VALUES`) has a row for each seed, term, layer, source and target with its value, NaN
    where unknown. `seed` is missing for a measure that has none; `term` (a check, a look-ahead) is missing where a
    seed's value is no mean over terms. `layer` is -1 over all layers. Symmetric measures may give one order of each
    pair only. `cost` is what the function itself processed, `tables` are further results to keep, by file name, `notes`
    lines to show.
    """

    values: pd.DataFrame
    cost: Cost = Cost()
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sample_rows(rows: Rows, task: str, count: int) -> Rows:
    """At most `count` of the rows, drawn at random in a way that depends on the task alone, in their order."""
    import numpy as np

    if len(rows) <= count:
        return rows
    drawn = np.random.default_rng(derive_seed(0, "measure-samples", task)).permutation(len(rows))[:count]
    return rows.take(np.sort(drawn))
