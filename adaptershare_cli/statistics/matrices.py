"""Tables of correlations (`schemas.CORRELATION`) as matrices over tasks: row = source, column = target, NaN unknown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from adaptershare_cli import schemas


def answer_of(correlation: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold a measure's answer, without those of single seeds."""
    return correlation[correlation["seed"].isna()]


def task_matrix(correlation: pd.DataFrame, tasks: Sequence[str], column: str = "value") -> np.ndarray:
    """One column over all layers as a matrix (tasks, tasks).

    `correlation` holds one measure's answer, or one seed of it. Raises ValueError if it holds a pair twice (several
    measures, seeds or runs).
    """
    rows = correlation[correlation["layer"] == schemas.ALL_LAYERS].set_index(["source", "target"])
    wide = rows[column].astype(float).unstack().reindex(index=tasks, columns=tasks)
    return wide.to_numpy()


def seed_matrices(correlation: pd.DataFrame, tasks: Sequence[str]) -> tuple[list[int], np.ndarray]:
    """The seeds of a table, and their values over all layers: (seeds, tasks, tasks)."""
    of_seeds = correlation[correlation["seed"].notna()].groupby("seed")
    return [int(seed) for seed in of_seeds.groups], np.array([task_matrix(rows, tasks) for _, rows in of_seeds])


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """The values that are not on the diagonal, in one row."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def known_pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which pairs of different tasks both matrices know; both are (..., tasks, tasks) and broadcast."""
    return np.isfinite(one) & np.isfinite(other) & ~np.eye(one.shape[-1], dtype=bool)
