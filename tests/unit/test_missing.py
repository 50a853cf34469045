"""What is said where some values are unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adaptershare_cli.statistics.missing import known_count_and_mean, known_interval, known_mean, or_none

SHEETS = arrays(float, (5, 3), elements=st.floats(-1e6, 1e6) | st.just(math.nan))


@settings(max_examples=50, deadline=None)
@given(SHEETS)
def test_count_and_mean_against_a_loop(values: np.ndarray) -> None:
    count, mean = known_count_and_mean(values)
    for column in range(3):
        known = [value for value in values[:, column] if value == value]
        assert count[column] == len(known)
        expected = sum(known) / len(known) if known else math.nan
        assert mean[column] == pytest.approx(expected, nan_ok=True)
    np.testing.assert_array_equal(known_mean(values.T, axis=1), mean)


def test_an_interval_leaves_out_what_is_unknown() -> None:
    draws = np.array([[math.nan, math.nan], [1.0, math.nan], [3.0, math.nan]])
    low, high = known_interval(draws)
    assert (low[0], high[0]) == pytest.approx((1.05, 2.95)) and np.isnan([low[1], high[1]]).all()


def test_unknown_numbers_are_null_and_others_stay_what_they_are() -> None:
    assert [or_none(value) for value in (math.nan, math.inf, np.float64("nan"))] == [None] * 3
    kept = [or_none(value) for value in (2, 0.5, np.int64(2), np.float64(0.5))]
    assert kept == [2, 0.5, 2, 0.5] and [type(value) for value in kept] == [int, float, int, float]
