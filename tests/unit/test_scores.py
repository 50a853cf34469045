"""How good measures are: scores against slow definitions and laws, Mantel's test, ceiling, null, intervals."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from adaptershare_cli import schemas
from adaptershare_cli.statistics import ranking, scores
from adaptershare_cli.statistics.mantel import cell_correlation, mantel, permutation_p, permuted, task_permutations
from adaptershare_cli.statistics.matrices import task_matrix

pytestmark = pytest.mark.filterwarnings("error")

WHOLE = st.integers(-6, 6)  # small whole numbers: many ties, and increasing functions keep them apart
RANKINGS = st.integers(2, 7).flatmap(lambda n: st.tuples(*[st.lists(WHOLE, min_size=n, max_size=n)] * 2))
RANDOM = st.integers(0, 2**32 - 1)


def arrays(pair) -> tuple[np.ndarray, np.ndarray]:
    return np.array(pair[0], dtype=float), np.array(pair[1], dtype=float)


def random_matrices(seed: int, tasks: int = 5, seeds: int = 3, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A measure (tasks, tasks) and a truth (seeds, tasks, tasks)."""
    generator = np.random.default_rng(seed)
    values, truth = generator.normal(size=(tasks, tasks)), generator.normal(size=(seeds, tasks, tasks))
    return (values.round(), truth.round()) if whole else (values, truth)


def names(tasks: int) -> list[str]:
    return [f"t{place}" for place in range(tasks)]


def table_of(values: np.ndarray, truth: np.ndarray, **options) -> pd.DataFrame:
    """The scores of one measure, by target ("" for all) and score."""
    table = scores.score_measures({"m": values}, truth, names(len(values)), "transfer", **({"draws": 20} | options))
    assert table.schema.equals(schemas.SCORES)
    return table.to_pandas().fillna({"target": ""}).set_index(["target", "score"])


class TestRankings:
    @settings(deadline=None)
    @given(RANKINGS)
    def test_the_truth_itself_is_perfect(self, pair):
        _, truth = arrays(pair)
        varied = len(set(truth)) > 1
        for name, score in ranking.RANKING_SCORES.items():
            value = score.function(truth, truth)
            if name.startswith("regret"):
                assert value == 0 if len(truth) > int(name[-1]) else math.isnan(value)
            elif name == "sign-auc":
                assert value == 1 if {-1, 1} <= set(np.sign(truth)) else math.isnan(value)
            else:
                assert value == pytest.approx(1) if varied else math.isnan(value)

    @settings(deadline=None)
    @given(RANKINGS, st.sampled_from([np.exp, np.arctan, lambda x: x**3 + x - 7]))
    def test_increasing_functions_of_the_measure_change_nothing(self, pair, function):
        values, truth = arrays(pair)
        for score in ranking.RANKING_SCORES.values():
            before, after = score.function(values, truth), score.function(function(values), truth)
            assert after == pytest.approx(before, abs=1e-12, nan_ok=True)

    @settings(deadline=None)
    @given(RANKINGS, st.floats(0.01, 100), st.floats(-50, 50))
    def test_unit_and_zero_of_the_truth(self, pair, unit, zero):
        values, truth = arrays(pair)
        for name, score in ranking.RANKING_SCORES.items():
            if name != "sign-auc":
                scale = unit if name.startswith("regret") else 1.0
                before, after = score.function(values, truth), score.function(values, truth * unit + zero)
                assert after == pytest.approx(before * scale, rel=1e-6, abs=1e-6, nan_ok=True)

    @settings(deadline=None)
    @given(RANKINGS, st.randoms(use_true_random=False))
    def test_the_order_of_the_candidates_does_not_matter(self, pair, random):
        order = random.sample(range(len(pair[0])), len(pair[0]))
        values, truth = arrays(pair)
        for score in ranking.RANKING_SCORES.values():
            before, after = score.function(values, truth), score.function(values[order], truth[order])
            assert after == pytest.approx(before, abs=1e-12, nan_ok=True)

    @settings(deadline=None)
    @given(RANKINGS)
    def test_regret_falls_with_k_to_nothing(self, pair):
        values, truth = arrays(pair)
        *regrets, of_all = [ranking.regret(values, truth, k) for k in range(1, len(truth) + 1)]
        assert all(one >= other - 1e-12 for one, other in zip(regrets, regrets[1:], strict=False))
        assert min(regrets, default=0) >= 0 and math.isnan(of_all)
        assert regrets == [] or regrets[-1] <= np.sort(truth)[-1] - np.sort(truth)[-2] + 1e-12

    @settings(max_examples=30, deadline=None)
    @given(RANKINGS)
    def test_ties_are_the_mean_over_their_orders(self, pair):
        values, truth = (side[:4] for side in arrays(pair))
        broken = [values + np.array(order) / 100 for order in permutations(range(len(values)))]
        for function in (ranking.ndcg, lambda x, y: ranking.regret(x, y, 2), ranking.sign_auc):
            over_orders = np.mean([function(one, truth) for one in broken])
            assert function(values, truth) == pytest.approx(over_orders, nan_ok=True)

    @settings(deadline=None)
    @given(RANKINGS)
    def test_sign_auc_is_that_of_scikit_learn(self, pair):
        values, truth = arrays(pair)
        signed = truth != 0
        if len(set(truth[signed] > 0)) == 2:
            expected = roc_auc_score(truth[signed] > 0, values[signed])
            assert ranking.sign_auc(values, truth) == pytest.approx(expected)

    def test_ndcg_by_hand(self):
        values, truth = np.array([3.0, 2.0, 1.0]), np.array([-0.1, 0.3, 0.1])
        gains = [0.0, 0.4, 0.2]
        best = 0.4 + 0.2 / math.log2(3)
        expected = (gains[0] + gains[1] / math.log2(3) + gains[2] / 2) / best
        assert ranking.ndcg(values, truth) == pytest.approx(expected)

    def test_targets_use_known_cells_of_their_column(self):
        values, (truth, *_) = random_matrices(0, tasks=6)
        values[3, 1] = truth[4, 1] = np.nan
        values[:, 5] = np.nan
        found = ranking.score_targets(values, truth)
        used = [0, 2, 5]
        expected = [score.function(values[used, 1], truth[used, 1]) for score in ranking.RANKING_SCORES.values()]
        assert found[1] == pytest.approx(np.array(expected), nan_ok=True)
        assert np.isnan(found[5]).all()


class TestMantel:
    def test_correlation_is_that_of_numpy_over_the_known_cells(self):
        values, (truth, *_) = random_matrices(1)
        values[0, 1] = truth[2, 3] = np.nan
        known = ~np.isnan(values) & ~np.isnan(truth) & ~np.eye(5, dtype=bool)
        assert cell_correlation(values, truth) == pytest.approx(np.corrcoef(values[known], truth[known])[0, 1])

    def test_constant_or_unknown_is_undefined(self):
        values, (truth, *_) = random_matrices(1)
        for nothing in (np.full((5, 5), 0.1), np.full((5, 5), np.nan)):
            assert np.isnan(mantel(values, nothing)).all() and np.isnan(mantel(nothing, truth)).all()

    @pytest.mark.parametrize("tasks", [3, 4])
    def test_exact_p_against_a_slow_loop(self, tasks):
        for seed in range(5):
            values, (truth, *_) = random_matrices(seed, tasks)
            null = [cell_correlation(values[np.ix_(order, order)], truth) for order in permutations(range(tasks))]
            expected = np.mean([one >= null[0] - 1e-12 for one in null])
            assert mantel(values, truth).p_value == pytest.approx(expected)

    @pytest.mark.parametrize(("tasks", "ways"), [(3, 6), (4, 24), (5, 120)])
    def test_least_p(self, tasks, ways):
        values, _ = random_matrices(2, tasks)
        assert mantel(values, values).p_value == pytest.approx(1 / ways)

    def test_least_p_of_random_draws(self):
        values, _ = random_matrices(2, tasks=9)
        assert mantel(values, values, draws=99).p_value == pytest.approx(0.01)

    @pytest.mark.parametrize(("tasks", "draws"), [(6, 0), (9, 199)])
    def test_p_of_unrelated_matrices_is_uniform(self, tasks, draws):
        p_values = []
        for seed in range(200):
            values, (truth, *_) = random_matrices(seed, tasks)
            p_values.append(mantel(values, truth, draws, seed).p_value)
        assert kstest(p_values, "uniform").pvalue > 0.01
        assert np.mean(np.array(p_values) <= 0.05) <= 0.1

    def test_task_effects_alone_are_not_significant(self):
        """Cells of a row go together; as independent cells, half of these pairs would be significant."""
        p_values = []
        for seed in range(100):
            values, (truth, *_) = random_matrices(seed, tasks=6)
            rows, other_rows = np.random.default_rng(seed + 1000).normal(size=(2, 6, 1)) * 3
            p_values.append(mantel(values + rows, truth + other_rows).p_value)
        assert np.mean(np.array(p_values) <= 0.05) <= 0.12

    @given(RANDOM)
    @settings(max_examples=20, deadline=None)
    def test_names_do_not_matter(self, seed):
        values, (truth, *_) = random_matrices(seed, tasks=4)
        order = np.random.default_rng(seed).permutation(4)[None]
        assert mantel(values, truth) == pytest.approx(mantel(permuted(values, order)[0], permuted(truth, order)[0]))

    def test_permutations(self):
        everything, exact = task_permutations(4, 24, 5, 0)
        assert exact and len({tuple(order) for order in everything}) == 24
        drawn, exact = task_permutations(5, 24, 7, 0)
        assert not exact and drawn.shape == (7, 5) and (np.sort(drawn) == np.arange(5)).all()


class TestTable:
    def test_rows_and_cost(self):
        values, truth = random_matrices(0, tasks=4)
        table = scores.score_measures({"a": values, "b": truth[0]}, truth, names(4), "pair", {"b": 0.25}, draws=5)
        frame = table.to_pandas()
        assert len(frame) == 2 * (8 + 4 * 7)
        assert set(frame["against"]) == {"pair"} and set(frame["score"]) == set(scores.SCORES)
        assert frame[frame["measure"] == "a"]["cost_share"].isna().all()
        assert (frame[frame["measure"] == "b"]["cost_share"] == 0.25).all()

    def test_same_inputs_same_table(self):
        values, truth = random_matrices(3, tasks=4, seeds=2)
        assert table_of(values, truth).equals(table_of(values, truth))
        assert not table_of(values, truth, seed=1).equals(table_of(values, truth))

    def test_values_are_those_of_the_mean_truth_and_means_over_targets(self):
        values, truth = random_matrices(4, whole=True)
        table = table_of(values, truth)["value"]
        of_targets = ranking.score_targets(values, truth.mean(axis=0))
        for place, score in enumerate(ranking.RANKING_SCORES):
            for target, name in enumerate(names(5)):
                assert table[name, score] == pytest.approx(of_targets[target, place], nan_ok=True)
            if not np.isnan(of_targets[:, place]).all():
                assert table["", score] == pytest.approx(np.nanmean(of_targets[:, place]))
        assert table["", "pearson"] == pytest.approx(cell_correlation(values, truth.mean(axis=0)))

    @given(RANDOM)
    @settings(max_examples=3, deadline=None)
    def test_renaming_tasks_renames_rows(self, seed):
        values, truth = random_matrices(seed, tasks=4, seeds=2)
        order = np.random.default_rng(seed).permutation(4)
        before, moved = table_of(values, truth, draws=24), permuted(values, order[None])[0]
        after = table_of(moved, np.array([permuted(one, order[None])[0] for one in truth]), draws=24)
        exact = ["value", "null_mean", "null_low", "null_high", "p_value", "ceiling", "ceiling_upper", "pairs"]
        for place, old in enumerate(order):
            one, other = after.loc[f"t{place}", exact], before.loc[f"t{old}", exact]
            assert one.to_numpy(float) == pytest.approx(other.to_numpy(float), nan_ok=True)
        assert after.loc["", exact].to_numpy(float) == pytest.approx(before.loc["", exact].to_numpy(float), nan_ok=True)

    def test_unknown_cells_and_one_seed(self):
        values, truth = random_matrices(5, tasks=6, seeds=1)
        values[:, 2] = np.nan
        truth[0, 1, 3] = np.nan
        table = table_of(values, truth)
        assert table.loc["t2", "value"].isna().all() and table.loc[("", "spearman"), "targets"] == 5
        assert table.loc[("", "pearson"), "pairs"] == 6 * 5 - 5 - 1 and table.loc[("t3", "ndcg"), "pairs"] == 4
        assert table[["ceiling", "ceiling_upper"]].isna().all(axis=None)
        assert table.loc["t0", "low"].isna().all() and table.loc[("", "spearman"), "low":"high"].notna().all()

    def test_a_seed_that_lacks_a_cell_is_left_out_of_its_mean(self):
        values, truth = random_matrices(6, seeds=2)
        truth[1, 0, 1] = np.nan
        expected = truth.mean(axis=0)
        expected[0, 1] = truth[0, 0, 1]
        assert table_of(values, truth).loc[("", "pearson"), "value"] == pytest.approx(
            cell_correlation(values, expected)
        )

    @pytest.mark.parametrize("shape", [(5, 5), (0, 5, 5), (2, 4, 4)])
    def test_shapes_that_do_not_fit_are_refused(self, shape):
        with pytest.raises(ValueError, match="truth must be"):
            scores.score_measures({}, np.zeros(shape), names(5), "transfer")
        with pytest.raises(ValueError, match="m: the matrix must be"):
            scores.score_measures({"m": np.zeros((4, 4))}, np.zeros((1, 5, 5)), names(5), "transfer")

    def test_matrix_of_a_correlation_table(self):
        rows = [(-1, "a", "b", 0.5), (-1, "b", "a", None), (0, "a", "b", 9.0), (-1, "c", "a", 0.1)]
        frame = pd.DataFrame(rows, columns=["layer", "source", "target", "value"])
        found = task_matrix(frame, ["b", "a"])
        assert np.isnan(found[[0, 1, 0], [0, 1, 1]]).all() and found[1, 0] == 0.5
        with pytest.raises(ValueError, match="duplicate"):
            task_matrix(pd.concat([frame, frame]), ["b", "a"])


class TestCeiling:
    def test_noiseless_seeds(self):
        _, truth = random_matrices(7, seeds=1)
        table = table_of(np.ones((5, 5)), np.repeat(truth, 4, axis=0)).loc[""]
        perfect = {name: 0.0 if name.startswith("regret") else 1.0 for name in scores.SCORES}
        perfect["regret@5"] = math.nan  # of four candidates
        assert table["ceiling"].to_dict() == pytest.approx(perfect, nan_ok=True)
        assert table["ceiling_upper"].dropna().to_dict() == pytest.approx({"spearman": 1.0, "pearson": 1.0})

    @pytest.mark.parametrize("seeds", [2, 3, 5, 12])
    def test_halves(self, seeds):
        halves = scores._splits(seeds, np.random.default_rng(0))
        assert len(set(halves)) == len(halves)
        for one, other in halves:
            assert sorted(one + other) == list(range(seeds)) and abs(len(one) - len(other)) == seeds % 2
            assert (other, one) in halves
        assert len(halves) == {2: 2, 3: 6, 5: 20}.get(seeds, len(halves))

    def test_spearman_brown_predicts_what_a_noiseless_measure_reaches(self, monkeypatch):
        monkeypatch.setattr(scores, "score_targets", lambda values, truth: np.full((10, 7), np.nan))  # pearson alone
        reached, predicted = [], []
        for seed in range(100):
            generator = np.random.default_rng(seed)
            clean = generator.normal(size=(10, 10))
            noisy = clean + 1.5 * generator.normal(size=(2, 10, 10))
            reached.append(cell_correlation(clean, noisy.mean(axis=0)))
            predicted.append(scores._ceiling(noisy, seed)["ceiling_upper"][0, scores.SCORES.index("pearson")])
        assert np.mean(reached) == pytest.approx(np.mean(predicted), abs=0.03)

    def test_unreliable_truth_has_no_room(self):
        truth = np.random.default_rng(0).normal(size=(1, 5, 5))
        table = table_of(truth[0], np.concatenate([truth, -truth])).loc[("", "pearson")]
        assert table["ceiling"] == pytest.approx(-1) and table["ceiling_upper"] == 0


class TestNullAndInterval:
    def test_null_of_few_tasks_is_exact(self):
        values, truth = random_matrices(8, tasks=3)
        sheets = [
            ranking.score_targets(one, truth.mean(axis=0)) for one in permuted(values, task_permutations(3, 6, 0, 0)[0])
        ]
        regrets = np.array(sheets)[:, :, 1].mean(axis=1)
        row = table_of(values, truth, draws=6).loc[("", "regret@1")]
        assert row["null_mean"] == pytest.approx(regrets.mean())
        assert row["p_value"] == pytest.approx((regrets <= row["value"] + 1e-12).mean())  # low regret is good

    def test_p_values_of_the_null_itself(self):
        """Each of n different values is as likely as the others, so its p value is its rank from the top over n."""
        null = np.random.default_rng(0).normal(size=24)
        p_values = [permutation_p(one, null, exact=True) for one in null]
        assert sorted(p_values) == pytest.approx(np.arange(1, 25) / 24)
        assert permutation_p(null.max() + 1, null, exact=False) == pytest.approx(1 / 25)
        assert permutation_p(0.0, np.append(np.zeros(3), math.nan), exact=True) == 1
        assert math.isnan(permutation_p(math.nan, null, exact=True))
        assert math.isnan(permutation_p(0.0, np.full(3, math.nan), exact=True))

    def test_a_good_measure_stands_out(self):
        generator = np.random.default_rng(9)
        truth = generator.normal(size=(5, 5)) + 0.1 * generator.normal(size=(3, 5, 5))
        table = table_of(truth.mean(axis=0), truth, draws=39).loc[""]
        for name in ("ndcg", "regret@1", "spearman", "weighted-kendall", "sign-auc", "pearson"):
            assert table.loc[name, "p_value"] <= 0.05
            assert table.loc[name, "low"] <= table.loc[name, "value"] <= table.loc[name, "high"]

    def test_interval_against_a_slow_loop(self, monkeypatch):
        monkeypatch.setattr(scores, "BOOTSTRAP_DRAWS", 25)
        values, truth = random_matrices(10, tasks=5, seeds=2)
        generator = np.random.default_rng(scores.derive_seed(0, "bootstrap"))
        seeds, tasks = generator.integers(2, size=(25, 2)), generator.integers(5, size=(25, 5))
        spearman, pearson = [], []
        for drawn_seeds, drawn in zip(seeds, tasks, strict=True):
            mean = truth[drawn_seeds].mean(axis=0)
            spearman.append(np.mean([ranking.score_targets(values, mean)[target, 4] for target in drawn]))
            cells = [(s, t) for s in drawn for t in drawn if s != t]
            x, y = ([matrix[cell] for cell in cells] for matrix in (values, mean))
            pearson.append(np.corrcoef(x, y)[0, 1] if cells else np.nan)
        table = table_of(values, truth, draws=1)
        for name, draws in (("spearman", spearman), ("pearson", pearson)):
            row = table.loc[("", name)]
            assert (row["low"], row["high"]) == pytest.approx(tuple(np.nanquantile(draws, [0.025, 0.975])))

    def test_noise_of_the_seeds_widens_the_interval_of_a_target(self):
        values, (clean, *_) = random_matrices(11, tasks=5)
        widths = []
        for noise in (0.0, 1.0):
            truth = clean + noise * np.random.default_rng(0).normal(size=(3, 5, 5))
            row = table_of(values, truth).loc[("t0", "spearman")]
            widths.append(row["high"] - row["low"])
        assert widths[0] == pytest.approx(0) and widths[1] > 0.1
