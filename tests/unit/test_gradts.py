"""GradTS: Kendall's tau against scipy, head importances against an explicit loop, and the measures made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.measures.base import Cost, Scope, sample_rows
from adaptershare_cli.measures.gradts import GradTSSettings, gradts, gradts_instance
from adaptershare_cli.measures.needs import TunedModels
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.model.encoder import attention_sites
from adaptershare_cli.observe.head_importance import Signal, per_layer, row_importance
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.statistics import kendall
from adaptershare_cli.statistics.kendall import kendall_tau_b
from tests.conftest import ENCODER_TYPES
from tests.core import build_method, random_parts

HEADS, WIDTH = 2, 16  # of the small encoders
TASKS = ("first", "second", "score")


def scipy_taus(vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.array([[stats.kendalltau(v, r).statistic for r in references] for v in vectors])


def numbers(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Some vectors and some references of one length."""
    return st.tuples(st.integers(2, 12), st.integers(1, 4), st.integers(1, 3)).flatmap(
        lambda n: st.tuples(arrays(float, (n[1], n[0]), elements=values), arrays(float, (n[2], n[0]), elements=values))
    )


class TestKendall:
    @settings(max_examples=150, deadline=None)
    @given(numbers(st.floats(-1e6, 1e6)) | numbers(st.sampled_from([0.0, 0.5, 1.0])))
    def test_equals_scipy_with_and_without_ties(self, case):
        np.testing.assert_allclose(kendall_tau_b(*case), scipy_taus(*case), atol=1e-12)

    def test_equals_scipy_at_the_size_of_a_large_encoder(self):
        draw = np.random.default_rng(0)
        vectors, references = draw.normal(size=(3, 384)), draw.normal(size=(2, 384)).round(1)
        np.testing.assert_allclose(kendall_tau_b(vectors, references), scipy_taus(vectors, references), atol=1e-12)

    def test_a_constant_vector_has_none(self):
        assert np.isnan(kendall_tau_b(np.ones((1, 5)), np.arange(5.0)[None])).all()

    def test_blocks_change_nothing(self, monkeypatch):
        vectors = np.random.default_rng(1).normal(size=(9, 8))
        whole = kendall_tau_b(vectors, vectors)
        monkeypatch.setattr(kendall, "BLOCK_VALUES", 1)
        assert np.array_equal(kendall_tau_b(vectors, vectors), whole)
        np.testing.assert_allclose(np.diagonal(whole), 1)

    @settings(max_examples=50, deadline=None)
    @given(numbers(st.floats(0, 1e6)))
    def test_no_strictly_rising_function_changes_it(self, case):
        vectors, references = case
        scaled = (references - references.min()) / 7 + 3  # what min-max over a whole matrix would do
        kept = np.array([len(set(row)) for row in references]) == [len(set(row)) for row in scaled]
        found = kendall_tau_b(vectors, scaled)[:, kept]
        np.testing.assert_allclose(found, kendall_tau_b(vectors, references)[:, kept], atol=1e-12)


def private_method(folder: Path) -> tuple[PlannedMethod, dict[str, Rows]]:
    """Own adapters for each task, with weights that are not their fresh ones, in float64."""
    segments = folder.name in ("bert", "electra")
    method, parts = build_method(folder, "private", random_parts(TASKS, segments=segments), double=True)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in method.model.parameters():
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return method, {task: part.train.take(np.arange(9)) for task, part in parts.items()}


def explicit(method: PlannedMethod, task: str, rows: Rows, signal: Signal, axis: str) -> np.ndarray:
    """The same with one plain backward pass a row, weights that take gradients, and slices written out."""
    model, sites = method.model, attention_sites(method.model.encoder)
    found = np.zeros((len(rows), len(sites), HEADS))
    model.eval()
    for row in range(len(rows)):
        batch = make_batch(task, rows, np.array([row]), 0)
        if signal == "weight-grad":
            weights = [(site.key.linear.weight, site.value.linear.weight) for site in sites]
            for pair in weights:
                for weight in pair:
                    weight.requires_grad_(True)
            gradients = torch.autograd.grad(model.loss(batch), [weight for pair in weights for weight in pair])
            for layer in range(len(sites)):
                total = gradients[2 * layer].abs() + gradients[2 * layer + 1].abs()
                for head in range(HEADS):
                    block = slice(head * WIDTH, (head + 1) * WIDTH)
                    part = total[block] if axis == "output" else total[:, block]
                    found[row, layer, head] = part.mean().item()
            for pair in weights:
                for weight in pair:
                    weight.requires_grad_(False)
        else:
            gates = torch.ones(len(sites), HEADS, dtype=torch.float64, requires_grad=True)

            def scale(layer: int, gates: torch.Tensor = gates):
                return lambda module, inputs: (inputs[0] * gates[layer].repeat_interleave(WIDTH), *inputs[1:])

            handles = [site.output.register_forward_pre_hook(scale(layer)) for layer, site in enumerate(sites)]
            found[row] = torch.autograd.grad(model.loss(batch), gates)[0].abs().numpy()
            for handle in handles:
                handle.remove()
    return found


class TestImportance:
    @pytest.mark.parametrize("model_type", ENCODER_TYPES)
    @pytest.mark.parametrize(
        ("signal", "axis"), [("weight-grad", "output"), ("weight-grad", "input"), ("head-gate", "output")]
    )
    def test_equals_an_explicit_loop(self, encoders, model_type, signal, axis):
        method, rows = private_method(encoders[model_type])
        for task in TASKS[1:]:
            found = row_importance(method.model, task, rows[task], 0, signal, axis, chunk_rows=4)
            expected = explicit(method, task, rows[task], signal, axis)
            assert found.shape == (9, 2, HEADS) and (expected > 0).all()
            np.testing.assert_allclose(found, expected, rtol=1e-9)

    @pytest.mark.parametrize("signal", ["weight-grad", "head-gate"])
    def test_output_axis_puts_all_mass_on_the_only_head_that_gets_gradient(self, encoder, signal):
        """And the released code's axis does not: its blocks are no heads."""
        method, rows = private_method(encoder)
        with torch.no_grad():
            for site in attention_sites(method.model.encoder):
                site.output.weight[:, WIDTH:] = 0.0  # only head 0 goes on
        found = row_importance(method.model, "first", rows["first"], 0, signal)
        assert (found[:, :, 0] > 0).all() and (found[:, :, 1] == 0).all()
        columns = per_layer(row_importance(method.model, "first", rows["first"], 0, "weight-grad", "input"))
        assert (columns > 0.2).all()

    def test_nothing_is_left_behind(self, encoder):
        method, rows = private_method(encoder)
        for signal in ("weight-grad", "head-gate"):
            row_importance(method.model, "first", rows["first"], 0, signal)
        assert all(p.grad is None for p in method.model.encoder.parameters())
        for site in attention_sites(method.model.encoder):
            for linear in (site.key.linear, site.value.linear, site.output):
                assert not linear._forward_hooks and not linear._forward_pre_hooks
                assert not linear.weight.requires_grad

    def test_attention_sites_are_those_of_each_layer(self, encoders):
        for kind in ENCODER_TYPES:
            sites = attention_sites(
                build_method(encoders[kind], "private", random_parts(TASKS, segments=False))[0].model.encoder
            )
            assert len(sites) == 2
            linears = [linear for site in sites for linear in (site.key.linear, site.value.linear, site.output)]
            assert {linear.weight.shape for linear in linears} == {(32, 32)}
            assert all(part.rows == slice(0, 32) for site in sites for part in (site.key, site.value))

    def test_layers_are_scaled_one_by_one(self):
        np.testing.assert_allclose(per_layer(np.array([[3.0, 1.0], [0.0, 0.0]])), [[0.75, 0.25], [0, 0]])


SCOPE = Scope(TASKS, seeds=(4,))


def models_of(method: PlannedMethod, rows: dict[str, Rows]) -> TunedModels:
    return TunedModels(lambda seed: method.model, lambda seed: method.model, rows)


class TestMeasures:
    def test_task_level_against_scipy(self, encoder):
        method, rows = private_method(encoder)
        found = gradts(models_of(method, rows), SCOPE, GradTSSettings(samples=6))
        assert found.cost == Cost(18, 18) and set(found.values["seed"]) == {4}
        matrices = {}
        for task in TASKS:
            sample = sample_rows(rows[task], task, 6)
            mean = explicit(method, task, sample, "weight-grad", "output").mean(0)
            matrices[task] = (mean / mean.sum(1, keepdims=True)).ravel()
        assert len(found.values) == 3
        for row in found.values.itertuples():
            assert row.value == pytest.approx(stats.kendalltau(matrices[row.source], matrices[row.target]).statistic)

    def test_instance_level_against_scipy(self, encoder):
        method, rows = private_method(encoder)
        found = gradts_instance(models_of(method, rows), SCOPE, GradTSSettings(importance="head-gate"))
        table = found.tables["instances"].to_pandas().set_index(["source", "target", "row"])["tau"].sort_index()
        means = found.values.set_index(["source", "target"])["value"]
        assert len(table) == 3 * 2 * 9 and len(means) == 6
        by_row = {task: explicit(method, task, rows[task], "head-gate", "output") for task in TASKS}
        matrix = {task: per_layer(found.mean(0)).ravel() for task, found in by_row.items()}
        for source in TASKS:
            for target in set(TASKS) - {source}:
                taus = [stats.kendalltau(per_layer(s).ravel(), matrix[target]).statistic for s in by_row[source]]
                assert table[source, target].loc[rows[source].row].tolist() == pytest.approx(taus)
                assert means[source, target] == pytest.approx(np.mean(taus))

    def test_shared_adapters_count_too(self, encoder):
        """The measure takes any plan; under a shared one only heads and rows differ."""
        method, rows = private_method(encoder)
        method.model.bank.set_plan(SharingPlan.shared(TASKS, 2))
        assert gradts(models_of(method, rows), SCOPE, GradTSSettings()).values["value"].between(-1, 1).all()
