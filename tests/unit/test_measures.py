"""The smaller measures, the measured truths, and how values become the table that all measures publish."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adaptershare_cli import schemas
from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import gradient
from adaptershare_cli.measures.adapter_weights import AdapterWeightsSettings, adapter_weights
from adaptershare_cli.measures.base import Cost, Scope, sample_rows
from adaptershare_cli.measures.chance import by_chance
from adaptershare_cli.measures.few_labels import few_labels
from adaptershare_cli.measures.fisher import FisherSettings, fisher, fisher_diagonal, similarity
from adaptershare_cli.measures.gradient import GradientSettings
from adaptershare_cli.measures.gradts import GradTSSettings
from adaptershare_cli.measures.lookahead import lookahead
from adaptershare_cli.measures.needs import EncodedRows, RunTables, Tasks, TunedModels
from adaptershare_cli.measures.pair import pair, pair_trainings
from adaptershare_cli.measures.plan import plan
from adaptershare_cli.measures.popularity import PopularitySettings, popularity
from adaptershare_cli.measures.settings import MeasureSettings, SeededMeasureSettings, TunedSettings
from adaptershare_cli.measures.size import size
from adaptershare_cli.measures.text import TextSettings, text
from adaptershare_cli.measures.text_pairs import text_pairs
from adaptershare_cli.measures.trainings import Training, scored_rows, trained_rows
from adaptershare_cli.measures.transfer import TransferSettings, transfer, transfer_trainings
from adaptershare_cli.model.encoder import load_encoder, pool
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.statistics.matrices import answer_of
from adaptershare_cli.statistics.summary import summarise, value_table
from tests.core import INFOS, build_method, info_of, random_parts, random_rows
from tests.unit.test_correlation import checks_of, listing, random_gradients

TASKS = ("first", "second", "score")
PAIRS = list(itertools.permutations(TASKS, 2))


SCOPE = Scope(TASKS, seeds=(0, 1))


def by_pair(values: pd.DataFrame, **where) -> dict[tuple[str, str], float]:
    for column, value in where.items():
        values = values[values[column] == value]
    return {(row.source, row.target): row.value for row in values.itertuples()}


class TestSummary:
    tasks = ["c", "a", "b"]

    def values(self, seeds=(0, 1, 2), layers=(-1, 0)) -> pd.DataFrame:
        draw = np.random.default_rng(3)
        keys = itertools.product(seeds, layers, itertools.permutations(self.tasks, 2))
        return value_table(
            [{"seed": s, "layer": layer, "source": a, "target": b, "value": draw.normal()} for s, layer, (a, b) in keys]
        )

    def test_answer_is_the_mean_over_seeds_and_each_seed_is_kept(self):
        values = self.values()
        table = summarise("m", values, self.tasks, True, 50).to_pandas()
        assert len(table) == 4 * 2 * 6 and table["checks"].isna().all()
        for layer in (-1, 0):
            parts = [by_pair(values, seed=seed, layer=layer) for seed in (0, 1, 2)]
            assert [by_pair(table, seed=seed, layer=layer) for seed in (0, 1, 2)] == parts
            answer = answer_of(table).query("layer == @layer").set_index(["source", "target"])
            for key in itertools.permutations(self.tasks, 2):
                found = [part[key] for part in parts]
                assert answer.loc[key, "value"] == pytest.approx(np.mean(found))
                assert answer.loc[key, "standard_error"] == pytest.approx(np.std(found, ddof=1) / math.sqrt(3))
        assert table[table["seed"].notna()][["standard_error", "p_value"]].isna().all(axis=None)

    def test_null_over_seeds_against_a_slow_loop(self):
        values = self.values(seeds=(5, 9), layers=(-1,))
        answer = answer_of(summarise("m", values, self.tasks, True, 30, seed=7).to_pandas()).set_index(
            ["source", "target"]
        )
        names = sorted(self.tasks)
        order = np.random.default_rng(7).permuted(np.broadcast_to(np.arange(3, dtype=np.int32), (2, 30, 3)), axis=2)
        parts = [by_pair(values, seed=5), by_pair(values, seed=9)]
        null = [
            np.mean([part[names[order[k, p, 2]], names[order[k, p, 0]]] for k, part in enumerate(parts)])
            for p in range(30)
        ]
        row = answer.loc[("c", "a")]
        assert row.null_mean == pytest.approx(np.mean(null)) and row.null_upper == pytest.approx(
            np.quantile(null, 0.95)
        )
        assert row.p_value == pytest.approx((1 + sum(n >= row.value - 1e-12 for n in null)) / 31)

    def test_one_seed_is_the_answer(self):
        table = summarise("m", self.values(seeds=(4,)), self.tasks, True, 50).to_pandas()
        answer, own = (
            part.drop(columns="seed").reset_index(drop=True) for part in (answer_of(table), table[table.seed == 4])
        )
        pd.testing.assert_frame_equal(answer, own)
        assert answer[["standard_error", "p_value"]].isna().all(axis=None)

    def test_values_without_seed(self):
        table = summarise("m", self.values(seeds=(None,)), self.tasks, True, 50).to_pandas()
        assert table["seed"].isna().all() and len(table) == 12

    def test_directed_stays_directed_and_symmetric_is_mirrored(self):
        values = self.values(seeds=(0,), layers=(-1,))
        assert by_pair(answer_of(summarise("m", values, self.tasks, True).to_pandas())) == by_pair(values)
        with pytest.raises(ValueError, match="twice"):
            summarise("m", values, self.tasks, False)
        half = values[values["source"] < values["target"]]
        found = by_pair(answer_of(summarise("m", half, self.tasks, False).to_pandas()))
        assert all(found[a, b] == found[b, a] for a, b in found) and len(found) == 6

    def test_checks_of_all_seeds_are_counted(self):
        one = gradient.cosines(checks_of(random_gradients(checks=4), list("abcd")), "all").assign(seed=0)
        two = gradient.cosines(checks_of(random_gradients(checks=2), list("abcd")), "all").assign(seed=1)
        table = summarise("gradient", pd.concat([one, two]), list("abcd"), False, 20).to_pandas()
        assert set(answer_of(table)["checks"]) == {6} and set(table[table.seed == 1]["checks"]) == {2}
        assert answer_of(table)["value"].to_numpy() == pytest.approx(
            (table[table.seed == 0]["value"].to_numpy() + table[table.seed == 1]["value"].to_numpy()) / 2
        )

    @settings(max_examples=25, deadline=None)
    @given(st.permutations(range(3 * 2 * 6)), st.permutations(["a", "b", "c"]))
    def test_order_of_rows_and_tasks_is_irrelevant(self, order, tasks):
        values = self.values()
        keys = ["seed", "layer", "source", "target"]
        one = summarise("m", values, self.tasks, True, 10).to_pandas().sort_values(keys, ignore_index=True)
        two = summarise("m", values.iloc[order], tasks, True, 10).to_pandas().sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(one, two)


class TestOfRuns:
    def test_gradient_directed_against_the_gradients(self):
        gradients = random_gradients(checks=2, layers=3, tasks=3)
        gradients[1, 2, 0] = 0  # first has no gradient in the last layer of the last check
        frame = checks_of(gradients, list(TASKS))
        found = gradient.gradient_directed(
            RunTables({0: frame}, heldout={"first": 5, "score": 7}), SCOPE, GradientSettings()
        )
        assert found.cost == Cost(24, 24)
        for k, (s, t) in itertools.product(range(2), itertools.permutations(range(3), 2)):
            g, h = gradients[k, :, s], gradients[k, :, t]
            known = (h**2).sum(1) > 0
            mine = found.values[found.values["term"].str.endswith(f"{10 * (k + 1)}")]
            for layer in range(3):
                value = by_pair(mine, layer=layer)[TASKS[s], TASKS[t]]
                assert value == pytest.approx(
                    (g[layer] @ h[layer]) / (h[layer] @ h[layer]) if known[layer] else math.nan, nan_ok=True
                )
            assert by_pair(mine, layer=-1)[TASKS[s], TASKS[t]] == pytest.approx(
                (g * h)[known].sum() / (h**2)[known].sum()
            )

    def test_only_checks_at_which_they_shared(self):
        frame = checks_of(random_gradients(tasks=3), list(TASKS), shared=lambda k, layer, a, b: layer == 0)
        for terms in (gradient.cosines, gradient.directed_products):
            found = terms(frame, "shared")
            assert found[found["layer"] > 0]["value"].isna().all()
            both = found[found["layer"] == 0].merge(found[found["layer"] == -1], on=["term", "source", "target"])
            assert both["value_x"].tolist() == pytest.approx(both["value_y"].tolist()) and len(both)

    def test_costs_of_runs(self):
        look = {"phase": "main", "source": "first", "target": "score", "half": 0, "loss_before": 2.0, "loss_after": 1.0}
        frame = pd.DataFrame([{**look, "step": step} for step in (5, 10)])
        found = lookahead(RunTables({0: frame, 1: frame}, heldout={"first": 8}), SCOPE, SeededMeasureSettings())
        assert found.cost == Cost(5 * 8 * 4, 8 * 4) and found.values["value"].tolist() == [0.5] * 4
        sharing = listing((0, {0: [list(TASKS)]}))
        assert plan(RunTables({0: sharing}), SCOPE, SeededMeasureSettings()).cost == Cost()


class TestOfModels:
    def test_adapter_weights(self, encoder: Path):
        def method(change: bool):
            found, _ = build_method(encoder, "private", random_parts(TASKS), double=True)
            if change:
                with torch.no_grad():
                    for number, task in enumerate(TASKS):
                        for name, tensor in found.model.bank.named_parameters(task):
                            tensor.add_(torch.full_like(tensor, [1.0, 2.0, -1.0][number]) if "bias" in name else 0.0)
            return found.model

        models = TunedModels(lambda seed: method(True), lambda seed: method(False), rows={})
        found = adapter_weights(models, SCOPE, AdapterWeightsSettings()).values
        for layer in (-1, 0, 1):
            values = by_pair(found, seed=0, layer=layer)
            assert values == pytest.approx({("first", "second"): 1, ("first", "score"): -1, ("second", "score"): -1})
        raw = by_pair(
            adapter_weights(models, SCOPE, AdapterWeightsSettings(adapter_origin="zero")).values, seed=1, layer=0
        )
        weights = [
            torch.cat([t.ravel() for _, t in method(True).bank.named_parameters(task, 0)])
            for task in ("first", "score")
        ]
        assert raw["first", "score"] == pytest.approx(torch.cosine_similarity(*weights, dim=0).item())

    def test_fisher_diagonal_equals_a_loop_over_rows(self, encoder: Path):
        method, parts = build_method(encoder, "private", random_parts(TASKS), double=True)
        rows = parts["second"].train.take(np.arange(11))
        method.model.eval()
        for layer, found in enumerate(fisher_diagonal(method.model, "second", rows, 0, chunk_rows=4)):
            tensors = [tensor for _, tensor in method.model.bank.named_parameters("second", layer)]
            squares = []
            for row in range(len(rows)):
                loss = method.model.loss(make_batch("second", rows, np.array([row]), 0))
                squares.append(torch.cat([g.ravel() for g in torch.autograd.grad(loss, tensors)]).square())
            mean = torch.stack(squares).mean(0).numpy()
            np.testing.assert_allclose(found, mean / mean.mean(), rtol=1e-8, atol=1e-12)

    def test_fisher_measure(self, encoder: Path):
        method, parts = build_method(encoder, "private", random_parts(TASKS))
        rows = {task: part.train for task, part in parts.items()}
        models = TunedModels(lambda seed: method.model, lambda seed: method.model, rows)
        found = fisher(models, SCOPE, FisherSettings(samples=5))
        assert found.cost == Cost(30, 30) and len(found.values) == 2 * 3 * 3  # seeds, layers and all, pairs
        one, two = (
            np.concatenate(fisher_diagonal(method.model, task, sample_rows(rows[task], task, 5), 0))
            for task in ("first", "second")
        )
        expected = similarity(one, two, "task2vec")
        assert by_pair(found.values, seed=1, layer=-1)["first", "second"] == pytest.approx(expected)

    diagonals = arrays(float, 6, elements=st.just(0.0) | st.floats(1e-9, 1e3))

    @settings(max_examples=60, deadline=None)
    @given(diagonals, diagonals, st.sampled_from(["task2vec", "cosine"]))
    def test_similarity_laws(self, one, two, how):
        value = similarity(one, two, how)
        if not (one.any() and two.any()):
            assert math.isnan(value)
            return
        assert -1e-12 <= value <= 1 + 1e-12
        assert value == pytest.approx(similarity(two, one, how))
        assert similarity(one, one, how) == pytest.approx(1)

    def test_task2vec_by_hand(self):
        one, two = np.array([1.0, 1.0, 100.0]), np.array([3.0, 0.0, 100.0])
        first, second = np.array([0.25, 1, 0.5]), np.array([0.75, 0, 0.5])
        expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        assert similarity(one, two, "task2vec") == pytest.approx(expected)
        assert similarity(one, two, "cosine") > 0.99  # the largest decides

    def test_text(self, encoder: Path):
        model = load_encoder(locate_encoder(str(encoder)), torch.device("cpu"))
        rows = {task: random_rows(INFOS[task], 20, 1) for task in TASKS}
        rows["second"] = rows["first"]

        def encode(batch):
            return pool(model(**batch).last_hidden_state, batch["attention_mask"], "mean")

        found = text(EncodedRows(encode, rows), SCOPE, TextSettings(samples=20))
        values = by_pair(found.values)
        assert values["first", "second"] == pytest.approx(1) and found.cost == Cost(60)
        means = []
        for task in ("first", "score"):
            one_by_one = [encode(make_batch(task, rows[task], np.array([row]), 0).inputs) for row in range(20)]
            means.append(torch.cat(one_by_one).mean(0).detach())
        assert values["first", "score"] == pytest.approx(torch.cosine_similarity(*means, dim=0).item(), abs=1e-5)

    def test_samples(self):
        rows = random_rows(INFOS["first"], 30, 1)
        sample = sample_rows(rows, "first", 12)
        assert len(sample) == 12 and sorted(sample.row) == list(sample.row)
        again, other = sample_rows(rows, "first", 12), sample_rows(rows, "second", 12)
        assert list(again.row) == list(sample.row) != list(other.row)
        assert sample_rows(rows, "first", 30) is rows
        for place, row in enumerate(sample.row):
            own, all_of = (r.tokens[r.offsets[i] : r.offsets[i + 1]] for r, i in ((sample, place), (rows, row)))
            assert np.array_equal(own, all_of) and sample.content[place] == rows.content[row]


class TestTrivial:
    def test_random(self):
        found = by_chance(None, SCOPE, SeededMeasureSettings()).values
        values = by_pair(found, seed=0)
        assert len(set(values.values())) == 6 and values != by_pair(found, seed=1)
        assert by_chance(None, SCOPE, SeededMeasureSettings()).values.equals(found)
        assert all(0 <= value < 1 for value in values.values())

    def test_size(self):
        values = by_pair(size({"first": 10, "second": 1000, "score": 100}, SCOPE, MeasureSettings()).values)
        assert values["second", "first"] == values["second", "score"] == pytest.approx(3)
        assert values["score", "first"] == pytest.approx(2)

    def test_few_labels(self):
        infos = {"first": info_of("first"), "second": info_of("second"), "score": info_of("score")}
        values = by_pair(few_labels(Tasks(infos, {}), SCOPE, MeasureSettings()).values)
        assert values["first", "second"] == values["first", "score"] == pytest.approx(-np.log(2))
        assert values["second", "first"] == pytest.approx(-np.log(3))
        assert values["score", "first"] == 0  # a regression has one output

    def test_text_pairs(self):
        rows = {task: random_rows(info_of(task), 5, 1) for task in TASKS}
        rows["score"].types = (np.arange(len(rows["score"].tokens)) % 2).astype(np.int64)
        values = by_pair(text_pairs(Tasks({}, rows), SCOPE, MeasureSettings()).values)
        assert {source for (source, _), value in values.items() if value} == {"score"} and set(values.values()) == {
            0,
            1,
        }

    def test_popularity_leaves_the_target_out(self):
        truth = value_table(
            [{"seed": 0, "source": s, "target": t, "value": 10.0 * TASKS.index(s) + TASKS.index(t)} for s, t in PAIRS]
        )
        values = by_pair(popularity(truth, SCOPE, PopularitySettings()).values)
        assert (
            values["first", "second"] == 2.0 and values["second", "first"] == 12.0 and values["score", "first"] == 21.0
        )
        changed = truth.assign(value=truth["value"].where(truth["target"] != "first", -1e9))
        again = by_pair(popularity(changed, SCOPE, PopularitySettings()).values)
        assert {k: v for k, v in again.items() if k[1] == "first"} == {
            k: v for k, v in values.items() if k[1] == "first"
        }
        assert again != values


class TestTruth:
    def test_transfer(self):
        settings = TransferSettings(target_steps=5, source_steps=9)
        todo = transfer_trainings(TASKS, (0, 1), settings)
        assert len(todo) == len(set(todo)) == 2 * (3 + 3 + 6)
        for place, training in enumerate(todo):
            assert training.start is None or (training.start in todo[:place] and training.start.steps == 9)
        scores = {}
        for training in todo:
            start = training.start
            scores[training] = {
                training.tasks[0]: 0.5 if start is None else 0.5 + 0.01 * PAIRS.index((start.tasks[0], *training.tasks))
            }
        found = transfer(scores, SCOPE, settings)
        for seed in (0, 1):
            assert by_pair(found.values, seed=seed) == pytest.approx({key: 0.01 * n for n, key in enumerate(PAIRS)})
        assert len(transfer_trainings(TASKS, (0,), TransferSettings(target_steps=5))) == 3 + 6
        assert Training(("b",), 0, 5, Training(("a",), 0, 5)).name == "a → b"

    def test_pair(self):
        settings = TunedSettings(target_steps=5)
        todo = pair_trainings(TASKS, (0, 1), settings)
        assert len(todo) == len(set(todo)) == 2 * (3 + 3) and all(training.steps == 5 for training in todo)
        scores = {t: {task: (len(t.tasks) - 1) * len(task) + 0.1 * t.seed for task in t.tasks} for t in todo}
        found = pair(scores, SCOPE, settings)
        assert by_pair(found.values, seed=1) == pytest.approx({(s, t): len(t) for s, t in PAIRS})

    def test_rows(self):
        together = Training(("a", "b"), 0, 5)
        assert trained_rows([together, Training(("a",), 0, 5)], 8) == (2 + 1) * 5 * 8
        assert scored_rows([together, together], {"a": 3, "b": 4}, {}) == 14
        trial = Training(("a", "b"), 0, 7, target="b")  # every second update on each: 7 times, and the end again
        assert trial.every == 2 and scored_rows([trial], {"b": 4}, {"b": 10}) == 4 + 80


def test_options_without_effect_are_refused():
    with pytest.raises(UserError, match="head-axis"):
        GradTSSettings(importance="head-gate", head_axis="input")
    with pytest.raises(UserError, match="source-steps"):
        PopularitySettings(against="pair", source_steps=4)


def test_values_schema():
    assert set(value_table([]).columns) <= set(schemas.CORRELATION.names) | {"term"}
