"""Look-ahead: against an explicit copy-step-compare loop, and no trace of it left in the training."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.measures.lookahead import affinities
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.observe.gradients import row_index
from adaptershare_cli.observe.lookahead import Lookahead, look_ahead
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer
from tests.core import build_method
from tests.trainings import SETTINGS, assert_equal, train

TASKS = ("first", "second", "score", "first-2")
TRAINING = TrainingSettings(
    max_steps=20, per_device_train_batch_size=4, learning_rate=1e-2, weight_decay=0.1, max_grad_norm=1e-3
)


def warmed_up(folder: Path, plan: SharingPlan | None = None) -> tuple[PlannedMethod, Optimizer]:
    """A float64 method and its optimizer after a few updates, so that there are moments, with clipping in force."""
    method, parts = build_method(folder, training=TRAINING, double=True)
    if plan is not None:
        method.model.bank.set_plan(plan)
    optimizer = Optimizer(method.model.parameters(), TRAINING, 20)
    method.train_mode()
    for task in ("first", "score", "second") * 2:
        method.loss(make_batch(task, parts[task].train, np.arange(4), 0)).backward()
        optimizer.step(optimizer.gradient_norm())
    return method, optimizer


def explicit(method: PlannedMethod, optimizer: Optimizer) -> dict[tuple[str, str, int], tuple[float, float]]:
    """The same by a copy of model and moments for every step, AdamW written out, and one row at a time."""
    index, found = row_index(method.heldout), {}

    def loss(model, task: str, half: int) -> torch.Tensor:
        places = np.flatnonzero(index.half[index.rows(list(method.heldout).index(task))] == half)
        rows = method.heldout[task]
        batches = [make_batch(task, rows, np.array([row]), 0) for row in places]
        losses = [model.losses(batch) for batch in batches]
        return torch.cat(losses).mean()

    for source in method.heldout:
        for half in range(2):
            model, moments = copy.deepcopy((method.model, optimizer.torch.state))
            model.eval()
            adapters = [tensor for _, tensor in model.bank.named_parameters(source)]
            before = {target: loss(model, target, 1 - half).item() for target in method.heldout}
            gradients = torch.autograd.grad(loss(model, source, half), adapters)
            norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
            assert norm > optimizer.max_grad_norm
            with torch.no_grad():
                for tensor, gradient in zip(adapters, gradients, strict=True):
                    step, square = moments[tensor]["step"].item() + 1, moments[tensor]["exp_avg_sq"]
                    clipped = gradient * min(1.0, optimizer.max_grad_norm / (norm + 1e-6))  # as PyTorch clips
                    scale = ((0.999 * square + 0.001 * clipped**2) / (1 - 0.999**step)).sqrt() + 1e-8
                    rate, share = optimizer.learning_rate, 0.1 / (1 - 0.9**step)
                    tensor.copy_(tensor * (1 - rate * TRAINING.weight_decay) - rate * share * clipped / scale)
            for target in method.heldout:
                found[source, target, half] = (before[target], loss(model, target, 1 - half).item())
    return found


@pytest.mark.parametrize("plan", [None, SharingPlan(TASKS, ((TASKS,), (TASKS[:2], TASKS[2:])))])
def test_equals_an_explicit_copy_step_compare_loop(encoder: Path, plan: SharingPlan | None) -> None:
    method, optimizer = warmed_up(encoder, plan)
    found = look_ahead(method.model, method.heldout, optimizer.trial_step, 0, chunk_rows=7)
    expected = explicit(method, optimizer)
    assert len(found) == len(expected) == 4 * 4 * 2
    for look in found:
        before, after = expected[look.source, look.target, look.half]
        assert look.before == pytest.approx(before, rel=1e-9) and look.after == pytest.approx(after, rel=1e-9)
    assert all(look.after != look.before for look in found)  # all share at least one layer


def test_tasks_that_share_nothing_do_not_change_each_other(encoder: Path) -> None:
    method, optimizer = warmed_up(encoder, SharingPlan.private(TASKS, 2))
    for look in look_ahead(method.model, method.heldout, optimizer.trial_step, 0):
        assert (look.after == look.before) == (look.source != look.target)


def everything(method: PlannedMethod, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Weights, moments and gradients by name."""
    names = method.names()
    tensors = {f"weight/{name}": parameter for parameter, name in names.items()}
    tensors |= {f"moment/{name}": tensor for name, tensor in optimizer.state(names)[0].items()}
    tensors |= {f"grad/{name}": p.grad for p, name in names.items() if p.grad is not None}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("fails", [False, True])
def test_a_trial_step_leaves_no_trace(encoder: Path, fails: bool) -> None:
    method, optimizer = warmed_up(encoder)
    before, rate, schedule = everything(method, optimizer), optimizer.learning_rate, optimizer.schedule.last_epoch
    parameters = [tensor for _, tensor in method.model.bank.named_parameters("first")]
    unseen = nn.Parameter(torch.ones(3))  # has no moments yet
    optimizer.adopt([unseen])
    weights = [tensor.detach().clone() for tensor in parameters]
    try:
        with optimizer.trial_step({tensor: torch.ones_like(tensor) for tensor in (*parameters, unseen)}):
            assert not any(torch.equal(now, then) for now, then in zip(parameters, weights, strict=True))
            assert not torch.equal(unseen, torch.ones(3))
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        assert fails
    assert torch.equal(unseen, torch.ones(3)) and unseen not in optimizer.torch.state
    assert optimizer.torch.param_groups[0]["params"].pop() is unseen
    assert_equal(everything(method, optimizer), before)
    assert (optimizer.learning_rate, optimizer.schedule.last_epoch) == (rate, schedule)


@pytest.mark.parametrize("optim", ["adamw_torch", "adamax"])
def test_a_trial_step_is_an_update_without_momentum(optim: str) -> None:
    settings = replace(
        TRAINING, optim=optim, max_grad_norm=0.0, weight_decay=0.0, lr_scheduler_type="constant_with_warmup"
    )
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    optimizer = Optimizer([parameter], replace(settings, warmup_ratio=0.0), 10)
    gradient = torch.tensor([0.3, -5.0, 0.0], dtype=torch.float64)

    def tried() -> torch.Tensor:
        with optimizer.trial_step({parameter: gradient}):
            return parameter.detach().clone()

    first = tried()
    parameter.grad = gradient.clone()
    optimizer.step(0.0)  # a first update has no momentum
    assert torch.equal(parameter.detach(), first)
    for other in (torch.tensor([-1.0, 1.0, 1.0]), torch.tensor([2.0, 0.1, 4.0])):  # others, which must not count
        parameter.grad = other.double()
        optimizer.step(0.0)
    state, step = optimizer.torch.state[parameter], 4
    if optim == "adamw_torch":
        scale = ((0.999 * state["exp_avg_sq"] + 0.001 * gradient**2) / (1 - 0.999**step)).sqrt()
    else:
        scale = torch.maximum(0.999 * state["exp_inf"], gradient.abs())
    moved = 1e-2 * 0.1 / (1 - 0.9**step) * gradient / scale
    torch.testing.assert_close(tried(), parameter.detach() - moved, rtol=1e-6, atol=0)


def test_training_goes_on_bit_for_bit_as_without(encoder: Path) -> None:
    training = replace(SETTINGS, max_steps=12)
    plain = train(encoder, "shared", training, checkpoint_steps=5)
    looking = train(encoder, "shared", training, checkpoint_steps=5, lookahead_every=3)
    rows = looking.records.pop("lookahead")
    assert {row["step"] for row in rows} == {3, 6, 9}  # at the end the learning rate is zero
    assert len(rows) == 3 * 4 * 4 * 2
    assert_equal(looking.tensors, plain.tensors)
    assert looking.records == plain.records
    for step, checkpoint in plain.checkpoints.items():
        assert_equal(looking.checkpoints[step].tensors, checkpoint.tensors)
        times = {"seconds": None}
        assert looking.checkpoints[step].meta | times == checkpoint.meta | times
    resumed = train(encoder, "shared", training, resume=looking.checkpoints[5], lookahead_every=3)
    assert resumed.records.pop("lookahead") == rows
    assert_equal(resumed.tensors, plain.tensors)


def test_rows_passed(encoder: Path) -> None:
    """As many rows go through as the measure's cost says: (tasks + 2) times all held-out rows."""
    method, optimizer = warmed_up(encoder)
    count, encode = 0, method.model.encode

    def counted(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        nonlocal count
        count += len(inputs["input_ids"])
        return encode(inputs)

    method.model.encode = counted  # type: ignore[method-assign]
    look_ahead(method.model, method.heldout, optimizer.trial_step, 0)
    assert count == (4 + 2) * sum(map(len, method.heldout.values()))


def test_a_task_of_one_row_gives_half_of_it(encoder: Path) -> None:
    method, optimizer = warmed_up(encoder)
    method.heldout["score"] = method.heldout["score"].take(np.array([3]))
    found = look_ahead(method.model, method.heldout, optimizer.trial_step, 0)
    assert {look.half for look in found if look.source == "score"} == {0}
    assert [math.isnan(look.before) for look in found if look.target == "score" and look.source == "first"] == [
        True,
        False,
    ]


def test_affinities() -> None:
    looks = [
        Lookahead("a", "b", 0, 2.0, 1.5), Lookahead("a", "b", 1, 1.0, 1.25), Lookahead("b", "a", 0, 0.5, 0.25),
        Lookahead("b", "a", 1, math.nan, math.nan), Lookahead("a", "a", 0, 0.0, 0.1),
    ]  # fmt: skip
    rows = [
        {"phase": "main", "step": 7, "source": x.source, "target": x.target, "half": x.half, "loss_before": x.before,
         "loss_after": x.after}
        for x in looks
    ]  # fmt: skip
    found = affinities(pd.DataFrame(rows)).set_index(["source", "target"])["value"]
    assert found["a", "b"] == pytest.approx((0.25 - 0.25) / 2) and found["b", "a"] == pytest.approx(0.5)
    assert math.isnan(found["a", "a"])
