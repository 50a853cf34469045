"""How good a correlation is: do tasks of one family find each other?

Families are known from elsewhere, for example halves of one data set that were entered as two tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class FamilyScore:
    """How many tasks' nearest neighbours are of their own family, and how many chance would give."""

    hits: int
    tasks: int  # tasks that have a neighbour
    p_value: float  # (1 + permutations with at least as many hits) / (1 + permutations)
    expected: float  # mean hits over all permutations of the families


def nearest_neighbour_score(
    matrix: pd.DataFrame, family_of: Callable[[str], str], permutations: int = 10_000, seed: int = 0
) -> FamilyScore:
    """Count the tasks whose nearest neighbour is in their family, against permuted family names.

    `matrix` is square, its rows (the task) and columns (the neighbour) are the same task names in any order; the
    neighbour is the highest value of a row, the diagonal and NaN left out, ties to the name that sorts first. Tasks
    without any value have no neighbour and are not counted. With T tasks, n of them counted, and families of sizes m:

        expected = n * sum over families of m (m - 1) / (T (T - 1))

    The neighbours stay as they are when families are permuted over the tasks, so the test holds although mutual
    neighbours are not independent. Raises ValueError if rows and columns differ.
    """
    names = sorted(matrix.index)
    if len(set(names)) != len(names) or names != sorted(matrix.columns):
        raise ValueError("the rows and columns of the matrix must be the same tasks, each once")
    values = matrix.loc[names, names].to_numpy(dtype=float, na_value=np.nan).copy()
    np.fill_diagonal(values, np.nan)
    counted = np.flatnonzero(~np.isnan(values).all(axis=1))
    neighbour = np.where(np.isnan(values[counted]), -np.inf, values[counted]).argmax(axis=1)  # the first of equals

    sizes_of, families = np.unique([family_of(name) for name in names], return_inverse=True)
    hits = int((families[counted] == families[neighbour]).sum())
    drawn = np.random.default_rng(seed).permuted(np.broadcast_to(families, (permutations, len(names))), axis=1)
    null = (drawn[:, counted] == drawn[:, neighbour]).sum(axis=1)

    sizes = np.bincount(families, minlength=len(sizes_of))
    chance = float((sizes * (sizes - 1)).sum()) / max(1, len(names) * (len(names) - 1))
    return FamilyScore(
        hits=hits,
        tasks=len(counted),
        p_value=float((1 + (null >= hits).sum()) / (1 + permutations)),
        expected=len(counted) * chance,
    )
