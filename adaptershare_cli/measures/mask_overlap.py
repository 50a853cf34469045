"""The measure `mask-overlap`: how far two tasks' subnets are the same weights (Sparse Sharing).

With M[l, t] the weights of layer l that task t's mask keeps:

    value[l, i, j]  = |M[l, i] and M[l, j]| / |M[l, i] or M[l, j]|
    value[-1, i, j] = the same over the weights of all layers together

Masks that keep much overlap much by chance: independent random masks of the rates p and q have an expected ratio of
pq / (p + q - pq). The table `overlap` holds it beside every value, and the same for all tasks together (the paper's
overlap ratio: |and over all tasks| / |or over all tasks|). Over all layers there are two such expectations, as masks
that are dense in the same layers overlap for that alone: for masks drawn from all weights, and layer by layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import SHARE, measure

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from adaptershare_cli.sharing.masks import Overlap

    PackedMasks = dict[tuple[str, int], np.ndarray]  # by task and layer


@measure(
    "mask-overlap",
    "share of the weights of two tasks' subnets that both use, in a run of Sparse Sharing",
    code_version=1,
    settings=SeededMeasureSettings,
    needs=RunTable("masks"),
    range=(0, 1),
    unit=SHARE,
)
def mask_overlap(masks: RunTables, scope: Scope, settings: SeededMeasureSettings) -> Measurement:
    """Overlaps of the masks of each seed's run (`schemas.MASKS`)."""
    import pyarrow as pa

    from adaptershare_cli import schemas
    from adaptershare_cli.statistics.summary import value_table

    rows = [{"seed": seed, **row} for seed, table in masks.by_seed.items() for row in overlap_rows(table, scope.tasks)]
    pairs = [
        {"seed": row["seed"], "layer": row["layer"], "source": first, "target": second, "value": row["ratio"]}
        for row in rows
        for first, second in [row["tasks"][:2]]
        if len(row["tasks"]) == 2 and not row["all_tasks"]
    ]
    return Measurement(
        value_table(pairs),
        tables={"overlap": pa.Table.from_pylist(rows, schema=schemas.OVERLAP)},
        notes=tuple(_note(row) for row in rows if row["all_tasks"] and row["layer"] == schemas.ALL_LAYERS),
    )


def overlap_rows(masks: pd.DataFrame, tasks: Sequence[str]) -> list[dict]:
    """Rows of `schemas.OVERLAP` of one run, without the seed: each layer and all of them, each pair and all tasks.

    Raises ValueError if a task has two masks for a tensor (masks of several runs), or none.
    """
    import numpy as np

    if masks.duplicated(["task", "tensor"]).any():
        raise ValueError("a task has two masks for one tensor: are these the masks of several runs?")
    if missing := [task for task in tasks if task not in set(masks["task"])]:
        raise ValueError(f"there are no masks of {', '.join(missing)}")
    sizes = masks[masks["task"] == tasks[0]].groupby("layer")["weights"].sum().to_dict()
    packed: PackedMasks = {
        (task, layer): np.concatenate([np.frombuffer(bits, dtype=np.uint8) for bits in rows["bits"]])
        for (task, layer), rows in masks.sort_values(["layer", "tensor"]).groupby(["task", "layer"])
    }
    sets = [(False, pair) for pair in itertools.combinations(tasks, 2)] + [(True, tuple(tasks))]
    return [row for all_tasks, group in sets for row in _group_rows(packed, sizes, group, all_tasks)]


def _group_rows(packed: PackedMasks, sizes: Mapping[int, int], tasks: tuple[str, ...], all_tasks: bool) -> list[dict]:
    """One row over all layers, and one a layer, for the tasks together."""
    import numpy as np

    from adaptershare_cli import schemas
    from adaptershare_cli.sharing.masks import expected_ratio, overlap
    from adaptershare_cli.statistics.missing import or_none

    layers = {layer: overlap([packed[task, layer] for task in tasks], size) for layer, size in sizes.items()}
    whole = overlap([np.concatenate([packed[task, layer] for layer in sizes]) for task in tasks], sum(sizes.values()))
    overlaps = {schemas.ALL_LAYERS: whole, **layers}
    chance = {layer: expected_ratio(one.rates) for layer, one in overlaps.items()}
    return [
        {
            "layer": layer, "tasks": list(tasks), "all_tasks": all_tasks, "weights": one.weights,
            "intersection": one.intersection, "union": one.union, "ratio": or_none(one.ratio),
            "expected": or_none(chance[layer]),
            "expected_by_layer": or_none(_by_layer(layers) if layer == schemas.ALL_LAYERS else chance[layer]),
        }
        for layer, one in overlaps.items()
    ]  # fmt: skip


def _by_layer(layers: Mapping[int, Overlap]) -> float:
    """Expected intersection / expected union of masks that are drawn at random in each layer."""
    import numpy as np

    both = sum(one.weights * np.prod(one.rates) for one in layers.values())
    either = sum(one.weights * (1 - np.prod([1 - rate for rate in one.rates])) for one in layers.values())
    return float(both / either) if either else float("nan")


def _note(row: Mapping) -> str:
    if row["ratio"] is None:
        return f"seed {row['seed']}: the masks keep nothing"
    return (
        f"seed {row['seed']}: all {len(row['tasks'])} tasks use {row['intersection']:,} of the {row['union']:,} "
        f"weights that any of them uses: overlap {row['ratio']:.3f}, of random masks {row['expected']:.3f} "
        f"(layer by layer {row['expected_by_layer']:.3f})"
    )
