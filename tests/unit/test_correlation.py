"""The measures: values against slow loops, laws, the null's calibration, and planted families."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adaptershare_cli.measures
from adaptershare_cli import schemas
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES, TRUTHS, gradient, measure_settings, plan, task_embedding
from adaptershare_cli.statistics import summary
from tests.families import nearest_neighbour_score

DECLARED = re.compile(r'^@measure\(\n    "(\S+)"', re.MULTILINE)


def checks_of(gradients: np.ndarray, tasks: list[str], shared=lambda k, layer, a, b: True) -> pd.DataFrame:
    """Interference rows from gradients of shape (checks, layers, tasks, size); a NaN gradient gives null cosines."""
    rows = []
    for k, layer in np.ndindex(gradients.shape[:2]):
        for i, a in enumerate(tasks):
            for j in range(i + 1, len(tasks)):
                g, h = gradients[k, layer, i], gradients[k, layer, j]
                norms = float(np.linalg.norm(g)), float(np.linalg.norm(h))
                cosine = float(g @ h) / (norms[0] * norms[1]) if all(norms) else math.nan
                row = {"phase": "train", "step": 10 * (k + 1), "layer": layer, "task_a": a, "task_b": tasks[j]}
                row |= {"dot": float(g @ h), "norm_a": norms[0], "norm_b": norms[1], "cosine": cosine}
                row |= {"agreement_a": 0.5, "agreement_b": 0.5, "shared": shared(k, layer, a, tasks[j])}
                rows.append(row | {"decision": "observe"})
    return pd.DataFrame(rows)


def random_gradients(checks=4, layers=3, tasks=4, size=6, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(checks, layers, tasks, size))


def by_gradient(frame: pd.DataFrame, tasks: list[str], rows="all", permutations=1000, seed=0) -> pa.Table:
    """The table of `gradient` from one run's checks."""
    values = gradient.cosines(frame, rows).assign(seed=3)
    values = values[values["source"].isin(tasks) & values["target"].isin(tasks)]
    return summary.summarise("gradient", values, tasks, False, permutations, seed)


def by_plan(sharing: pd.DataFrame, tasks: list[str]) -> pa.Table:
    """The table of `plan` from one run's plans."""
    return summary.summarise("plan", plan.shares(sharing, tuple(tasks)).assign(seed=3), tasks, False, 100)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """The answer; of one seed it is that seed's."""
    assert table.schema.equals(schemas.CORRELATION)
    keys = ["layer", "source", "target"]
    frame = table.to_pandas()
    answer, own = (
        part.drop(columns="seed").set_index(keys) for part in (frame[frame.seed.isna()], frame[frame.seed == 3])
    )
    if len(own):
        pd.testing.assert_frame_equal(answer, own)
    return answer


def known(numbers):
    return [x for x in numbers if not math.isnan(x)]


class TestRegistry:
    def test_measures_are_found_and_described(self):
        folder = Path(adaptershare_cli.measures.__file__).parent
        declared = [name for file in folder.glob("*.py") for name in DECLARED.findall(file.read_text("utf-8"))]
        assert sorted(declared) == list(MEASURES)
        for name, measure in MEASURES.items():
            assert measure.name == name and measure.summary[-1] != "." and measure.code_version >= 1
            assert measure.range[0] < measure.range[1] and measure.unit
            assert measure.needs.runs_encoder or not measure.needs.makes_trainings
        assert TRUTHS == ("pair", "transfer")

    def test_a_name_that_is_taken_is_refused(self, monkeypatch):
        monkeypatch.setattr(plan, "again", replace(MEASURES["plan"]), raising=False)
        with pytest.raises(ValueError, match="two measures are called plan; one is in plan.py"):
            adaptershare_cli.measures._declared()

    def test_registry_imports_nothing_heavy(self):
        code = "import sys, adaptershare_cli.measures; print([m for m in ('numpy', 'pandas') if m in sys.modules])"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"

    def test_options_go_to_the_measures_that_know_them(self):
        found = measure_settings(["gradient", "gradts", "text"], {"samples": 7, "permutations": 9})
        assert found["gradient"].permutations == found["gradts"].permutations == 9
        assert found["gradts"].samples == found["text"].samples == 7
        with pytest.raises(UserError, match="source-steps.*transfer"):
            measure_settings(["gradient", "pair"], {"source_steps": 3})


class TestTaskEmbedding:
    @given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
    def test_cosines_against_a_loop(self, tasks, size, seed):
        rows = np.random.default_rng(seed).normal(size=(tasks, size))
        found = task_embedding.cosines(rows.astype(np.float32))
        assert found.shape == (tasks, tasks) and np.array_equal(found, found.T)
        assert np.diagonal(found).tolist() == [1] * tasks and np.abs(found).max() <= 1
        for i, j in np.ndindex(tasks, tasks):
            expected = rows[i] @ rows[j] / np.sqrt((rows[i] @ rows[i]) * (rows[j] @ rows[j]))
            assert found[i, j] == pytest.approx(expected, abs=1e-6)
        np.testing.assert_allclose(task_embedding.cosines(rows * 7), task_embedding.cosines(rows), atol=1e-12)

    def test_a_row_of_zeros_is_like_nothing(self):
        found = task_embedding.cosines(np.array([[1.0, 2.0], [0.0, 0.0], [-1.0, -2.0]]))
        assert np.isnan(found[1]).all() and np.isnan(found[:, 1]).all()
        assert found[0, 2] == pytest.approx(-1, abs=1e-12)


class TestGradientValues:
    tasks = ["c", "a", "d", "b"]

    @pytest.mark.parametrize("rows", ["all", "shared"])
    def test_against_a_slow_loop(self, rows):
        gradients = random_gradients()
        gradients[1, 0, 2] = 0  # d has no gradient in one layer of one check ...
        gradients[:, 2, 2] = 0  # ... and never in layer 2
        frame = checks_of(gradients, self.tasks, shared=lambda k, layer, a, b: (k + layer + ord(a) + ord(b)) % 2 == 0)
        result = frame_of(by_gradient(frame.sample(frac=1, random_state=1), self.tasks, rows, permutations=5))
        used = frame if rows == "all" else frame[frame["shared"]]
        for source in self.tasks:
            for target in self.tasks:
                if source == target:
                    assert (0, source, target) not in result.index
                    continue
                pair = used[used["task_a"].isin((source, target)) & used["task_b"].isin((source, target))]
                cells = {(row.step, row.layer): row.cosine for row in pair.itertuples()}
                terms = {
                    layer: known(cells.get((step, layer), math.nan) for step in (10, 20, 30, 40)) for layer in range(3)
                }
                over_layers = [known(cells.get((step, n), math.nan) for n in range(3)) for step in (10, 20, 30, 40)]
                terms[schemas.ALL_LAYERS] = [sum(found) / len(found) for found in over_layers if found]
                for layer, values in terms.items():
                    row = result.loc[(layer, source, target)]
                    assert row.checks == len(values)
                    self.agrees(row.value, sum(values) / len(values) if values else None)
                    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None
                    self.agrees(row.standard_error, error)

    @staticmethod
    def agrees(found, expected):
        assert pd.isna(found) if expected is None else found == pytest.approx(expected, abs=1e-12)

    def test_null_against_a_slow_loop(self):
        gradients = random_gradients(checks=3, layers=2)
        gradients[0, 1, 3] = 0
        frame = checks_of(gradients, sorted(self.tasks))
        result = frame_of(by_gradient(frame, sorted(self.tasks), permutations=40, seed=7))
        names = sorted(self.tasks)
        order = np.random.default_rng(7).permuted(np.broadcast_to(np.arange(4, dtype=np.int32), (3, 40, 4)), axis=2)
        cosine = {(r.step // 10 - 1, r.layer, *sorted((r.task_a, r.task_b))): r.cosine for r in frame.itertuples()}
        for layer in (0, 1):
            null = []
            for p in range(40):
                drawn = [sorted((names[order[k, p, 0]], names[order[k, p, 3]])) for k in range(3)]
                null.append(np.mean(known(cosine[k, layer, *pair] for k, pair in enumerate(drawn))))
            row = result.loc[(layer, "a", "d")]
            assert row.null_mean == pytest.approx(np.mean(null))
            assert row.null_upper == pytest.approx(np.quantile(null, 0.95))
            assert row.p_value == pytest.approx((1 + sum(n >= row.value for n in null)) / 41)

    def test_blocks_do_not_change_the_null(self, monkeypatch):
        frame = checks_of(random_gradients(tasks=5), list("abcde"))
        whole = by_gradient(frame, list("abcde"), permutations=30)
        monkeypatch.setattr(summary, "BLOCK_VALUES", 1)
        assert by_gradient(frame, list("abcde"), permutations=30).equals(whole)

    def test_two_tasks_have_no_null_to_beat(self):
        result = frame_of(by_gradient(checks_of(random_gradients(tasks=2), ["x", "y"]), ["x", "y"]))
        assert (result["p_value"] == 1).all() and np.allclose(result["null_upper"], result["value"])

    def test_unknown_task_is_null_and_takes_no_part(self):
        frame = checks_of(random_gradients(), self.tasks)
        alone = frame_of(by_gradient(frame, self.tasks, permutations=20))
        result = frame_of(by_gradient(frame, [*self.tasks, "new"], permutations=20))
        pd.testing.assert_frame_equal(result.loc[alone.index], alone)
        assert result.loc[(-1, "new", "a"), "checks"] == 0 and pd.isna(result.loc[(-1, "new", "a"), "value"])

    def test_subset_of_the_tasks_uses_only_its_rows(self):
        gradients = random_gradients()
        some = frame_of(by_gradient(checks_of(gradients, self.tasks), ["a", "b", "c"], permutations=20))
        order = [self.tasks.index(task) for task in "abc"]
        same = frame_of(by_gradient(checks_of(gradients[:, :, order], list("abc")), list("abc"), "all", 20))
        pd.testing.assert_frame_equal(some, same)

    def test_no_checks_give_nulls(self):
        empty = checks_of(random_gradients(), self.tasks).iloc[:0]
        result = frame_of(by_gradient(empty, self.tasks))
        assert len(result) == 12 and result["value"].isna().all() and (result["checks"] == 0).all()

    def test_no_permutations_leave_the_null_out(self):
        result = frame_of(by_gradient(checks_of(random_gradients(), self.tasks), self.tasks, permutations=0))
        assert result[["null_mean", "null_upper", "p_value"]].isna().all(axis=None) and result["value"].notna().all()

    def test_rows_of_two_runs_are_refused(self):
        frame = checks_of(random_gradients(), self.tasks)
        with pytest.raises(ValueError, match="several runs"):
            by_gradient(pd.concat([frame, frame]), self.tasks)
        swapped = frame.rename(columns={"task_a": "task_b", "task_b": "task_a"})
        with pytest.raises(ValueError, match="several runs"):
            by_gradient(pd.concat([frame, swapped]), self.tasks)

    def test_bad_arguments_are_refused(self):
        frame = checks_of(random_gradients(), self.tasks)
        with pytest.raises(ValueError, match="twice"):
            by_gradient(frame, ["a", "a"])
        with pytest.raises(ValueError, match="rows"):
            by_gradient(frame, self.tasks, rows="some")


cases = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 5), st.integers(0, 10_000))


class TestGradientLaws:
    @settings(max_examples=25, deadline=None)
    @given(cases, st.randoms(use_true_random=False))
    def test_order_of_tasks_permutes_the_answer(self, case, random):
        gradients, names = random_gradients(*case[:3], seed=case[3]), list("vwxyz"[: case[2]])
        order = list(range(len(names)))
        random.shuffle(order)
        mixed = [names[i] for i in order]
        one = frame_of(by_gradient(checks_of(gradients, names), names, permutations=20))
        two = frame_of(by_gradient(checks_of(gradients[:, :, order], mixed), mixed, permutations=20))
        pd.testing.assert_frame_equal(two.loc[one.index], one, rtol=1e-9)

    @settings(max_examples=25, deadline=None)
    @given(cases)
    def test_symmetric_and_bounded(self, case):
        names = list("vwxyz"[: case[2]])
        frame = checks_of(random_gradients(*case[:3], seed=case[3]), names)
        result = frame_of(by_gradient(frame, names, permutations=20))
        turned = result.swaplevel("source", "target").reorder_levels(result.index.names).loc[result.index]
        pd.testing.assert_frame_equal(turned, result)
        columns = result[["value", "null_mean", "null_upper"]]
        assert (columns.abs() <= 1 + 1e-9).all(axis=None) and result["p_value"].between(1 / 21, 1).all()

    @settings(max_examples=25, deadline=None)
    @given(cases, st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=5))
    def test_scale_of_a_task_is_irrelevant(self, case, scales):
        gradients, names = random_gradients(*case[:3], seed=case[3]), list("vwxyz"[: case[2]])
        scaled = gradients * np.array(scales[: len(names)])[:, None]
        one = frame_of(by_gradient(checks_of(gradients, names), names, permutations=20))
        two = frame_of(by_gradient(checks_of(scaled, names), names, permutations=20))
        pd.testing.assert_frame_equal(one, two, rtol=1e-6, atol=1e-9)


class TestNull:
    def test_p_values_are_uniform_on_random_data(self):
        names = [f"t{i}" for i in range(6)]
        values = []
        for seed in range(120):
            frame = checks_of(random_gradients(checks=3, layers=2, tasks=6, size=4, seed=seed), names)
            result = frame_of(by_gradient(frame, names, permutations=99, seed=seed))
            values.append(result.loc[(-1, "t0", "t1"), "p_value"])
        for level in (0.1, 0.25, 0.5, 0.75):
            spread = 3.5 * math.sqrt(level * (1 - level) / len(values))
            assert abs(np.mean(np.array(values) <= level) - level) < spread, level

    def test_planted_families_are_found(self):
        generator = np.random.default_rng(5)
        names = [f"{family}{half}" for family in "abcd" for half in "12"]
        common = np.repeat(generator.normal(size=(1, 1, 4, 40)), 2, axis=2)
        frame = checks_of(common + 1.5 * generator.normal(size=(6, 2, 8, 40)), names)
        result = frame_of(by_gradient(frame, names, permutations=500))
        of_family = [index for index in result.index if index[0] == -1 and index[1][0] == index[2][0]]
        assert (result.loc[of_family, "p_value"] <= 0.01).all()
        assert (result.loc[of_family, "value"] > result.loc[of_family, "null_upper"]).all()
        score = nearest_neighbour_score(result.loc[-1]["value"].unstack(), lambda name: name[0], 2000)
        assert score.hits == score.tasks == 8
        assert score.p_value == pytest.approx(1 / 105, abs=0.007)  # one of the 105 ways to pair 8 tasks


def listing(*plans: tuple[int, dict[int, list[list[str]]]], phase: str = "train") -> pd.DataFrame:
    """Sharing rows of plans (step, layer -> groups)."""
    rows = [
        {"phase": phase, "step": step, "layer": layer, "task": task, "group": number}
        for step, layers in plans
        for layer, groups in layers.items()
        for number, group in enumerate(groups)
        for task in group
    ]
    return pd.DataFrame(rows)


class TestPlan:
    start = (0, {layer: [["a", "b", "c"]] for layer in range(4)})
    end = (20, {0: [["a", "b", "c"]], 1: [["a", "b"], ["c"]], 2: [["a", "c"], ["b"]], 3: [["a"], ["b"], ["c"]]})

    def test_last_plan_counts(self):
        result = frame_of(by_plan(listing(self.start, self.end), ["c", "b", "a"]))
        assert result.loc[(-1, "a", "b"), "value"] == result.loc[(-1, "b", "a"), "value"] == 0.5
        assert result.loc[(-1, "b", "c"), "value"] == 0.25
        assert [result.loc[(layer, "a", "c"), "value"] for layer in range(4)] == [1, 0, 1, 0]
        empty = ["checks", "standard_error", "null_mean", "null_upper", "p_value"]
        assert result[empty].isna().all(axis=None) and len(result) == 5 * 6

    def test_last_phase_counts(self):
        later = listing((0, self.start[1]), phase="again")
        result = frame_of(by_plan(pd.concat([listing(self.start, self.end), later]), ["a", "b"]))
        assert (result["value"] == 1).all()

    def test_layer_without_adapter_does_not_count(self):
        sharing = listing((0, {0: [["a", "b"]], 1: [["a"]]}))
        result = frame_of(by_plan(sharing, ["a", "b", "other"]))
        assert result.loc[(-1, "a", "b"), "value"] == 1 and pd.isna(result.loc[(1, "a", "b"), "value"])
        assert pd.isna(result.loc[(-1, "a", "other"), "value"])

    def test_bad_tables_are_refused(self):
        with pytest.raises(ValueError, match="no plan"):
            by_plan(listing(self.start).iloc[:0], ["a"])
        with pytest.raises(ValueError, match="several runs"):
            by_plan(pd.concat([listing(self.start), listing(self.start)]), ["a"])


class TestFamilies:
    names = ["a1", "a2", "b1", "b2"]

    def matrix(self, values, names=None) -> pd.DataFrame:
        return pd.DataFrame(values, index=names or self.names, columns=names or self.names, dtype=float)

    def test_hits_and_exact_chance(self):
        nan = math.nan
        values = [[9, 0.5, 0.1, nan], [0.5, 9, 0.6, 0], [0, 0, 9, 0.2], [0, 0, 0.3, 9]]
        score = nearest_neighbour_score(self.matrix(values), lambda name: name[0], permutations=5000)
        assert (score.hits, score.tasks) == (3, 4)  # a2 is nearer to b1
        assert score.expected == pytest.approx(4 / 3)
        # Neighbours a1>a2, a2>b1, b1<>b2: 8 of the 24 orders put the same family on b1 and b2, and then 3 hits.
        assert score.p_value == pytest.approx(1 / 3, abs=0.03)

    def test_ties_go_to_the_first_name_whatever_the_order(self):
        values = self.matrix(np.ones((4, 4)))
        for order in (["a1", "a2", "b1", "b2"], ["b2", "a2", "b1", "a1"]):
            score = nearest_neighbour_score(values.loc[order, order[::-1]], lambda name: name[0], permutations=10)
            assert score.hits == 2  # all but a1 choose a1, a1 chooses a2

    def test_task_without_values_is_not_counted(self):
        values = self.matrix(np.ones((4, 4)))
        values.loc["b2"] = math.nan
        assert nearest_neighbour_score(values, lambda name: name[0], permutations=10).tasks == 3

    def test_different_rows_and_columns_are_refused(self):
        with pytest.raises(ValueError, match="same tasks"):
            nearest_neighbour_score(self.matrix(np.ones((4, 4))).iloc[:3], lambda name: name, permutations=10)

    def test_same_seed_same_score(self):
        values = self.matrix(np.random.default_rng(0).normal(size=(4, 4)))
        one, two = (nearest_neighbour_score(values, lambda name: name[0], 200, seed=3) for _ in range(2))
        assert one == two
