"""Selection of auxiliaries: stop rules on hand-made scores, thresholds, kept rows, baselines, the table."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli import schemas
from adaptershare_cli.studies import procedures as selection
from adaptershare_cli.studies.procedures import Candidate, Curve

NAN = math.nan
RANKING = {"a": 0.9, "b": 0.5, "c": 0.4, "d": -0.2}


class Runs:
    """Stands for trainings: the i-th call returns the i-th curve, and what was asked is kept."""

    def __init__(self, *curves):
        self.curves = [curve if isinstance(curve, Curve) else Curve((float(curve),)) for curve in curves]
        self.asked: list[Candidate] = []

    def __call__(self, candidate: Candidate) -> Curve:
        self.asked.append(candidate)
        return self.curves[len(self.asked) - 1]

    @property
    def sizes(self) -> list[int]:
        return [len(candidate.auxiliaries) for candidate in self.asked]


def chosen(steps) -> list[tuple[str, ...]]:
    return [step.candidate.auxiliaries for step in steps if step.chosen]


class TestRank:
    def test_decreasing_by_source_ties_in_task_order_unknown_left_out(self):
        values = np.full((5, 5), 7.0)
        values[:, 2] = [0.1, 0.4, 9.0, 0.4, NAN]  # column = target
        assert selection.rank(values, list("ebxad"), "x") == {"b": 0.4, "a": 0.4, "e": 0.1}
        assert list(selection.rank(values, list("ebxad"), "x")) == ["b", "a", "e"]

    def test_unknown_target(self):
        with pytest.raises(ValueError, match="y"):
            selection.rank(np.zeros((2, 2)), ["a", "b"], "y")


class TestCurve:
    def test_best_evaluation(self):
        curve = Curve(main=(0.1, 0.5, 0.3), picked_by=(0.7, 0.2, 0.7))
        assert (curve.best, curve.best_picked_by, curve.last) == (0.1, 0.7, 0.3)
        assert Curve((NAN, 0.2, 0.4, 0.4)).best == 0.4
        assert math.isnan(Curve((NAN, NAN)).best)

    def test_lengths(self):
        for main, picked_by in (((), ()), ((0.1, 0.2), (0.1,))):
            with pytest.raises(ValueError, match="evaluations"):
                Curve(main, picked_by)


class TestStrict:
    @pytest.mark.parametrize(
        ("scores", "runs", "best"),
        [
            ((0.5, 0.6, 0.7, 0.8, 0.9), 5, 4),  # always better: all
            ((0.5, 0.4, 0.9), 2, 0),  # the first auxiliary hurts: none, and no further run
            ((0.5, 0.6, 0.59, 0.9), 3, 1),
            ((0.5, 0.5, 0.5, 0.4), 4, 0),  # ties go on, the smallest set is chosen
            ((0.5, 0.7, 0.7, 0.7, 0.6), 5, 1),
            ((0.5, NAN, 0.9), 2, 0),  # no score is a fall
            ((NAN, 0.1, 0.2, 0.1), 4, 2),  # any score is better than none
            ((NAN, NAN), 2, 0),  # nothing speaks for an auxiliary
        ],
    )
    def test_scripted(self, scores, runs, best):
        asked = Runs(*scores)
        steps = selection.trial("t", RANKING, asked)
        assert asked.sizes == list(range(runs)) and [step.number for step in steps] == list(range(runs))
        assert chosen(steps) == [tuple(RANKING)[:best]]

    def test_best_is_compared_with_best(self):
        steps = selection.trial("t", RANKING, Runs(Curve((0.9, 0.1)), Curve((0.8, 0.8))))
        assert len(steps) == 2 and chosen(steps) == [()]

    def test_no_candidates(self):
        steps = selection.trial("t", {}, Runs(0.3))
        assert chosen(steps) == [()] and len(steps) == 1

    @given(st.lists(st.sampled_from([NAN, 0.1, 0.2, 0.3]), min_size=5, max_size=5))
    def test_law_the_choice_is_the_best_that_was_run(self, scores):
        steps = selection.trial("t", RANKING, Runs(*scores))
        run = [step.curve.best for step in steps]
        (place,) = [number for number, step in enumerate(steps) if step.chosen]
        if not all(map(math.isnan, run)):
            assert run[place] == np.nanmax(run) and run[place] not in run[:place]
        assert all(later >= earlier for earlier, later in zip(run[1:-1], run[2:-1], strict=False))


class TestPaperCode:
    def trial(self, *curves):
        runs = Runs(*curves)
        return selection.trial("t", RANKING, runs, "paper-code"), runs

    @pytest.mark.parametrize(
        ("scores", "runs", "best"),
        [
            ((0.1, 0.2, 0.3, 0.4), 4, 4),
            ((0.5, 0.4, 0.9), 2, 1),
            ((0.5, 0.5, 0.5, 0.4), 4, 3),  # of equals the one run last
            ((0.5, NAN, 0.9), 2, 1),
            ((NAN, 0.5), 1, None),  # `nan >= -inf` is False
        ],
    )
    def test_scripted(self, scores, runs, best):
        steps, asked = self.trial(*scores)
        assert asked.sizes == list(range(1, runs + 1))  # never the target alone
        assert chosen(steps) == ([tuple(RANKING)[:best]] if best else [])

    def test_best_is_compared_with_the_last_of_the_run_before(self):
        falls = Curve((0.9, 0.2))  # best 0.9, but ends with 0.2
        steps, _ = self.trial(falls, 0.3, 0.2)  # 0.3 < 0.9, but 0.3 >= 0.2: it goes on; then 0.2 < 0.3
        assert len(steps) == 3 and chosen(steps) == [("a",)]
        strict = selection.trial("t", RANKING, Runs(0.1, falls, 0.3))
        assert len(strict) == 3 and chosen(strict) == [("a",)]

    def test_the_run_that_stopped_may_be_chosen(self):
        """Stopped by the main metric, chosen by the first listed one."""
        steps, _ = self.trial(Curve((0.5,), picked_by=(0.6,)), Curve((0.4,), picked_by=(0.7,)))
        assert len(steps) == 2 and chosen(steps) == [("a", "b")]

    def test_the_evaluation_is_chosen_by_the_first_metric(self):
        """Its main metric is 0.3 there, not the highest, so it stops."""
        steps, _ = self.trial(0.5, Curve((0.9, 0.3), picked_by=(0.1, 0.2)))
        assert len(steps) == 2 and steps[1].curve.best == 0.3

    def test_a_last_score_of_nan_stops(self):
        steps, _ = self.trial(Curve((0.5, NAN)), 0.9, 0.9)
        assert len(steps) == 2 and chosen(steps) == [("a", "b")]

    def test_no_candidates(self):
        assert selection.trial("t", {}, Runs(), "paper-code") == []

    def test_unknown_rule(self):
        with pytest.raises(ValueError, match="stop rule"):
            selection.trial("t", RANKING, Runs(), "first")  # type: ignore[arg-type]


class TestThreshold:
    @pytest.mark.parametrize(("at_least", "kept"), [(0.4, 3), (0.41, 2), (1.0, 0), (-1.0, 4)])
    def test_at_least(self, at_least, kept):
        (step,) = selection.threshold("t", RANKING, at_least)
        assert step.candidate == Candidate(tuple(RANKING)[:kept]) and step.chosen and step.curve is None

    def test_run_if_asked(self):
        (step,) = selection.threshold("t", RANKING, 0.5, ask=Runs(0.25))
        assert step.curve is not None and step.curve.best == 0.25


class TestFineGrained:
    taus = {"a": np.array([0.1, 0.5, NAN, 0.3, 0.5]), "b": np.array([0.0, 0.2])}
    rows = {"a": np.array([10, 11, 12, 13, 14]), "b": np.array([3, 7])}

    def kept(self, **rule):
        (step,) = selection.fine_grained("t", RANKING, ["a", "b"], self.taus, self.rows, **rule)
        return step

    def test_exactly_the_rows_at_or_above_theta(self):
        step = self.kept(at_least=0.3)
        assert step.candidate == Candidate(("a",), {"a": (11, 13, 14)})  # b has no row left
        assert step.available == {"a": 5, "b": 2} and step.values == (0.9,)

    @pytest.mark.parametrize(
        ("keep", "a", "b"),
        [
            (0.01, (11, 14), (7,)),  # at least the highest, with what equals it
            (0.4, (11, 14), (7,)),
            (0.6, (11, 13, 14), (7,)),
            (1.0, (10, 11, 13, 14), (3, 7)),  # a row with an unknown tau never
        ],
    )
    def test_top_share(self, keep, a, b):
        step = self.kept(keep=keep)
        assert step.candidate.rows == {"a": a, "b": b}

    @given(st.integers(1, 40), st.floats(0.01, 1))
    def test_law_the_share_is_kept(self, count, keep):
        taus = np.random.default_rng(count).permutation(count) / count
        (step,) = selection.fine_grained("t", {"a": 1.0}, ["a"], {"a": taus}, {"a": np.arange(count)}, keep=keep)
        kept = step.candidate.rows["a"]
        assert len(kept) == max(1, math.floor(count * keep + 1e-9))
        assert taus[list(kept)].min() > np.delete(taus, kept).max(initial=-1)

    def test_one_run_with_the_rows(self):
        runs = Runs(0.4)
        (step,) = selection.fine_grained("t", RANKING, ["b", "a"], self.taus, self.rows, keep=0.5, ask=runs)
        assert runs.asked == [step.candidate] and step.candidate.auxiliaries == ("b", "a")

    @pytest.mark.parametrize("rule", [{}, {"keep": 0.5, "at_least": 0.1}, {"keep": 0.0}, {"keep": 1.1}])
    def test_one_rule_within_its_range(self, rule):
        with pytest.raises(ValueError, match="at_least or keep"):
            self.kept(**rule)

    def test_lengths(self):
        with pytest.raises(ValueError, match="a: "):
            selection.fine_grained("t", RANKING, ["a"], self.taus, {"a": np.arange(4)}, keep=0.5)


class TestBaselines:
    def test_none_all_random(self):
        runs = Runs(0.1, 0.2, 0.3, 0.4)
        steps = selection.baselines("t", list("abcd"), 2, runs, draws=2)
        assert [(step.procedure, step.number) for step in steps] == [
            ("none", 0), ("all", 0), ("random", 0), ("random", 1),
        ]  # fmt: skip
        assert runs.asked[:2] == [Candidate(()), Candidate(tuple("abcd"))] and runs.sizes == [0, 4, 2, 2]
        assert chosen(steps) == []

    def test_random_sets_depend_on_seed_target_and_names_alone(self):
        def drawn(target="t", candidates="abcdefgh", seed=0):
            steps = selection.baselines(target, list(candidates), 4, Runs(*range(3)), seed)
            return set(steps[2].candidate.auxiliaries)

        assert drawn() == drawn() == drawn(candidates="hgfedcba")
        assert len({frozenset(drawn(seed=seed)) for seed in range(10)}) > 5
        assert len({frozenset(drawn(target=target)) for target in "rstuvwxyz"}) > 4

    def test_every_task_is_drawn_equally_often(self):
        steps = selection.baselines("t", list("abcd"), 1, Runs(*range(402)), draws=400)
        counts = [sum(step.candidate.auxiliaries == (task,) for step in steps) for task in "abcd"]
        assert sum(counts) == 400 and all(70 < count < 130 for count in counts)

    def test_size(self):
        with pytest.raises(ValueError, match="random set of 3 from 2"):
            selection.baselines("t", ["a", "b"], 3, Runs())


class TestRandomRows:
    rows: ClassVar = {"a": np.arange(100, 140), "b": np.arange(30)}

    def fine(self, keep=0.25, target="t"):
        taus = {task: np.linspace(0.1, 0.9, len(ids)) for task, ids in self.rows.items()}
        (step,) = selection.fine_grained(target, RANKING, ["a", "b"], taus, self.rows, keep=keep)
        return step

    def drawn(self, target="t", seed=0):
        (step,) = selection.random_rows(self.fine(target=target), self.rows, Runs(0.5), seed)
        return step.candidate.rows

    def test_as_many_of_each_in_file_order(self):
        runs = Runs(0.1, 0.2)
        steps = selection.random_rows(self.fine(), self.rows, runs, draws=2)
        assert [(step.procedure, step.number, step.chosen) for step in steps] == [
            ("random-rows", 0, False), ("random-rows", 1, False),
        ]  # fmt: skip
        assert runs.asked == [step.candidate for step in steps] and runs.asked[0] != runs.asked[1]
        for step in steps:
            assert step.candidate.auxiliaries == ("a", "b") and step.available == {"a": 40, "b": 30}
            for task, count in (("a", 10), ("b", 7)):
                ids = step.candidate.rows[task]
                assert len(ids) == count and list(ids) == sorted(set(ids)) and set(ids) <= set(self.rows[task])

    def test_draws_depend_on_seed_and_target(self):
        assert self.drawn() == self.drawn() != self.drawn(seed=1) and self.drawn() != self.drawn(target="u")

    def test_all_rows(self):
        fine = self.fine(keep=1.0)
        (step,) = selection.random_rows(fine, self.rows, Runs(0.5))
        assert step.candidate == fine.candidate

    def test_nothing_kept(self):
        taus = {task: np.full(len(ids), NAN) for task, ids in self.rows.items()}
        (fine,) = selection.fine_grained("t", RANKING, ["a", "b"], taus, self.rows, keep=0.5)
        assert selection.random_rows(fine, self.rows, Runs()) == []

    def test_every_row_is_drawn_equally_often(self):
        counts = np.bincount([row for seed in range(400) for row in self.drawn(seed=seed)["b"]], minlength=30)
        assert counts.sum() == 400 * 7 and counts.min() > 55 and counts.max() < 135  # 93 expected, sd 8.5


class TestTable:
    def test_trial(self):
        steps = selection.trial("t", RANKING, Runs(0.5, Curve((0.6, 0.55)), NAN))
        table = selection.selection_table(steps)
        assert table.schema.equals(schemas.SELECTION)
        rows = table.to_pylist()
        assert [row["auxiliaries"] for row in rows] == [[], ["a"], ["a", "b"]]
        assert [row["values"] for row in rows] == [[], [0.9], [0.9, 0.5]]
        assert [(row["score"], row["last"]) for row in rows] == [(0.5, 0.5), (0.6, 0.55), (None, None)]
        assert [row["chosen"] for row in rows] == [False, True, False]
        assert {row["rule"] for row in rows} == {"strict"} and {row["rows"] for row in rows} == {None}

    def test_fine_grained_has_a_row_an_auxiliary(self):
        steps = selection.fine_grained(
            "t", RANKING, ["a", "b"], TestFineGrained.taus, TestFineGrained.rows, at_least=0.3
        )
        rows = selection.selection_table(steps).to_pylist()
        assert [(row["task"], row["rows"], row["available"]) for row in rows] == [("a", [11, 13, 14], 5), ("b", [], 2)]
        assert all(row["auxiliaries"] == ["a"] and row["threshold"] == 0.3 for row in rows)

    def test_fine_grained_of_nothing(self):
        steps = selection.fine_grained("t", RANKING, [], {}, {}, keep=0.5)
        table = selection.selection_table(steps)
        assert table.num_rows == 1 and selection.chosen_candidate(table, "t") == Candidate((), {})

    @pytest.mark.parametrize("procedure", ["trial", "threshold", "fg"])
    def test_what_was_chosen_is_read_back(self, procedure):
        steps = {
            "trial": lambda: selection.trial("t", RANKING, Runs(0.5, 0.6, 0.4)),
            "threshold": lambda: selection.threshold("t", RANKING, 0.5),
            "fg": lambda: selection.fine_grained(
                "t", RANKING, ["a", "b"], TestFineGrained.taus, TestFineGrained.rows, keep=0.5
            ),
        }[procedure]()
        others = selection.baselines("t", list(RANKING), 1, Runs(*range(3)))
        table = selection.selection_table([*others, *steps])
        (expected,) = [step.candidate for step in steps if step.chosen]
        assert selection.chosen_candidate(table, "t") == expected

    def test_nothing_or_two_sets_chosen(self):
        one = selection.threshold("t", RANKING, 0.5)
        with pytest.raises(ValueError, match="not nothing"):
            selection.chosen_candidate(selection.selection_table(one), "other")
        two = [*one, *selection.trial("t", RANKING, Runs(0.5, 0.4))]
        with pytest.raises(ValueError, match="not threshold, trial"):
            selection.chosen_candidate(selection.selection_table(two), "t")
        assert selection.chosen_candidate(selection.selection_table(two), "t", "trial") == Candidate(())
