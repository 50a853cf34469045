"""The verdict on a plan: what is uncertain of a difference, the spread of plans, a plan's place, and what is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.statistics.verdict import (
    Difference,
    Spread,
    answer,
    difference,
    place,
    residual_variance,
    spread,
)


def values(seed: int, plans: int, seeds: int, of_plans: float, of_seeds: float, noise: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    effects = of_plans * random.normal(size=(plans, 1)) + of_seeds * random.normal(size=(1, seeds))
    return 0.7 + effects + noise * random.normal(size=(plans, seeds))


class TestSpread:
    def test_is_the_two_way_analysis_of_variance(self):
        """Against sums of squares as textbooks give them."""
        table = values(0, 5, 3, 0.02, 0.01, 0.005)
        found = spread(table)
        grand = table.mean()
        rows = 3 * ((table.mean(axis=1) - grand) ** 2).sum()
        columns = 5 * ((table.mean(axis=0) - grand) ** 2).sum()
        rest = ((table - grand) ** 2).sum() - rows - columns
        assert residual_variance(table) == pytest.approx(rest / 8)
        assert found.seeds == pytest.approx(math.sqrt(rest / 8))
        assert found.plans == pytest.approx(math.sqrt((rows / 4 - rest / 8) / 3))

    def test_plans_that_differ_by_chance_alone_are_called_different_as_often_as_the_level_says(self):
        found = [spread(values(seed, 10, 2, 0.0, 0.02, 0.01)).p_value for seed in range(400)]
        assert np.mean(np.array(found) < 0.05) < 0.09 and np.mean(np.array(found) < 0.5) > 0.4

    def test_plans_that_differ_are_found(self):
        found = [spread(values(seed, 20, 2, 0.02, 0.02, 0.01)) for seed in range(50)]
        assert np.mean([one.p_value < 0.05 for one in found]) > 0.95
        assert np.mean([one.plans for one in found]) == pytest.approx(0.02, rel=0.15)
        assert np.mean([one.seeds for one in found]) == pytest.approx(0.01, rel=0.15)

    def test_too_few_to_tell(self):
        for shape in ((1, 3), (4, 1)):
            assert math.isnan(spread(np.ones(shape)).p_value)

    @given(st.integers(2, 6), st.integers(2, 4), st.integers(0, 100))
    def test_what_all_plans_have_with_a_seed_is_no_spread(self, plans: int, seeds: int, seed: int):
        table = values(seed, plans, seeds, 0.01, 0.0, 0.01)
        moved = table + np.random.default_rng(seed).normal(size=(1, seeds))
        assert spread(moved).seeds == pytest.approx(spread(table).seeds)
        assert residual_variance(moved) == pytest.approx(residual_variance(table))


class TestDifference:
    def test_rows_by_the_jackknife_are_the_standard_error_of_a_mean(self):
        """Parts of one row each, of a mean: the jackknife is exact."""
        random = np.random.default_rng(0)
        rows = random.normal(size=40)
        left_out = (rows.sum() - rows) / 39
        found = difference(np.array([0.8]), np.array([0.7]), 0.0, left_out)
        assert found.row_error == pytest.approx(rows.std(ddof=1) / 40**0.5)
        assert found.gain == pytest.approx(0.1)

    def test_its_interval_covers_the_truth(self):
        hits = 0
        for seed in range(300):
            random = np.random.default_rng(seed)
            chosen, other = 0.01 + 0.02 * random.normal(size=4), 0.02 * random.normal(size=4)
            low, high = difference(chosen, other, 0.02, np.zeros(20)).interval
            hits += low <= 0.01 <= high
        assert 0.9 < hits / 300 < 0.99

    def test_what_it_takes(self):
        """With so many seeds, or so many rows, the difference is `POWER` standard errors."""
        found = Difference(0.01, seed_error=0.008, row_error=0.002)
        seeds, rows = found.needed(seeds=2)
        error = math.hypot(0.008 * math.sqrt(2 / seeds), 0.002)
        assert 0.01 / error == pytest.approx(2.8) and rows == 1
        seeds, rows = Difference(0.01, 0.001, 0.005).needed(2)
        assert seeds == math.inf and 0.01 / (0.005 / math.sqrt(rows)) == pytest.approx(2.8)
        assert Difference(0.0, 0.1, 0.1).needed(2) == (math.inf, math.inf)


class TestPlace:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
    def test_laws(self, others: list[float], chosen: float):
        percentile, p_value = place(chosen, np.array(others))
        assert 0 <= percentile <= 100 and 1 / (len(others) + 1) <= p_value <= 1
        assert place(2.0, np.array(others)) == (100, 1 / (len(others) + 1))
        assert place(-1.0, np.array(others)) == (0, 1)

    def test_nobody_to_stand_among(self):
        assert all(map(math.isnan, place(0.5, np.array([]))))


PLUS, MINUS, NONE = (Difference(gain, 0.003, 0.003) for gain in (0.02, -0.02, 0.002))
SAME, APART = Spread(0.0, 0.004, 0.4), Spread(0.01, 0.004, 0.001)


@pytest.mark.parametrize(
    ("shared", "private", "both", "plans", "said"),
    [
        (PLUS, PLUS, NONE, APART, "share as planned"),
        (PLUS, PLUS, NONE, SAME, "share as planned"),
        (NONE, PLUS, PLUS, APART, "share all"),
        (MINUS, NONE, PLUS, APART, "share all"),
        (PLUS, NONE, MINUS, APART, "keep apart"),
        (NONE, MINUS, MINUS, SAME, "keep apart"),
        (NONE, NONE, NONE, SAME, "nothing to find"),
        (NONE, NONE, NONE, APART, "cannot tell"),
        (PLUS, NONE, NONE, SAME, "cannot tell"),
        (None, PLUS, PLUS, SAME, "share all"),
        (None, NONE, NONE, SAME, "nothing to find"),
        (PLUS, None, MINUS, APART, "keep apart"),
    ],
)
def test_the_answer(shared, private, both, plans, said):
    assert answer(shared, private, both, plans) == said
