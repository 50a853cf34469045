"""Do two matrices over the same tasks go together? Pearson's r over their cells, and the test of Mantel (1967).

Cells of one row or column have a task in common, so they are not independent and r's textbook p value does not hold.
Mantel's test permutes the *tasks* of one matrix, rows and columns together, also where the matrices are directed (then
a cell (s, t) always moves to a cell (pi(s), pi(t)), and what makes a task a good source or target moves with it).
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import NamedTuple

import numpy as np

from adaptershare_cli.statistics.matrices import known_pairs

EXACT_TASKS = 8  # 8! = 40320 permutations are enumerated
TIE_TOLERANCE = 1e-12  # sums of the same products in another order are ties
BLOCK_VALUES = 2_000_000  # cells held at a time (16 MB)


class Mantel(NamedTuple):
    """Pearson's r over the cells known in both matrices, and the one-sided p value; NaN where undefined."""

    correlation: float
    p_value: float


def mantel(values: np.ndarray, truth: np.ndarray, draws: int = 9999, seed: int = 0) -> Mantel:
    """Test whether `values` and `truth` (tasks, tasks; NaN unknown, diagonal left out) correlate more than by chance.

        p = #{permutations pi of the tasks : r(pi(values), truth) >= r(values, truth)} / #{permutations}

    over all T! permutations, the identity among them, for up to 8 tasks; else p = (1 + #{...}) / (1 + draws) over
    random ones. So the least possible p is 1/T! (1/6 for three tasks, 1/24 for four, 1/120 for five, 1/720 for six;
    more if a permutation leaves both matrices as they are) or 1 / (1 + draws). Where cells are unknown, r is
    over those known in both after permuting; permutations under which r is undefined are left out.
    """
    observed = float(cell_correlation(values, truth))
    if math.isnan(observed):
        return Mantel(math.nan, math.nan)
    orders, exact = task_permutations(len(values), math.factorial(EXACT_TASKS), draws, seed)
    size = max(1, BLOCK_VALUES // values.size)
    blocks = [orders[start : start + size] for start in range(0, len(orders), size)]
    null = np.concatenate([cell_correlation(permuted(values, block), truth) for block in blocks])
    return Mantel(observed, permutation_p(observed, null, exact))


def task_permutations(tasks: int, most: int, draws: int, seed: int) -> tuple[np.ndarray, bool]:
    """All permutations of the tasks if they are at most `most`, else `draws` random ones; and whether these are all."""
    if math.factorial(tasks) <= most:
        return np.array(list(permutations(range(tasks)))), True
    return np.random.default_rng(seed).permuted(np.tile(np.arange(tasks), (draws, 1)), axis=1), False


def permuted(matrix: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """The matrix with its tasks in each of the orders: (tasks, tasks), (n, tasks) -> (n, tasks, tasks)."""
    return matrix[orders[:, :, None], orders[:, None, :]]


def permutation_p(observed: float, null: np.ndarray, exact: bool) -> float:
    """Share of the null (n,) that is at least as high as the observed value; NaN of the null is left out.

    If the null is not exact, the observed value counts as one more draw, so that p is never 0.
    """
    known = null[~np.isnan(null)]
    extra = 0 if exact else 1
    if math.isnan(observed) or not len(known) + extra:
        return math.nan
    return float((extra + (known >= observed - TIE_TOLERANCE).sum()) / (extra + len(known)))


def cell_correlation(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pearson's r over the cells that are known in both, the diagonal left out.

    Both are (..., tasks, tasks) and broadcast against each other; returns (...), NaN where a side is constant.
    """
    values, truth = np.broadcast_arrays(values, truth)
    known = known_pairs(values, truth)
    count = np.maximum(known.sum(axis=(-2, -1), keepdims=True), 1)

    def centred(side: np.ndarray) -> np.ndarray:
        side = np.where(known, side, 0.0)
        return np.where(known, side - side.sum(axis=(-2, -1), keepdims=True) / count, 0.0)

    def constant(side: np.ndarray) -> np.ndarray:
        low, high = np.where(known, side, np.inf).min(axis=(-2, -1)), np.where(known, side, -np.inf).max(axis=(-2, -1))
        return ~(high > low)

    x, y = centred(values), centred(truth)
    norms = np.sqrt((x * x).sum(axis=(-2, -1)) * (y * y).sum(axis=(-2, -1)))
    undefined = constant(values) | constant(truth) | (norms == 0)
    dot = (x * y).sum(axis=(-2, -1))
    return np.divide(dot, norms, out=np.full(norms.shape, np.nan), where=~undefined)
