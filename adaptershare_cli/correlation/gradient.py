"""The measure `gradient`: how well the gradients of two tasks agree over the checks of a run.

With c[k, l, i, j] the cosine between the gradients of tasks i and j on the adapter of layer l at check k, K(l, i, j)
the checks that have this cosine (a null one is left out) and L(k, i, j) the layers that have it:

    value[l, i, j]  = 1/|K(l, i, j)|  sum over k in K(l, i, j) of  c[k, l, i, j]
    value[-1, i, j] = mean over the checks k of  1/|L(k, i, j)|  sum over l in L(k, i, j) of  c[k, l, i, j]
    standard_error  = (sample standard deviation of the averaged terms) / sqrt(number of terms)

Successive checks look at the same held-out rows and at weights that moved little, so they are not independent and the
standard error is a lower bound.

**The null.** In each check the task names are permuted, independently of the other checks, and by the same permutation
in all layers of that check (layers depend on each other, and that is kept):

    null[p, l, i, j] = mean over k of  c[k, l, pi_pk(i), pi_pk(j)],      p = 1 .. permutations
    p_value          = (1 + #{p : null[p, l, i, j] >= value[l, i, j]}) / (1 + #{p : null[p, l, i, j] is known})

It says: within a check, this pair is a pair like any other. A small p value therefore means that *this* pair stands
out *again and again* over the checks of this run; it does not mean that it would with other held-out rows or another
seed, and it says nothing about all tasks being aligned (the null has their mean). The p values are one a pair and are
not corrected for the number of pairs. With two tasks there is one pair only, and p = 1.
A null cosine moves with its names: with `rows="shared"`, where most pairs have none after some splits, the null is a
mean over fewer checks than the value, hence wider, and the test is conservative.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from adaptershare_cli import schemas

NULL_LEVEL = 0.95
TIE_TOLERANCE = 1e-12  # sums of the same cosines in another order are ties
BLOCK_VALUES = 2_000_000  # null values held at a time (16 MB)


def correlate(
    interference: pd.DataFrame,
    tasks: list[str],
    rows: Literal["all", "shared"] = "all",
    permutations: int = 1000,
    seed: int = 0,
) -> pa.Table:
    """Score each pair of `tasks` by the mean cosine of their gradients (formulas in the module's docstring).

    `interference` holds the checks of one run (`schemas.INTERFERENCE`); a check is one (phase, step). `rows="shared"`
    uses only the checks and layers in which the two tasks shared the adapter. Tasks that are not in `interference` get
    null values and take no part in the permutations; `permutations=0` leaves the null's columns null.

    Returns `schemas.CORRELATION`, both orders of each pair, layer -1 (all layers) first. The answer depends neither on
    the order of the rows nor, but for the order of its own rows, on that of `tasks`.
    Raises ValueError if a task is named twice, or a check holds a pair twice in a layer (rows of several runs).
    """
    if len(set(tasks)) != len(tasks):
        raise ValueError(f"a task is named twice: {tasks}")
    if rows not in ("all", "shared"):
        raise ValueError(f"rows must be 'all' or 'shared', not {rows!r}")
    cube = _read(interference, tasks, only_shared=rows == "shared")
    count, value, error = _over_checks(cube.cosines)
    columns = {"value": value, "checks": count, "standard_error": error}
    columns |= _null(cube, value, permutations, np.random.default_rng(seed))
    return _table(cube, columns, tasks)


@dataclass(frozen=True)
class _Cube:
    """All cosines of a run, in an order that depends on names alone."""

    cosines: np.ndarray  # (checks, pairs, 1 + layers); [..., 0] is the mean over the layers; NaN where unknown
    layers: list[int]
    pair_index: np.ndarray  # (tasks, tasks), symmetric: the pair's place on the second axis
    names: dict[str, int]  # task -> its place in pair_index

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(len(self.names), k=1)


def _read(interference: pd.DataFrame, tasks: list[str], only_shared: bool) -> _Cube:
    seen = {*interference["task_a"], *interference["task_b"]}
    names = {task: place for place, task in enumerate(sorted(seen & set(tasks)))}
    pair_index = np.zeros((len(names), len(names)), dtype=np.int64)
    first, second = np.triu_indices(len(names), k=1)
    pair_index[first, second] = pair_index[second, first] = np.arange(len(first))

    frame = interference[interference["task_a"].isin(names) & interference["task_b"].isin(names)]
    pair = pair_index[frame["task_a"].map(names).to_numpy(int), frame["task_b"].map(names).to_numpy(int)]
    frame = frame[["phase", "step", "layer", "cosine", "shared"]].assign(pair=pair)
    if frame.duplicated(["phase", "step", "layer", "pair"]).any():
        raise ValueError("a check holds a pair of tasks twice in one layer: are these the rows of several runs?")
    checks = pd.MultiIndex.from_frame(frame[["phase", "step"]].drop_duplicates().sort_values(["phase", "step"]))
    layers = sorted(int(layer) for layer in frame["layer"].unique())

    used = frame[frame["shared"].astype(bool)] if only_shared else frame
    cosine = used["cosine"].to_numpy(dtype=float, na_value=np.nan)
    cosines = np.full((len(checks), len(first), 1 + len(layers)), np.nan)
    cosines[
        checks.get_indexer(pd.MultiIndex.from_frame(used[["phase", "step"]])),
        used["pair"].to_numpy(int),
        1 + np.searchsorted(layers, used["layer"].to_numpy(int)),
    ] = np.where(np.isfinite(cosine), cosine, np.nan)
    cosines[:, :, 0] = _over_first_axis(np.moveaxis(cosines[:, :, 1:], 2, 0))[1]
    return _Cube(cosines, layers, pair_index, names)


def _over_first_axis(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many values are known along the first axis, and their mean (NaN for none)."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return count, np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _over_checks(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of checks, mean over them, standard error of that mean (NaN for fewer than two)."""
    count, mean = _over_first_axis(cosines)
    squares = np.where(np.isnan(cosines), 0.0, (cosines - mean) ** 2).sum(axis=0)
    variance = np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=count > 1)
    return count, mean, np.sqrt(variance / np.maximum(count, 1))


def _null(cube: _Cube, value: np.ndarray, permutations: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Mean and 95th percentile of the null and the p value, each of the shape of `value`, (pairs, 1 + layers)."""
    result = {name: np.full(value.shape, np.nan) for name in ("null_mean", "null_upper", "p_value")}
    if permutations < 1 or not cube.cosines.size:
        return result
    for block, null in _null_blocks(cube, permutations, generator):
        count, mean = _over_first_axis(null)
        at_least = (null >= value[block] - TIE_TOLERANCE).sum(axis=0)
        result["null_mean"][block] = mean
        result["null_upper"][block] = _quantile(null, count, NULL_LEVEL)
        result["p_value"][block] = np.where(np.isnan(value[block]), np.nan, (1 + at_least) / (1 + count))
    return result


def _null_blocks(cube: _Cube, permutations: int, generator: np.random.Generator) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of pairs with their null values, (permutations, pairs of the block, 1 + layers)."""
    checks, pairs, depth = cube.cosines.shape
    order = np.broadcast_to(np.arange(len(cube.names), dtype=np.int32), (checks, permutations, len(cube.names)))
    order = generator.permuted(order, axis=2)
    known = ~np.isnan(cube.cosines)
    cosines = np.where(known, cube.cosines, 0.0)
    size = max(1, BLOCK_VALUES // (permutations * depth))
    for start in range(0, pairs, size):
        block = slice(start, start + size)
        first, second = (side[block] for side in cube.pairs)
        total = np.zeros((permutations, len(first), depth))
        count = np.zeros((permutations, len(first), depth), dtype=np.int32)
        for check in range(checks):
            drawn = cube.pair_index[order[check][:, first], order[check][:, second]]  # (permutations, block)
            total += cosines[check][drawn]
            count += known[check][drawn]
        yield block, np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _quantile(values: np.ndarray, count: np.ndarray, level: float) -> np.ndarray:
    """Quantile over the first axis, linear between neighbours, of the `count` values that are not NaN."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    place = np.maximum(count - 1, 0) * level
    below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (below, above))
    return low + (high - low) * (place - below)


def _table(cube: _Cube, columns: dict[str, np.ndarray], tasks: list[str]) -> pa.Table:
    """One row a layer and an ordered pair of tasks; pairs outside the cube are null with 0 checks."""
    rows = []
    for depth, layer in enumerate([schemas.ALL_LAYERS, *cube.layers]):
        for source in tasks:
            for target in tasks:
                if source == target:
                    continue
                row = {"measure": "gradient", "layer": layer, "source": source, "target": target, "checks": 0}
                if source in cube.names and target in cube.names:
                    place = cube.pair_index[cube.names[source], cube.names[target]]
                    cells = {name: column[place, depth].item() for name, column in columns.items()}
                    row |= {name: None if cell != cell else cell for name, cell in cells.items()}
                rows.append(row)
    return pa.Table.from_pylist(rows, schema=schemas.CORRELATION)
