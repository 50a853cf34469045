"""Values of which some are unknown (NaN), and what can be said without these."""

from __future__ import annotations

import numpy as np

INTERVAL = (0.025, 0.975)


def or_none(value: float) -> float | None:
    """The number for a table, in which an unknown one is null; a whole number stays one."""
    return None if np.isnan(value) else value


def known_count_and_mean(values: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How many values along an axis are known, and their mean (NaN for none)."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return count, np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def known_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean over an axis of the values that are known; NaN where there are none."""
    return known_count_and_mean(values, axis)[1]


def known_interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """2.5th and 97.5th percentile over the first axis of the draws that are not NaN; NaN where there are none."""
    empty = np.isnan(draws).all(axis=0)
    low, high = np.nanquantile(np.where(empty, 0.0, draws), INTERVAL, axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
