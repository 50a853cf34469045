"""Is a plan worth it? Its value beside sharing all, keeping apart, and random plans, and what the answer rests on.

A plan's value is V(p, s): the mean over tasks of the main metric on scored rows, trained with seed s. Plans are paired
by seed and by row, so what is uncertain of a difference V(p) - V(q) is

    seeds:  sqrt(2 / S) * sigma,  sigma² = mean square of  V(p, s) - V(p, .) - V(., s) + V(., .)  over all plans that
            were trained (two-way analysis of variance without replication; plans share groups, so it is rather low)
    rows:   sqrt((J - 1) / J * sum over j of (d_j - d.)²),  d_j the difference without the j-th of J parts of the rows
            (delete-a-group jackknife, a text never in two parts)

and its standard error the root of both squares' sum. Whether plans differ at all beyond what seeds do is the F test of
the same analysis, over the random plans. The chosen plan's place among N random ones of its sizes is
p = (1 + how many are at least as good) / (N + 1): Phipson and Smyth 2010.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.05
QUANTILE = 1.96  # of the interval
POWER = 2.8  # standard errors that a difference must have to be told four times out of five: 1.96 + 0.84

Answer = Literal["share as planned", "share all", "keep apart", "nothing to find", "cannot tell"]


@dataclass(frozen=True)
class Difference:
    """How much higher the chosen plan's value is than another's, in metric units, and what is uncertain of it.

    The interval ends `quantile` standard errors to either side.
    """

    gain: float
    seed_error: float
    row_error: float
    quantile: float = QUANTILE

    @property
    def error(self) -> float:
        """The standard error."""
        return math.hypot(self.seed_error, self.row_error)

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, unless `quantile` says otherwise."""
        return self.gain - self.quantile * self.error, self.gain + self.quantile * self.error

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0, else 0."""
        low, high = self.interval
        return int(low > 0) - int(high < 0)

    def needed(self, seeds: int) -> tuple[float, float]:
        """(seeds, rows as a multiple of those there are) with which such a difference could be told.

        More seeds with the rows that there are, inf where these do not suffice however many seeds; and more rows with
        infinitely many seeds, 1 where there are enough.
        """
        if not self.gain:
            return math.inf, math.inf
        allowed = (self.gain / POWER) ** 2
        left = allowed - self.row_error**2
        return (seeds * self.seed_error**2 / left if left > 0 else math.inf), max(1.0, self.row_error**2 / allowed)


@dataclass(frozen=True)
class Spread:
    """How much the values of plans differ: standard deviations between plans (what seeds add taken off) and of seeds.

    `p_value` is that of plans that differ by nothing but chance; NaN where there are too few to tell.
    """

    plans: float
    seeds: float
    p_value: float


def spread(values: np.ndarray) -> Spread:
    """The analysis of the values (P, S) of P plans with the same S seeds."""
    from scipy.stats import f

    plans, seeds = values.shape
    if plans < 2 or seeds < 2:
        return Spread(float(np.std(values.mean(axis=1), ddof=1)) if plans > 1 else math.nan, math.nan, math.nan)
    between = seeds * np.var(values.mean(axis=1), ddof=1)
    left = residual_variance(values)
    found = math.sqrt(max(0.0, (between - left) / seeds))
    p_value = float(f.sf(between / left, plans - 1, (plans - 1) * (seeds - 1))) if left > 0 else float(between <= 0)
    return Spread(found, math.sqrt(left), p_value)


def residual_variance(values: np.ndarray) -> float:
    """sigma² of values (P, S); NaN for a single plan or seed."""
    plans, seeds = values.shape
    if plans < 2 or seeds < 2:
        return math.nan
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return float((left**2).sum() / ((plans - 1) * (seeds - 1)))


def difference(chosen: np.ndarray, other: np.ndarray, sigma: float, parts: np.ndarray) -> Difference:
    """Of two plans' values (S,), with `sigma` as above and the difference without each part of the rows (J,)."""
    count = len(parts)
    rows = math.sqrt((count - 1) / count * float(((parts - parts.mean()) ** 2).sum())) if count > 1 else math.nan
    return Difference(float((chosen - other).mean()), sigma * math.sqrt(2 / len(chosen)), rows)


def place(chosen: float, others: np.ndarray) -> tuple[float, float]:
    """The chosen value's percentile among others (N,), and p; NaN where there are none."""
    if not len(others):
        return math.nan, math.nan
    better = int((others >= chosen).sum())
    return 100 * float((others < chosen).mean()), (1 + better) / (len(others) + 1)


def answer(shared: Difference | None, private: Difference | None, both: Difference, plans: Spread) -> Answer:
    """What to do.

    `shared` and `private`: how much better the chosen plan is than sharing all, and than keeping all apart (None: it is
    that plan itself); `both`: how much better sharing all is than keeping apart; `plans`: of random plans.
    """
    others = [difference for difference in (shared, private) if difference is not None]
    if shared is not None and private is not None and all(difference.sign > 0 for difference in others):
        return "share as planned"
    if both.sign > 0 and (shared is None or shared.sign <= 0):
        return "share all"
    if both.sign < 0 and (private is None or private.sign <= 0):
        return "keep apart"
    if plans.p_value > LEVEL and not both.sign and not any(difference.sign > 0 for difference in others):
        return "nothing to find"
    return "cannot tell"
