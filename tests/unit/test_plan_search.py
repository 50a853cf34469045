"""The search for a plan: what is predicted, what is proposed and trained, what the budget allows, and climbing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.statistics import plan_search
from adaptershare_cli.statistics.climb import climb
from adaptershare_cli.statistics.partitions import best_partition, mask_of, members_of, partitions
from adaptershare_cli.statistics.plan_search import (
    RIDGE,
    START,
    Model,
    best_trained,
    fit,
    scaled,
    search,
    without_optimism,
)


class World:
    """Tasks whose true gains add up from pairs, and an account of what was trained."""

    def __init__(self, count: int, seed: int, noise: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.count, self.pairs = count, random.normal(size=(count, count)) / 100
        np.fill_diagonal(self.pairs, 0)
        self.noise, self.random, self.trained = noise, random, []

    def gains(self, mask: int) -> np.ndarray:
        members = list(members_of(mask))
        found = np.full(self.count, np.nan)
        found[members] = self.pairs[np.ix_(members, members)].sum(axis=0) / np.sqrt(max(1, len(members) - 1))
        return found

    def value(self, mask: int) -> float:
        return float(np.nansum(self.gains(mask)))

    def train(self, masks: list[int]) -> dict[int, np.ndarray]:
        self.trained += masks
        return {mask: self.gains(mask) + self.noise * self.random.normal(size=self.count) for mask in masks}

    def best(self) -> float:
        return max(sum(map(self.value, partition)) for partition in partitions(self.count))


class TestModel:
    def test_scaled(self):
        measure = np.array([[9.0, 1.0, 0.0, np.nan], [2.0, 9.0, 0.0, 3.0], [4.0, 5.0, 9.0, 3.0], [6.0, 3.0, 0.0, 9.0]])
        found = scaled(measure)
        assert found[1:, 0] == pytest.approx(np.array([2, 4, 6]) / np.std([2, 4, 6]))
        assert not found[:, 2].any() and not found[:, 3].any() and not np.diag(found).any()

    def test_nothing_known_is_the_prior_alone(self):
        prior = np.arange(9.0).reshape(3, 3)
        gains = fit(prior, {}).gains(0b111)
        assert gains == pytest.approx(START * np.array([3 + 6, 1 + 7, 2 + 5]) / np.sqrt(2))
        assert fit(prior, {}).gains(0b010)[1] == 0 and np.isnan(fit(prior, {}).gains(0b010)[[0, 2]]).all()

    def test_weights_are_ridge_regression_to_what_the_prior_leaves(self):
        from sklearn.linear_model import Ridge

        world, prior = World(4, 0), np.random.default_rng(1).normal(size=(4, 4))
        known = world.train([0b0011, 0b0111, 0b1101, 0b1111])
        model = fit(prior, known)
        rows, left = [], []
        for mask, gains in known.items():
            sources = [s for s in members_of(mask) if s != 0]
            if mask & 1:
                rows.append([(s in sources) / np.sqrt(len(sources)) for s in range(4)])
                left.append(gains[0] - model.c * prior[sources, 0].sum() / np.sqrt(len(sources)))
        theirs = Ridge(alpha=RIDGE, fit_intercept=False).fit(rows, left)
        assert model.weights[:, 0] == pytest.approx(theirs.coef_)

    def test_a_prior_that_tells_the_gains_is_believed_and_one_that_tells_their_opposite_is_not(self):
        world = World(4, 0)
        known = world.train([mask for mask in range(1, 16) if mask.bit_count() > 1])
        spread = world.pairs.std()
        assert fit(world.pairs / spread, known).c == pytest.approx(spread, rel=0.4)
        assert fit(-world.pairs / spread, known).c == 0


class TestSearch:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(2, 5), st.integers(0, 1000), st.integers(0, 60))
    def test_laws(self, count: int, seed: int, budget: int):
        world = World(count, seed, noise=0.01)
        found = search(np.random.default_rng(seed).normal(size=(count, count)), world.train, budget)
        assert sum(found.partition) == (1 << count) - 1
        assert len(set(world.trained)) == len(world.trained) and all(mask.bit_count() > 1 for mask in world.trained)
        spent = sum(mask.bit_count() for mask in world.trained)
        assert spent <= max(0, budget - count)
        assert all(mask.bit_count() == 1 or mask in world.trained for mask in found.partition)
        assert found.value >= 0  # all alone is always there
        assert [r.spent for r in found.rounds] == sorted(r.spent for r in found.rounds)
        if found.rounds:
            assert found.rounds[-1].spent == spent + count
        # It is the best of all partitions whose groups were trained, by what was measured.
        measured = {mask: float(np.nansum(gains)) for mask, gains in found.gains.items()}
        values = np.array(
            [0.0, *(measured.get(m, -np.inf if m.bit_count() > 1 else 0.0) for m in range(1, 1 << count))]
        )
        assert found.value == pytest.approx(best_partition(values)[1])

    def test_with_budget_enough_it_is_the_best_of_all(self):
        for seed in range(5):
            world = World(5, seed)
            found = search(np.zeros((5, 5)), world.train, 1000)
            assert found.value == pytest.approx(world.best()) and len(world.trained) == 2**5 - 1 - 5

    def test_a_good_measure_finds_it_with_little_and_a_bad_one_is_overruled(self):
        good, bad, blind = [], [], []
        for seed in range(12):
            for kept, sign in ((good, 1), (bad, -1), (blind, 0)):
                world = World(6, seed)
                kept.append(search(sign * world.pairs, world.train, 3 * 6).value / world.best())
        assert np.mean(good) > 0.95 and np.mean(good) > np.mean(blind) + 0.1
        assert np.mean(bad) > 0.2  # measured values decide in the end

    def test_scaled_gains_count_by_how_much_they_differ(self):
        """0 helps 1 by much and loses little, but 0 never gains or loses more than that little."""
        world = World(3, 0)
        world.pairs[:] = [[0, 0.02, 0], [-0.005, 0, 0.0], [-0.004, 0, 0]]
        assert search(world.pairs, world.train, 100).partition[0] & 0b11 == 0b11
        found = search(world.pairs, world.train, 100, scale=True)
        rms = {t: np.sqrt(np.nanmean([g[t] ** 2 for g in found.gains.values()])) for t in range(2)}
        gains = found.gains[0b011]
        assert (gains[1] / rms[1] + gains[0] / rms[0] > 0) == (found.partition[0] & 0b11 == 0b11)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(2, 5), st.integers(0, 1000), st.integers(0, 60))
    def test_laws_of_random_proposals(self, count: int, seed: int, budget: int):
        world = World(count, seed, noise=0.01)
        found = search(np.zeros((count, count)), world.train, budget, random=np.random.default_rng(seed))
        spent = sum(mask.bit_count() for mask in world.trained)
        assert spent <= max(0, budget - count) and len(set(world.trained)) == len(world.trained)
        for step in found.rounds:  # a plan is trained whole, so that each is one of the random plans that count
            assert all(mask.bit_count() == 1 or mask in found.gains for mask in step.partition)
        assert found.value == best_trained(found.gains, np.ones(count))[1] >= 0

    def test_a_good_measure_beats_random_plans_at_the_same_cost(self):
        guided, blind = [], []
        for seed in range(6):
            world = World(6, seed)
            guided.append(search(world.pairs, world.train, 18).value)
            blind.append(search(world.pairs, World(6, seed).train, 18, random=np.random.default_rng(seed)).value)
        assert np.mean(guided) > np.mean(blind)

    def test_the_same_answers_are_the_same_search(self):
        first, second = (search(np.zeros((5, 5)), World(5, 3).train, 22) for _ in range(2))
        assert first.partition == second.partition and first.rounds == second.rounds


class TestOptimism:
    def test_chosen_by_noise_is_worth_nothing_on_the_other_half(self):
        on_those, apart = [], []
        for seed in range(200):
            random, masks = np.random.default_rng(seed), [m for m in range(1, 16) if m.bit_count() > 1]
            halves = [{m: np.where([m >> t & 1 for t in range(4)], random.normal(size=4), np.nan) for m in masks}
                      for _ in range(2)]  # fmt: skip
            both = {mask: (halves[0][mask] + halves[1][mask]) / 2 for mask in masks}
            on_those.append(best_trained(both, np.ones(4))[1])
            apart.append(without_optimism([(halves[0], halves[1]), (halves[1], halves[0])], np.ones(4)))
        assert np.mean(on_those) > 1 and abs(np.mean(apart)) < 4 * np.std(apart) / 200**0.5 < 0.6

    def test_what_is_there_on_both_halves_stays(self):
        gains = World(4, 3).train([0b0011, 0b1100, 0b0101, 0b1111])
        assert without_optimism([(gains, gains)], np.ones(4)) == pytest.approx(best_trained(gains, np.ones(4))[1])

    def test_all_alone_is_worth_nothing(self):
        losses = {0b11: np.array([-1.0, -1.0])}
        assert without_optimism([(losses, losses)], np.ones(2)) == 0


class TestClimb:
    def test_against_the_exact_answer(self):
        share = []
        for seed in range(20):
            world = World(7, seed)
            found = climb(world.value, 7)
            assert sum(found) == 127
            exact = best_partition(np.array([0.0, *map(world.value, range(1, 128))]))[1]
            share.append(sum(map(world.value, found)) / exact)
        assert np.mean(share) > 0.97 and max(share) <= 1 + 1e-9

    def test_only_what_is_wanted(self):
        wanted = mask_of([0, 3])
        found = climb(lambda mask: -(mask.bit_count() ** 2), 5, wanted=lambda mask: mask == wanted)
        assert found == (wanted, 2, 4, 16)
        assert climb(lambda mask: 0.0, 3, wanted=lambda mask: False) is None

    def test_many_tasks_are_searched_by_climbing(self):
        """Five planted groups of three among fifteen tasks, which the measure knows nearly."""
        block = np.kron(np.eye(5), np.ones((3, 3)))
        truth = np.where(block > 0, 0.02, -0.02)
        np.fill_diagonal(truth, 0)
        world = World(15, 0)
        world.pairs = truth
        found = search(truth + 0.01 * np.random.default_rng(0).normal(size=(15, 15)), world.train, 45)
        assert found.partition == tuple(0b111 << 3 * number for number in range(5))

    def test_climbing_and_the_exact_search_agree_where_both_can(self, monkeypatch):
        exact = search(World(5, 1).pairs, World(5, 1).train, 30)
        monkeypatch.setattr(plan_search, "EXACT_TASKS", 0)
        climbed = search(World(5, 1).pairs, World(5, 1).train, 30)
        assert climbed.value == pytest.approx(exact.value)


def test_the_model_is_what_the_docstring_says():
    prior, weights = np.random.default_rng(0).normal(size=(2, 3, 3))
    model = Model(prior, 0.3, weights)
    expected = (0.3 * (prior[0, 2] + prior[1, 2]) + weights[0, 2] + weights[1, 2]) / np.sqrt(2)
    assert model.gains(0b111)[2] == pytest.approx(expected)
