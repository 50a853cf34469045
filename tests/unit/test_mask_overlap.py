"""The measure mask-overlap on masks that are known: equal, disjoint, dense in the same layers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from adaptershare_cli import schemas
from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.mask_overlap import mask_overlap, overlap_rows
from adaptershare_cli.measures.needs import RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings


def table(masks: dict[str, dict[int, list[int]]]) -> pd.DataFrame:
    """A run's table of masks; of each task and layer one tensor."""
    return pd.DataFrame(
        [
            {"task": task, "layer": layer, "tensor": f"{layer}.down", "weights": len(bits),
             "bits": np.packbits(bits).tobytes()}
            for task, layers in masks.items()
            for layer, bits in layers.items()
        ]
    )  # fmt: skip


SAME, OTHER = [1, 1, 0, 0, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0, 0, 0, 0]
MASKS = table({"a": {0: SAME, 1: SAME}, "b": {0: SAME, 1: SAME}, "c": {0: OTHER, 1: OTHER}})


def measured(tasks: tuple[str, ...], tables: dict[int, pd.DataFrame]) -> Measurement:
    """What the measure says of runs' masks, by seed."""
    return mask_overlap(RunTables(tables), Scope(tasks, tuple(tables)), SeededMeasureSettings())


def test_equal_and_disjoint_masks() -> None:
    rows = {(tuple(row["tasks"]), row["layer"]): row for row in overlap_rows(MASKS, ("a", "b", "c"))}
    for layer in (-1, 0, 1):
        assert rows[("a", "b"), layer]["ratio"] == 1
        assert rows[("a", "c"), layer]["ratio"] == rows[("b", "c"), layer]["ratio"] == 0
        assert rows[("a", "b", "c"), layer]["ratio"] == 0
    assert rows[("a", "c"), -1]["weights"] == 18 and rows[("a", "c"), -1]["union"] == 10
    p, q = 3 / 9, 2 / 9
    for layer in (-1, 0):
        assert rows[("a", "c"), layer]["expected"] == pytest.approx(p * q / (p + q - p * q))
        assert rows[("a", "c"), layer]["expected_by_layer"] == pytest.approx(p * q / (p + q - p * q))


def test_masks_that_are_dense_in_the_same_layers_overlap_for_that_alone() -> None:
    full, none = [1] * 8, [0] * 8
    row = overlap_rows(table({task: {0: full, 1: none} for task in "ab"}), ("a", "b"))[0]
    assert row["ratio"] == 1 == row["expected_by_layer"]
    assert row["expected"] == pytest.approx(0.25 / 0.75)


def test_the_measure_over_seeds_has_every_pair_once() -> None:
    found = measured(("a", "b", "c"), {0: MASKS, 1: MASKS[::-1]})
    assert len(found.values) == 2 * 3 * 3 and set(found.values["seed"]) == {0, 1}
    assert found.tables["overlap"].schema.equals(schemas.OVERLAP)
    assert found.tables["overlap"].num_rows == 2 * 4 * 3
    assert len(found.notes) == 2 and "overlap 0.000, of random masks" in found.notes[0]


def test_two_tasks_are_a_pair_and_all_tasks() -> None:
    found = measured(("a", "b"), {0: MASKS})
    assert len(found.values) == 3 and found.tables["overlap"].num_rows == 6


def test_masks_that_keep_nothing_have_no_ratio() -> None:
    empty = table({task: {0: [0] * 8} for task in "ab"})
    found = measured(("a", "b"), {0: empty})
    assert found.values["value"].isna().all() and found.tables["overlap"]["ratio"].null_count == 4
    assert found.notes == ("seed 0: the masks keep nothing",)


def test_masks_of_several_runs_or_of_no_run() -> None:
    with pytest.raises(ValueError, match="several runs"):
        overlap_rows(pd.concat([MASKS, MASKS]), ("a", "b"))
    with pytest.raises(ValueError, match="no masks of d"):
        overlap_rows(MASKS, ("a", "d"))
