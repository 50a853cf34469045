"""The mixed pass against separate passes, and the relations that are computed from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.model.adapters.base import AdapterKind
from adaptershare_cli.observe.gradients import gram_matrices, row_gradients, row_index
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.interference import (
    RowIndex,
    block_means,
    interference,
    normalised,
    squared_lengths,
    standard_errors,
    task_products,
    unit_rows,
)
from adaptershare_cli.sharing.plan import SharingPlan
from tests.conftest import ENCODER_TYPES
from tests.core import MIXED, adapter_training, build_method, random_parts, relate


def separate_gradients(method: PlannedMethod, heldout: dict[str, Rows], layer: int) -> torch.Tensor:
    """Gradients (N, P) of each row's loss on its task's adapter of a layer, by one plain backward pass a row."""
    method.model.eval()
    found = []
    for task, rows in heldout.items():
        tensors = [tensor for _, tensor in method.model.bank.named_parameters(task, layer)]
        for row in range(len(rows)):
            batch = make_batch(task, rows, np.array([row]), 0)
            loss = method.model.losses(batch).sum()
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, tensors)]))
    return torch.stack(found)


def mixed_plan(tasks: tuple[str, ...]) -> SharingPlan:
    """A plan with different groups in its two layers."""
    return SharingPlan(tasks, ((tasks,), (tasks[:2], tasks[2:3], tasks[3:])))


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
@pytest.mark.parametrize("adapter", ["seq_bn", "double_seq_bn", "lora", "ia3"])
def test_mixed_pass_equals_separate_passes(encoders: dict[str, Path], model_type: str, adapter: str) -> None:
    segments = model_type in ("bert", "electra")
    given = random_parts(MIXED, segments=segments)
    method, parts = build_method(encoders[model_type], parts=given, training=adapter_training(adapter), double=True)
    with torch.no_grad():  # fresh LoRA has zeros, which would hide what is multiplied with them
        for tensor in method.model.bank.parameters():
            tensor.add_(0.1)
    tasks = tuple(parts)
    method.model.bank.set_plan(mixed_plan(tasks))
    heldout = {task: part.heldout for task, part in parts.items()}
    index = row_index(heldout)
    pieces = list(row_gradients(method.model, heldout, 0, chunk_rows=7))
    grams = gram_matrices(method.model, heldout, 0, chunk_rows=7)
    for layer, gram in enumerate(grams):
        mixed = torch.cat([piece for where, piece in pieces if where == layer], 1)
        expected = separate_gradients(method, heldout, layer)
        assert mixed.shape == expected.shape
        errors = (mixed - expected).norm(dim=1) / expected.norm(dim=1)
        assert errors.max() < 1e-10, layer
        for task in range(len(tasks)):
            for half in range(2):
                rows = np.flatnonzero((index.task == task) & (index.half == half))
                error = (mixed[rows].mean(0) - expected[rows].mean(0)).norm() / expected[rows].mean(0).norm()
                assert error < 1e-10, (layer, task, half)
        products = (expected @ expected.T).numpy()
        scale = np.sqrt(np.outer(np.diagonal(products), np.diagonal(products)))
        assert (np.abs(gram - products) / scale).max() < 1e-10


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
@pytest.mark.parametrize("name", ["hyperformer", "hyperformer++"])
def test_generated_adapters_with_layer_norms(encoders: dict[str, Path], model_type: str, name: str) -> None:
    """Row gradients on what was generated for each task, against plain backward passes on the slots."""
    given = random_parts(MIXED, segments=model_type == "bert")
    training = TrainingSettings(max_steps=5, adapter_config="double_seq_bn", reduction_factor=4)
    method, parts = build_method(encoders[model_type], name, given, training, double=True)
    with torch.no_grad():
        for parameter in method.model.parameters():
            parameter.add_(0.1)
    method.train_mode()  # what the slots hold is older than the generators
    heldout = {task: part.heldout for task, part in parts.items()}
    pieces = list(row_gradients(method.model, heldout, 0, chunk_rows=7))
    for layer in range(2):
        mixed = torch.cat([piece for where, piece in pieces if where == layer], 1)
        expected = separate_gradients(method, heldout, layer)
        assert mixed.shape == expected.shape == (55, 2 * (2 * 32 * 8 + 8 + 3 * 32))
        assert ((mixed - expected).norm(dim=1) / expected.norm(dim=1)).max() < 1e-10, layer


def test_blocks_of_modules_bound_the_memory_and_change_nothing(encoder: Path) -> None:
    method, parts = build_method(encoder, double=True)
    heldout = {task: part.heldout for task, part in parts.items()}
    whole = gram_matrices(method.model, heldout, 0)
    passes = 0
    encode = method.model.encode

    def counted(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        nonlocal passes
        passes += 1
        return encode(inputs)

    method.model.encode = counted  # type: ignore[method-assign]
    parted = gram_matrices(method.model, heldout, 0, chunk_rows=10_000, memory_bytes=1)
    assert passes == 2 * len(whole)  # down and up projection of each layer, each by itself
    for one, other in zip(whole, parted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * np.abs(one).max())


def test_adapters_that_cannot_be_mixed_run_task_by_task(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, parts = build_method(encoder, double=True)
    heldout = {task: part.heldout for task, part in parts.items()}
    mixed = gram_matrices(method.model, heldout, 0)
    active, seen = method.model.active_rows, []

    def one_task(tasks: list[str], counts: list[int]) -> object:
        seen.append(len(tasks))
        return active(tasks, counts)

    monkeypatch.setattr(method.model, "active_rows", one_task)
    monkeypatch.setattr(AdapterKind, "mixes_tasks", lambda self, encoder: False)
    for one, other in zip(mixed, gram_matrices(method.model, heldout, 0, chunk_rows=4), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * np.abs(one).max())
    assert set(seen) == {1}


def test_a_check_leaves_weights_and_grads_alone(encoder: Path) -> None:
    method, parts = build_method(encoder)
    before = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    gram_matrices(method.model, {task: part.heldout for task, part in parts.items()}, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state()[0].items())
    assert all(parameter.grad is None for parameter in method.model.parameters())


def test_interference_values() -> None:
    gradients = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, 0.0]], [[-1.0, 0.0], [-3.0, 0.0]]])
    found = relate(gradients)
    assert found.cosine[0, 2] == pytest.approx(-1)
    assert found.cosine[0, 1] == pytest.approx(1 / np.sqrt(2))
    assert found.agreement.tolist() == pytest.approx([1, 0, 1])
    rows = gradients.double().flatten(0, 1)
    index = RowIndex(np.repeat(np.arange(3), 2), np.tile([0, 1], 3), 3)
    products = task_products((rows @ rows.T).numpy(), index)
    assert np.diagonal(products).tolist() == pytest.approx([4, 8, 16])
    assert products[0, 1] == products[1, 0] == pytest.approx(4)
    products = task_products(np.where(np.eye(6) + np.eye(6)[0] > 1, np.nan, 1.0), index)
    assert np.isnan(products[0]).all() and products[1, 2] == 4


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_zero_or_non_finite_gradients_are_unknown(bad: float) -> None:
    gradients = torch.ones(3, 2, 4)
    gradients[1] = bad
    found = relate(gradients)
    assert np.isnan(found.cosine[1]).all() and np.isnan(found.cosine[:, 1]).all()
    assert found.cosine[0, 2] == pytest.approx(1)


def sample(generator: np.random.Generator, sizes: list[int], means: np.ndarray, spread: float) -> tuple:
    """Gram matrix and index of random rows around each task's mean gradient."""
    rows = np.concatenate(
        [mean + spread * generator.normal(size=(size, means.shape[1])) for size, mean in zip(sizes, means, strict=True)]
    )
    task = np.repeat(np.arange(len(sizes)), sizes)
    return rows @ rows.T, RowIndex(task, np.concatenate([np.arange(size) % 2 for size in sizes]), len(sizes))


@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_standard_errors_are_those_of_repeated_samples(spread: float) -> None:
    generator = np.random.default_rng(1)
    means = np.array([[1.0, 0.0, 0.0] + [0.0] * 20, [0.3, 0.9, 0.0] + [0.0] * 20])
    found, errors = [], []
    for _ in range(400):
        gram, index = sample(generator, [30, 20], means, spread)
        found.append(block_means(gram, index)[0, 1])
        errors.append(standard_errors(gram, index)[0, 1])
    ratio = np.sqrt(np.mean(np.square(errors))) / np.std(found)
    assert 0.9 < ratio < 1.2  # the floor makes it a little too large where noise is all there is


def test_standard_errors_leave_out_what_lies_between_strata() -> None:
    """Rows drawn with fixed numbers of each label: labels far apart make a mean no less sure."""
    generator = np.random.default_rng(4)
    sizes, strata = [30, 20], np.concatenate([np.arange(30) % 3, np.arange(20) % 2])
    apart = np.concatenate([np.eye(5, 23)[np.arange(30) % 3], np.eye(5, 23)[2 + np.arange(20) % 2]]) * 4
    means, found, errors, lengths, without = np.zeros((50, 23)), [], [], [], []
    means[:, 5] = 1.0
    for _ in range(400):
        rows = means + apart + 0.7 * generator.normal(size=means.shape)
        index = RowIndex(np.repeat([0, 1], sizes), np.arange(50) % 2, 2, strata)
        gram = rows @ rows.T
        found.append(block_means(gram, index)[0, 1])
        errors.append(standard_errors(gram, index)[0, 1])
        lengths.append(squared_lengths(gram, index))
        without.append(standard_errors(gram, RowIndex(index.task, index.half, 2))[0, 1])
    ratio = np.sqrt(np.mean(np.square(errors))) / np.std(found)
    assert 0.9 < ratio < 1.2
    # The strata's directions stand square on each other: |m|^2 = 1 + 4^2 / (number of strata).
    np.testing.assert_allclose(np.mean(lengths, 0), [1 + 16 / 3, 1 + 16 / 2], rtol=0.03)
    assert np.mean(without) > 1.5 * np.mean(errors)


def test_strata_of_a_single_row_are_taken_together() -> None:
    index = RowIndex(np.zeros(7), np.zeros(7), 1, np.array([5, 5, 5, 2, 2, 9, 8]))
    assert index.same_stratum(0).sum(1).tolist() == [3, 3, 3, 2, 2, 2, 2]
    index = RowIndex(np.zeros(6), np.zeros(6), 1, np.array([5, 5, 5, 2, 2, 9]))
    assert index.same_stratum(0).sum(1).tolist() == [3, 3, 3, 3, 3, 3]
    assert RowIndex(np.zeros(3), np.zeros(3), 1, np.arange(3)).same_stratum(0).all()


def test_the_error_of_a_cosine_is_that_of_the_normalised_rows() -> None:
    gram, index = sample(np.random.default_rng(2), [12, 16], np.eye(2, 9), 0.3)
    found = interference(gram, index)
    kernel = normalised(gram, index, np.sqrt(np.diagonal(block_means(gram, index))))
    assert found.error[0, 1] == pytest.approx(standard_errors(kernel, index)[0, 1])
    assert found.cosine[0, 1] == pytest.approx(block_means(kernel, index)[0, 1])
    assert np.isnan(np.diagonal(found.error)).all()


def test_row_cosines() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
    found = interference(rows @ rows.T, RowIndex(np.array([0, 0, 0, 1]), np.array([0, 1, 0, 0]), 2))
    assert found.row_cosine[0].tolist()[:2] == pytest.approx([0.5**0.5, 0.5**0.5])
    assert np.isnan(found.row_cosine[0][2])
    assert found.row_cosine[1].tolist() == pytest.approx([1])
    assert np.isnan(found.agreement[1])  # one row has no second half


def test_unit_rows_count_alike() -> None:
    rows = np.array([[3.0, 0.0], [0.0, 0.5], [0.0, 0.0], [np.inf, 0.0]])
    with np.errstate(invalid="ignore"):
        found = unit_rows(rows @ rows.T)
    np.testing.assert_allclose(found[:2, :2], np.eye(2))
    assert (found[2, :3] == 0).all()
    assert np.isnan(found[3, 3])
    vectors = np.random.default_rng(4).normal(size=(6, 5)) * np.array([[1], [10], [100], [1e-6], [1e9], [3]])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(unit_rows(vectors @ vectors.T), (vectors / lengths) @ (vectors / lengths).T)


@pytest.mark.parametrize("shuffled", [False, True], ids=["as they are", "shuffled as a control"])
def test_halves_have_the_labels_in_equal_proportions(shuffled: bool) -> None:
    parts = random_parts()
    heldout = {task: part.heldout for task, part in parts.items()}
    if shuffled:
        heldout = {task: rows.with_shuffled_labels(5) for task, rows in heldout.items()}
    index = row_index(heldout)
    for number, rows in enumerate(heldout.values()):
        half = index.half[index.rows(number)]
        for label in np.unique(rows.answers.labels):
            first, second = ((half[rows.answers.labels == label] == side).sum() for side in (0, 1))
            assert abs(int(first) - int(second)) <= 1
