"""Two runs that answered the same rows: how much better one is, and what of that is chance.

Rows are drawn with replacement, the same for both runs, and the difference of a metric is taken in each draw: the
paired bootstrap. Rows of one text were drawn together, so they are drawn together again: a *cluster*. Of several seeds
each is a pair of runs; they are drawn with replacement too, independently of the rows. The interval lies between the
2.5th and the 97.5th percentile. With few seeds it is too narrow, as few seeds hold little of what seeds do: by a
factor of sqrt((S - 1) / S) for that part.

Whether one run is right more often than the other is an exact sign test over clusters: the sum over a cluster's rows,
and over the seeds, of (A is right) - (B is right) is as often above 0 as below it where neither run is better. Where
texts do not repeat, and for one seed, that is McNemar's exact test. It speaks of other rows, not of other seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.statistics.missing import known_interval

DRAWS = 2000
BLOCK_VALUES = 4_000_000  # copies of rows that are held at a time (32 MB)


@dataclass(frozen=True)
class Difference:
    """A metric of two runs, or of runs of several seeds (S,), and of D draws what A has more than B (D,).

    `a` and `b` are NaN where the metric is undefined; so are the numbers that are made of them.
    """

    a: np.ndarray
    b: np.ndarray
    draws: np.ndarray

    @property
    def value(self) -> float:
        """How much more A has than B, the mean over the seeds."""
        return float((self.a - self.b).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %."""
        low, high = known_interval(self.draws[:, None])
        return float(low[0]), float(high[0])


def clusters_of(contents: Sequence[object]) -> np.ndarray:
    """A whole number for each row (N,), from 0 on: the same for rows of the same content."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(content, len(numbers)) for content in contents], dtype=np.int64)


def drawn_copies(clusters: np.ndarray, purpose: str, draws: int | None = None) -> Iterator[np.ndarray]:
    """How often each row is in each draw, in blocks (d, N) of all (by default `DRAWS`) draws.

    `clusters` (N,) are numbered from 0; the rows of one are drawn together.
    """
    generator = np.random.default_rng(derive_seed(0, "paired bootstrap", purpose))
    count, draws = int(clusters.max(initial=-1)) + 1, draws or DRAWS
    size = max(1, BLOCK_VALUES // max(1, len(clusters)))
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = generator.integers(count, size=(rows, count))
        copies = np.stack([np.bincount(one, minlength=count) for one in drawn])
        yield copies[:, clusters]


def over_seeds(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> Difference:
    """The difference from each seed's metrics (S,) and the differences (D, S) of its draws of rows.

    Each draw takes S of the seeds, with replacement: the same whatever the task and the metric.
    """
    count, seeds = draws.shape
    generator = np.random.default_rng(derive_seed(0, "paired bootstrap", "seeds"))
    drawn = generator.integers(seeds, size=(count, seeds))
    return Difference(a, b, np.take_along_axis(draws, drawn, axis=1).mean(axis=1))


def mean_difference(differences: Sequence[Difference]) -> Difference:
    """The mean of differences, of several splits or tasks with the same number of draws.

    Where they are of different numbers of seeds, each counts by its mean over them.
    """
    if len({len(one.a) for one in differences}) > 1:
        sides = [np.array([[getattr(one, side).mean()] for one in differences]) for side in ("a", "b")]
    else:
        sides = [np.array([getattr(one, side) for one in differences]) for side in ("a", "b")]
    a, b = (values.mean(axis=0) for values in sides)
    return Difference(a, b, np.mean([one.draws for one in differences], axis=0))


def sign_test(values: np.ndarray, clusters: np.ndarray) -> float:
    """Two-sided exact p of the sums over clusters of `values` (N,) being as often above 0 as below it; 1 for none."""
    from scipy.stats import binomtest

    sums = np.bincount(clusters, weights=values)
    above, below = int((sums > 0).sum()), int((sums < 0).sum())
    return float(binomtest(above, above + below).pvalue) if above + below else 1.0


def spread_over(values: np.ndarray) -> float:
    """Standard deviation over the seeds (S,); NaN for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
