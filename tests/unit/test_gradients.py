"""The mixed pass against separate passes, and the relations that are computed from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.methods.planned import PlannedMethod
from adaptershare_cli.model.heads import row_losses
from adaptershare_cli.sharing.gradients import task_gradients
from adaptershare_cli.sharing.interference import interference
from adaptershare_cli.sharing.plan import SharingPlan
from tests.conftest import ENCODER_TYPES
from tests.core import build_method, random_parts


def separate_gradient(method: PlannedMethod, task: str, rows: Rows, half: int, layer: int) -> torch.Tensor:
    """Gradient of one half's mean loss by one plain backward pass of that task alone."""
    batch = make_batch(task, rows, np.arange(half, len(rows), 2), 0)
    method.model.eval()
    loss = row_losses(method.model.infos[task], method.model.logits(batch), batch.labels).mean()
    tensors = [tensor for _, tensor in method.model.bank.named_parameters(task, layer)]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, tensors)])


def mixed_plan(tasks: tuple[str, ...]) -> SharingPlan:
    """A plan with different groups in its two layers."""
    return SharingPlan(tasks, ((tasks,), (tasks[:2], tasks[2:3], tasks[3:])))


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
@pytest.mark.parametrize("adapter", ["seq_bn", "double_seq_bn"])
def test_mixed_pass_equals_separate_passes(encoders: dict[str, Path], model_type: str, adapter: str) -> None:
    from adaptershare_cli.settings import TrainingSettings

    training = TrainingSettings(max_steps=5, adapter_config=adapter, reduction_factor=4)
    segments = model_type in ("bert", "electra")
    given = random_parts(segments=segments)
    method, parts = build_method(encoders[model_type], parts=given, training=training, double=True)
    tasks = tuple(parts)
    method.model.bank.set_plan(mixed_plan(tasks))
    heldout = {task: part.heldout for task, part in parts.items()}
    found = task_gradients(method.model, heldout, 0, chunk_rows=7)
    for layer, gradients in enumerate(found.layers):
        for index, task in enumerate(tasks):
            for half in range(2):
                expected = separate_gradient(method, task, heldout[task], half, layer)
                error = (gradients[index, half] - expected).norm() / expected.norm()
                assert error < 1e-10, (layer, task, half)


def test_a_check_leaves_weights_and_grads_alone(encoder: Path) -> None:
    method, parts = build_method(encoder)
    before = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    task_gradients(method.model, {task: part.heldout for task, part in parts.items()}, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state()[0].items())
    assert all(parameter.grad is None for parameter in method.model.parameters())


def test_interference_values() -> None:
    gradients = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, 0.0]], [[-1.0, 0.0], [-3.0, 0.0]]])
    found = interference(gradients)
    assert found.cosine[0, 2] == pytest.approx(-1)
    assert found.cosine[0, 1] == pytest.approx(1 / np.sqrt(2))
    assert found.agreement.tolist() == pytest.approx([1, 0, 1])
    assert found.norm.tolist() == pytest.approx([2, 8**0.5, 4])


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_zero_or_non_finite_gradients_are_unknown(bad: float) -> None:
    gradients = torch.ones(3, 2, 4)
    gradients[1] = bad
    found = interference(gradients)
    assert np.isnan(found.cosine[1]).all() and np.isnan(found.cosine[:, 1]).all()
    assert found.cosine[0, 2] == pytest.approx(1)
