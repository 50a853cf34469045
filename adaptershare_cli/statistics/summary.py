"""From a measure's values to the table that all measures publish: means, errors and a permutation null.

A value that a measure gives for one seed is a mean over *terms* (the checks of a run) or stands alone; the measure's
answer is the mean over the seeds. Both are means of matrices v[k, l, i, j] (term or seed k, layer l, tasks i and j),
so both are summarised alike. With K(l, i, j) the k that have this value (an unknown one is left out):

    value[l, i, j] = 1/|K(l, i, j)|  sum over k in K(l, i, j) of  v[k, l, i, j]
    standard_error = (sample standard deviation of the averaged terms) / sqrt(number of terms)

Successive checks look at the same held-out rows and at weights that moved little, so they are not independent and the
standard error over checks is a lower bound; seeds are independent.

**The null.** For each k the task names are permuted, independently of the other k, and by the same permutation in all
layers (layers depend on each other, and that is kept):

    null[p, l, i, j] = mean over k of  v[k, l, pi_pk(i), pi_pk(j)],      p = 1 .. permutations
    p_value          = (1 + #{p : null[p, l, i, j] >= value[l, i, j]}) / (1 + #{p : null[p, l, i, j] is known})

It says: within a check (a seed), this pair is a pair like any other. A small p value therefore means that *this* pair
stands out *again and again* over the checks of a run, or over the seeds; over checks it does not mean that it would
with other held-out rows or another seed, and it says nothing about all tasks being aligned (the null has their mean).
The p values are one a pair and are not corrected for the number of pairs. With two tasks there is one pair only, and
p = 1. Where a value is unknown it moves with its names: with `rows="shared"`, where most pairs have none after some
splits, the null is a mean over fewer checks than the value, hence wider, and the test is conservative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.statistics.missing import known_count_and_mean, or_none

VALUES = ("seed", "term", "layer", "source", "target", "value")
NULL_LEVEL = 0.95
TIE_TOLERANCE = 1e-12  # sums of the same values in another order are ties
BLOCK_VALUES = 2_000_000  # null values held at a time (16 MB)
Columns = dict[str, np.ndarray]


def value_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A measure's values from rows of `VALUES`; a column that they lack is NaN, a missing layer is -1."""
    table = pd.DataFrame(rows, columns=list(VALUES))
    table["layer"] = table["layer"].fillna(-1).astype(int)
    return table.astype({"value": float})


def summarise(
    measure: str, values: pd.DataFrame, tasks: Sequence[str], directed: bool, permutations: int = 0, seed: int = 0
) -> pa.Table:
    """The table (`schemas.CORRELATION`) of a measure's `values` (`VALUES`): the answer first, then each seed.

    The answer stands in the rows whose seed is null: of several seeds their mean with error and null over the seeds
    (`checks`: their sum), of one seed the same as that seed's own rows. Both orders of each pair, layer -1 (all
    layers) first. Tasks that `values` does not name get null values and take no part in permutations;
    `permutations=0` leaves the null's columns null. The answer depends neither on the order of the rows nor, but for
    the order of its own rows, on that of `tasks`.
    Raises ValueError if a task is named twice, or a term holds a pair twice in a layer (values of several runs).
    """
    if len(set(tasks)) != len(tasks):
        raise ValueError(f"a task is named twice: {list(tasks)}")
    over_terms = bool(values["term"].notna().all())
    seeds = sorted(values["seed"].dropna().unique())
    parts: list[tuple[int | None, _Cube, Columns]] = []
    for number in seeds:
        cube = _cube(values[values["seed"] == number], directed)
        parts.append((int(number), cube, _columns(cube, permutations if over_terms else 0, seed)))
    if len(parts) > 1:
        cube = _cube(pd.concat([_as_term(*part) for part in parts], ignore_index=True), directed)
        answer = _columns(cube, permutations, seed)
        answer["checks"] = np.sum([part[2]["checks"] for part in parts], axis=0)
        parts.insert(0, (None, cube, answer))
    elif parts:
        parts.insert(0, (None, *parts[0][1:]))
    else:
        cube = _cube(values, directed)
        parts = [(None, cube, _columns(cube, permutations if over_terms else 0, seed))]
    rows = [row for part in parts for row in _rows(measure, *part, tasks, over_terms)]
    return pa.Table.from_pylist(rows, schema=schemas.CORRELATION)


@dataclass(frozen=True)
class _Cube:
    """All values, in an order that depends on names alone. A symmetric measure's pairs stand once."""

    values: np.ndarray  # (terms, pairs, layers), NaN where unknown
    layers: list[int]  # ascending, so that -1 (all layers) is first
    first: np.ndarray  # (pairs,) places of the pairs' tasks in `names`
    second: np.ndarray
    pair_index: np.ndarray  # (tasks, tasks): the pair's place on the second axis
    names: dict[str, int]


def _cube(frame: pd.DataFrame, directed: bool) -> _Cube:
    names = {task: place for place, task in enumerate(sorted({*frame["source"], *frame["target"]}))}
    pair_index = np.zeros((len(names), len(names)), dtype=np.int64)
    first, second = np.nonzero(~np.eye(len(names), dtype=bool)) if directed else np.triu_indices(len(names), k=1)
    pair_index[first, second] = np.arange(len(first))
    if not directed:
        pair_index[second, first] = np.arange(len(first))
    pair = pair_index[frame["source"].map(names).to_numpy(int), frame["target"].map(names).to_numpy(int)]
    term, _ = pd.factorize(frame["term"], sort=True, use_na_sentinel=False)
    layers = sorted({schemas.ALL_LAYERS, *(int(layer) for layer in frame["layer"].unique())})
    place = pd.DataFrame({"term": term, "pair": pair, "layer": frame["layer"].to_numpy(int)})
    if place.duplicated().any():
        raise ValueError("a term holds a pair of tasks twice in one layer: are these the values of several runs?")
    values = np.full((int(term.max(initial=-1)) + 1, len(first), len(layers)), np.nan)
    value = frame["value"].to_numpy(dtype=float, na_value=np.nan)
    values[term, pair, np.searchsorted(layers, place["layer"])] = np.where(np.isfinite(value), value, np.nan)
    return _Cube(values, layers, first, second, pair_index, names)


def _as_term(number: int | None, cube: _Cube, columns: Columns) -> pd.DataFrame:
    """The means of one seed as one term of the answer."""
    names = np.array(list(cube.names))
    pairs, layers = len(cube.first), len(cube.layers)
    return pd.DataFrame(
        {
            "term": number,
            "source": np.repeat(names[cube.first], layers),
            "target": np.repeat(names[cube.second], layers),
            "layer": np.tile(cube.layers, pairs),
            "value": columns["value"].ravel(),
        }
    )


def _columns(cube: _Cube, permutations: int, seed: int) -> Columns:
    count, value, error = _over_terms(cube.values)
    columns = {"value": value, "checks": count, "standard_error": error}
    return columns | _null(cube, value, permutations, np.random.default_rng(seed))


def _over_terms(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of terms, mean over them, standard error of that mean (NaN for fewer than two)."""
    count, mean = known_count_and_mean(values)
    squares = np.where(np.isnan(values), 0.0, (values - mean) ** 2).sum(axis=0)
    variance = np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=count > 1)
    return count, mean, np.sqrt(variance / np.maximum(count, 1))


def _null(cube: _Cube, value: np.ndarray, permutations: int, generator: np.random.Generator) -> Columns:
    """Mean and 95th percentile of the null and the p value, each of the shape of `value`, (pairs, layers)."""
    result = {name: np.full(value.shape, np.nan) for name in ("null_mean", "null_upper", "p_value")}
    if permutations < 1 or not cube.values.size:
        return result
    for block, null in _null_blocks(cube, permutations, generator):
        count, mean = known_count_and_mean(null)
        at_least = (null >= value[block] - TIE_TOLERANCE).sum(axis=0)
        result["null_mean"][block] = mean
        result["null_upper"][block] = _quantile(null, count, NULL_LEVEL)
        result["p_value"][block] = np.where(np.isnan(value[block]), np.nan, (1 + at_least) / (1 + count))
    return result


def _null_blocks(cube: _Cube, permutations: int, generator: np.random.Generator) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of pairs with their null values, (permutations, pairs of the block, layers)."""
    terms, pairs, depth = cube.values.shape
    order = np.broadcast_to(np.arange(len(cube.names), dtype=np.int32), (terms, permutations, len(cube.names)))
    order = generator.permuted(order, axis=2)
    known = ~np.isnan(cube.values)
    values = np.where(known, cube.values, 0.0)
    size = max(1, BLOCK_VALUES // (permutations * depth))
    for start in range(0, pairs, size):
        block = slice(start, start + size)
        first, second = cube.first[block], cube.second[block]
        total = np.zeros((permutations, len(first), depth))
        count = np.zeros((permutations, len(first), depth), dtype=np.int32)
        for term in range(terms):
            drawn = cube.pair_index[order[term][:, first], order[term][:, second]]  # (permutations, block)
            total += values[term][drawn]
            count += known[term][drawn]
        yield block, np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _quantile(values: np.ndarray, count: np.ndarray, level: float) -> np.ndarray:
    """Quantile over the first axis, linear between neighbours, of the `count` values that are not NaN."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    place = np.maximum(count - 1, 0) * level
    below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (below, above))
    return low + (high - low) * (place - below)


def _rows(
    measure: str, number: int | None, cube: _Cube, columns: Columns, tasks: Sequence[str], over_terms: bool
) -> Iterator[dict[str, Any]]:
    """One row a layer and an ordered pair of tasks; pairs outside the cube are null, with 0 checks."""
    for depth, layer in enumerate(cube.layers):
        for source in tasks:
            for target in tasks:
                if source == target:
                    continue
                row = {"measure": measure, "layer": layer, "seed": number, "source": source, "target": target}
                row["checks"] = 0
                if source in cube.names and target in cube.names:
                    place = cube.pair_index[cube.names[source], cube.names[target]]
                    row |= {name: or_none(column[place, depth].item()) for name, column in columns.items()}
                if not over_terms:
                    row["checks"] = None
                yield row
