"""Methods with the same seeds: intervals, p values and their correction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from adaptershare_cli.statistics.same_seeds import holm, p_values, paired

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array)


def test_of_two_methods_it_is_the_paired_t_test() -> None:
    values = np.array([[61.0, 64.5, 60.2, 63.3], [60.1, 62.0, 60.4, 61.0]])
    expected = ttest_rel(*values)
    difference = paired(values, 0, 1)
    assert difference.gain == pytest.approx((values[0] - values[1]).mean())
    assert difference.interval == pytest.approx(
        (expected.confidence_interval().low, expected.confidence_interval().high)
    )
    assert p_values(values, 0)[1] == pytest.approx(expected.pvalue) and math.isnan(p_values(values, 0)[0])


def test_more_intervals_together_are_wider_and_a_seed_for_all_changes_nothing() -> None:
    values = np.array([[1.0, 2.1, 3.3], [0.5, 1.4, 2.2], [0.9, 2.4, 2.9]])
    one, three = paired(values, 0, 1), paired(values, 0, 1, together=3)
    assert three.interval[0] < one.interval[0] and three.gain == one.gain
    moved = paired(values + np.array([5.0, -3.0, 0.5]), 0, 1)
    assert moved.interval == pytest.approx(one.interval)


def test_one_seed_or_one_method_tells_nothing() -> None:
    one = paired(np.array([[1.0], [0.0]]), 0, 1)
    assert one.gain == 1 and math.isnan(one.error) and one.sign == 0
    assert np.isnan(p_values(np.array([[1.0], [0.0]]), 0)).all()
    assert np.isnan(p_values(np.array([[1.0, 2.0]]), 0)).all()


def test_methods_that_differ_by_the_same_with_every_seed() -> None:
    values = np.array([[1.0, 2.0], [0.5, 1.5], [1.0, 2.0]])
    assert p_values(values, 0)[1:].tolist() == pytest.approx([0.0, 1.0])


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, np.nan])).tolist()[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(holm(np.array([np.nan, 0.5]))[0]) and holm(np.array([])).shape == (0,)


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(values: np.ndarray) -> None:
    found = holm(values)
    assert (found >= values - 1e-12).all() and (found <= np.minimum(1, values * len(values)) + 1e-12).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
