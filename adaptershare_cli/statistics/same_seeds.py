"""Methods trained with the same seeds: how much better one is than another, and which are not told from the best.

Values are V(m, s) of M methods and S seeds. As in `statistics.verdict`, what seeds do to a difference is estimated from
all methods together, sigma² being the residual variance of the two-way analysis of variance without replication:

    V(a, .) - V(b, .)  +-  t * sqrt(2 / S) * sigma,    t of (M - 1)(S - 1) degrees of freedom

So two seeds suffice for an interval, which is then wide. It speaks of other seeds on the same rows, not of other rows.
"""

from __future__ import annotations

import math

import numpy as np

from adaptershare_cli.statistics.verdict import LEVEL, Difference, residual_variance


def paired(values: np.ndarray, one: int, other: int, together: int = 1) -> Difference:
    """How much more the method in row `one` of `values` (M, S) has than that in row `other`.

    The 95 % hold for so many intervals `together` (Bonferroni). With one seed the errors are NaN.
    """
    from scipy.stats import t

    methods, seeds = values.shape
    degrees = (methods - 1) * (seeds - 1)
    quantile = float(t.ppf(1 - LEVEL / 2 / together, degrees)) if degrees else math.nan
    error = math.sqrt(residual_variance(values) * 2 / seeds)
    return Difference(float((values[one] - values[other]).mean()), error, 0.0, quantile)


def p_values(values: np.ndarray, one: int) -> np.ndarray:
    """Two-sided p (M,) of each method of `values` (M, S) being no other than that in row `one`; NaN for itself.

    NaN for all with one seed. Not corrected for how many there are: see `holm`.
    """
    from scipy.stats import t

    methods, seeds = values.shape
    found = np.full(methods, np.nan)
    if seeds < 2:
        return found
    for other in range(methods):
        difference = paired(values, one, other)
        if other == one or math.isnan(difference.error):
            continue
        if difference.error == 0:
            found[other] = float(difference.gain == 0)
        else:
            ratio = abs(difference.gain) / difference.error
            found[other] = 2 * t.sf(ratio, (methods - 1) * (seeds - 1))
    return found


def holm(found: np.ndarray) -> np.ndarray:
    """p values (N,) corrected for their number, NaN left out: Holm 1979.

    adjusted of the k-th smallest of n  =  max over j <= k of  min(1, (n - j + 1) * p_(j))
    """
    adjusted = np.full(found.shape, np.nan)
    known = np.flatnonzero(~np.isnan(found))
    order = known[np.argsort(found[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * found[order])) if len(order) else []
    return adjusted
