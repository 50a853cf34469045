"""Linearised estimation: gradients of outputs against plain passes, projections, refits against other solvers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.kinds.rows.answers import Targets
from adaptershare_cli.measures.base import Cost, Scope
from adaptershare_cli.measures.grad_tag import GradTagSettings, affinities, grad_tag, task_sets
from adaptershare_cli.measures.needs import SharedModels
from adaptershare_cli.observe.gradients import adapter_parts
from adaptershare_cli.observe.output_gradients import Projection, output_gradients
from adaptershare_cli.training.linear_refit import Linearised, refit
from tests.core import build_method, info_of, random_parts, scramble

TASKS = ("first", "score", "tags")


# ------------------------------------------------------------------------------------------------- gradients of outputs


@pytest.mark.parametrize("task", TASKS)
def test_gradients_equal_those_of_one_row_and_output_at_a_time(encoder: Path, task: str) -> None:
    method, parts = build_method(encoder, "shared", random_parts(TASKS, rows=70), double=True)
    model, projection = method.model, Projection(5, seed=3)
    scramble(model.bank.parameters(), 1)
    rows = parts[task].train
    found = output_gradients(model, task, rows, 0, projection)
    assert found.gradients.shape == (*found.outputs.shape, 5) and len(found.outputs) == len(rows.answers)
    holders = [list(part.tasks[0].holder.parameters()) for part in adapter_parts(model, [task])]
    for row in (0, 69):
        batch = make_batch(task, rows, np.array([row]), 0)
        with model.active(task):
            hidden = model.encode(batch.inputs)
            logits = model.read(task, hidden, batch.inputs["attention_mask"], batch.targets)
            for own, answer in enumerate(rows.answers.of_rows(np.array([row]))):
                np.testing.assert_allclose(found.outputs[answer], logits[own].detach().numpy(), atol=1e-5)
                for output in range(logits.shape[1]):
                    expected = torch.zeros(1, 5)
                    for number, tensors in enumerate(holders):
                        flat = torch.autograd.grad(logits[own, output], tensors, retain_graph=True)
                        expected = expected + projection(number, torch.cat([g.flatten() for g in flat])[None])
                    np.testing.assert_allclose(found.gradients[answer, output], expected[0].numpy(), atol=1e-5)
    turns = [int(rows.answers.per_row.max())] if task == "tags" else [1]
    assert found.forward == 70 and found.backward <= 70 * logits.shape[1] * turns[0]
    if task != "tags":
        assert found.backward == 70 * logits.shape[1]


def test_projections_keep_inner_products_in_expectation() -> None:
    first, second = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 30)))
    both = torch.stack([first, second])
    drawn = [Projection(8, seed) for seed in range(300)]
    products = np.array([(p(0, both) @ p(0, both).T).numpy() for p in drawn])
    error = float(first.norm() * second.norm()) / np.sqrt(8 * 300)
    assert abs(products[:, 0, 1].mean() - float(first @ second)) < 5 * error
    one = torch.eye(30)[:1]
    assert all(float((p(0, one) ** 2).sum()) == pytest.approx(1) for p in drawn[:5])  # ±1/√8, eight times
    assert torch.equal(drawn[0](0, both), Projection(8, 0)(0, both))
    assert not torch.equal(drawn[0](0, both), drawn[0](1, both))  # each part has signs of its own


# --------------------------------------------------------------------------------------------------------------- refits


def random_task(name: str, seed: int, rows: int = 40, width: int = 4, labels: np.ndarray | None = None) -> Linearised:
    """A task whose outputs are linear in `width` parameters, from a start that is not zero."""
    random, info = np.random.default_rng(seed), info_of(name)
    outputs = len(info.labels) or 1
    if labels is None:
        labels = random.integers(0, outputs, rows) if info.labels else random.uniform(0, 5, rows)
    start, gradients = random.normal(size=(len(labels), outputs)), random.normal(size=(len(labels), outputs, width))
    targets = Targets(torch.from_numpy(labels))
    return Linearised(info, targets, torch.from_numpy(start), torch.from_numpy(gradients))


@given(st.integers(0, 99), st.sampled_from([0.01, 0.3, 5.0]))
@settings(deadline=None, max_examples=10)
def test_two_regressions_are_one_ridge_of_their_parameters(seed: int, penalty: float) -> None:
    """Solved for the parameters themselves, from where they start: nothing is left out, and no task counts more."""
    tasks = [random_task("score", seed, 30), random_task("score", seed + 1, 50)]
    start = np.random.default_rng(seed).normal(size=6)  # four parameters and two biases
    inputs, wanted, weights = [], [], []
    for place, task in enumerate(tasks):
        bias = np.zeros((len(task.outputs), 2))
        bias[:, place] = 1
        x = np.hstack([task.gradients[:, 0].numpy(), bias])
        constant = task.outputs[:, 0].numpy() - x @ start  # what of the outputs no parameter moves
        inputs.append(x)
        wanted.append((task.targets.labels.numpy() - 2.5) / 2.5 - constant)
        weights += [1 / len(x)] * len(x)
    x, y, w = np.vstack(inputs), np.concatenate(wanted), np.array(weights)
    system = 2 * x.T @ (w[:, None] * x) + penalty * np.eye(6)
    parameters = np.linalg.solve(system, 2 * x.T @ (w * y) + penalty * start)
    change, biases = refit(tasks, penalty)
    np.testing.assert_allclose(np.concatenate([change, *biases]), parameters - start, atol=1e-5)


def test_classes_are_logistic_regression() -> None:
    task = random_task("first", 2, 60)
    difference = (task.gradients[:, 1] - task.gradients[:, 0]).numpy()
    task = Linearised(task.info, task.targets, torch.zeros_like(task.outputs), task.gradients)
    change, (bias,) = refit([task], 0.05)
    # Two biases with a penalty each are one with half of it.
    x = np.hstack([difference, np.full((60, 1), 2**0.5)])
    theirs = LogisticRegression(C=1 / (0.05 * 60), fit_intercept=False, tol=1e-10, max_iter=5000)
    found = theirs.fit(x, task.targets.labels.numpy()).coef_[0]
    np.testing.assert_allclose(change, found[:4], atol=1e-4)
    assert float(bias[1] - bias[0]) == pytest.approx(found[4] * 2**0.5, abs=1e-4)


def test_refits_go_on_from_the_outputs_at_the_start() -> None:
    """Moved by hand to where a refit of outputs at zero ends, and held back from there, a model gains nothing more."""
    task = random_task("second", 1)
    change, (bias,) = refit([task], 1e-3)
    there = Linearised(task.info, task.targets, task.outputs + task.gradients @ change + bias, task.gradients)
    further, (shift,) = refit([there], 10.0)
    assert further.norm() < 1e-3 * change.norm() and shift.norm() < 1e-3


# ----------------------------------------------------------------------------------------------------------- affinities


def test_sets_are_all_pairs_and_some_larger_ones() -> None:
    names = [f"t{number}" for number in range(8)]
    found = task_sets(names, 3, 50, seed=0)
    assert found[:28] == list(itertools.combinations(names, 2)) and len(set(found)) == 28 + 50
    assert all(len(set(chosen)) == 3 for chosen in found[28:])
    assert found == task_sets(names[::-1], 3, 50, seed=0) != task_sets(names, 3, 50, seed=1)
    assert len(task_sets(names[:4], 3, 50, 0)) == 6 + 4 and task_sets(names[:2], 3, 50, 0) == [("t0", "t1")]
    assert len(task_sets(names, 4, 0, 0)) == 28


def planted(names: tuple[str, ...], same: np.ndarray) -> tuple[dict[str, Linearised], dict[str, Linearised]]:
    """Few train rows and many held-out rows of tasks that the same parameters answer, or with the opposite sign."""
    truth = np.random.default_rng(5).normal(size=8)

    def rows(seed: int, count: int, sign: float) -> Linearised:
        task = random_task("first", seed, count, 8)
        difference = (task.gradients[:, 1] - task.gradients[:, 0]).numpy()
        labels = torch.from_numpy((difference @ truth * sign > 0).astype(np.int64))
        return Linearised(task.info, Targets(labels), task.outputs * 0, task.gradients)

    train, held = ({n: rows(at + seed, count, same[at]) for at, n in enumerate(names)}
                   for seed, count in ((0, 12), (50, 300)))  # fmt: skip
    return train, held


def test_a_task_of_the_same_parameters_helps_and_its_opposite_hurts() -> None:
    names = ("a", "b", "x", "y")
    tasks = planted(names, np.array([1, 1, -1, -1]))
    pairs, sets = (affinities(*tasks, task_sets(names, 3, count, 0)) for count in (0, 9))
    for one, other in (names[:2], names[2:]):
        assert pairs[one, other] > 0 < pairs[other, one]
        for far in set(names) - {one, other}:
            assert pairs[one, far] < 0 > pairs[far, one]
            assert sets[one, far] < sets[one, other] > sets[far, other]


def test_values_are_means_over_sets_less_alone() -> None:
    train, held = planted(("a", "b", "c"), np.array([1, 1, -1]))
    pairs = affinities(train, held, task_sets(train, 3, 0, 0))
    whole = affinities(train, held, [("a", "b", "c")])
    both = affinities(train, held, task_sets(train, 3, 1, 0))
    assert both == pytest.approx({pair: (pairs[pair] + whole[pair]) / 2 for pair in pairs})
    turned = affinities({n: train[n] for n in "cab"}, {n: held[n] for n in "bca"}, task_sets("bca", 3, 1, 0))
    assert turned == both


def test_the_measure(encoder: Path) -> None:
    """Of a shared adapter; the order of the tasks makes no difference."""
    given = random_parts(TASKS, rows=20)
    method = build_method(encoder, "shared", given)[0]
    scramble(method.model.bank.parameters(), 1)
    train, heldout = ({task: getattr(part, name) for task, part in given.items()} for name in ("train", "heldout"))
    models = SharedModels(lambda seed: method.model, [7], train, heldout)
    options = GradTagSettings(samples=9, projected_size=6)
    one, other = (grad_tag(models, Scope(tasks, (0,)), options) for tasks in (TASKS, TASKS[::-1]))
    values = [found.values.set_index(["source", "target"])["value"].to_dict() for found in (one, other)]
    assert values[0] == values[1] and len(values[0]) == 6 and set(one.values["seed"]) == {7}
    assert np.isfinite(list(values[0].values())).all() and len(set(values[0].values())) == 6
    turns = one.cost.backward - 20 * 2 - 20 * 1  # the words' part; each of 20 rows has several of three labels
    assert one.cost == other.cost == Cost(3 * (9 + 11), one.cost.backward) and turns % 3 == 0 and turns > 20 * 3
