"""What measures take and give: values alone, no artefact and no workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.seeds import derive_seed

VALUES = ("seed", "term", "layer", "source", "target", "value")


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


def cost_share(cost: Mapping[str, Any], against: str) -> float:
    """What a measure costs, the trainings behind it included, as a share of measuring the truth `against`, by seed.

    `cost` is `info.cost` of a correlation.
    """
    passes = cost["own"]["passes"] + cost["training"]["passes"]
    return passes / cost["seeds"] / cost["brute_force"][against]["passes"]


@dataclass(frozen=True)
class Inputs:
    """What a stage hands to a measure; besides tasks, seeds and numbers of rows only what the measure needs.

    `tables`: a run's table by seed. `model(seed)`: the encoder with every task's adapter and head as its single-task
    run of that seed left them, under the private plan (`MultiTaskModel`); `untrained(seed)` the same before training.
    `encode(inputs)`: pooled states (B, H) of the plain encoder. `scores`: for each training the main score of each of
    its tasks. `truth`: value rows of the measured truth (columns `VALUES`).
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    sizes: Mapping[str, int]  # train rows
    heldout: Mapping[str, int] = field(default_factory=dict)  # held-out rows
    tables: Mapping[int, pd.DataFrame] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)  # train rows
    pad_token: int = 0
    model: Callable[[int], Any] = lambda seed: None
    untrained: Callable[[int], Any] = lambda seed: None
    encode: Callable[[Mapping[str, Any]], Any] = lambda inputs: None
    scores: Mapping[Training, Mapping[str, float]] = field(default_factory=dict)
    truth: pd.DataFrame | None = None
    progress: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Found:
    """What a measure found.

    `values`: a row a (seed, term, layer, source, target) with its value, NaN where unknown. `seed` is missing for a
    measure that has none; `term` (a check, a look-ahead) is missing where a seed's value is no mean over terms.
    `layer` is -1 over all layers. Symmetric measures may give one order of each pair only. `cost` is what the measure
    processed itself, `tables` further results to keep, by file name, `notes` lines to show.
    """

    values: pd.DataFrame
    cost: Cost = Cost()
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sample_rows(rows: Rows, task: str, count: int) -> Rows:
    """At most `count` of the rows, drawn at random in a way that depends on the task alone, in their order."""
    if len(rows) <= count:
        return rows
    drawn = np.random.default_rng(derive_seed(0, "measure-samples", task)).permutation(len(rows))[:count]
    return rows.take(np.sort(drawn))


def values_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """`Found.values` from rows; a missing column is NaN, a missing layer is -1."""
    frame = pd.DataFrame(rows, columns=list(VALUES))
    frame["layer"] = frame["layer"].fillna(-1).astype(int)
    return frame.astype({"value": float})
