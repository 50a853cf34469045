"""AdamW for parts of tensors: torch's own on whole tensors, nothing outside of them, each task as if alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adaptershare_cli.training.subnet import SubnetAdamW

SHAPE = (7, 11)
STEPS = 60


def gradients(seed: int, count: int) -> list[torch.Tensor]:
    """Gradients of very different sizes, so that every term of the formula counts."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(SHAPE, generator=generator) * 10 ** torch.randn(SHAPE, generator=generator) for _ in range(count)
    ]


def start() -> nn.Parameter:
    return nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)))


def move(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: torch.Tensor, rate: float) -> None:
    optimizer.param_groups[0]["lr"] = rate
    parameter.grad = gradient.clone()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_on_whole_tensors_it_is_that_of_torch_bit_for_bit(decay: float) -> None:
    ours, theirs = start(), start()
    subnet = SubnetAdamW([ours], lr=1e-2, weight_decay=decay, foreach=True)
    subnet.entries = {ours: torch.ones(SHAPE, dtype=torch.bool)}
    plain = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=decay, foreach=True)
    for number, gradient in enumerate(gradients(1, STEPS)):
        for optimizer, parameter in ((subnet, ours), (plain, theirs)):
            move(optimizer, parameter, gradient, 1e-2 * (1 - number / STEPS))
        assert torch.equal(ours, theirs)
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(subnet.state[ours][name], plain.state[theirs][name])


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_tasks_in_turn_are_each_as_if_alone(decay: float) -> None:
    """Disjoint halves moved in turn end where torch's AdamW takes each of them alone."""
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) < 0.4
    parts = {"first": mask, "second": ~mask}
    together = start()
    subnet = SubnetAdamW([together], lr=1e-2, weight_decay=decay, foreach=True)
    steps = {name: gradients(seed, STEPS) for seed, name in enumerate(parts)}
    for number in range(2 * STEPS):
        name = ("first", "second", "second", "first")[number % 4]
        subnet.entries = {together: parts[name]}
        done = 2 * (number // 4) + (number % 4 in (2, 3))
        move(subnet, together, steps[name][done] * parts[name], 1e-2)
    for name, part in parts.items():
        alone = start()
        plain = torch.optim.AdamW([alone], lr=1e-2, weight_decay=decay, foreach=True)
        for gradient in steps[name]:
            move(plain, alone, gradient * part, 1e-2)
        assert torch.equal(together[part], alone[part])
        assert not torch.equal(together[~part], alone[~part])


def test_nothing_outside_of_the_entries_is_touched() -> None:
    parameter, other = start(), start()
    optimizer = SubnetAdamW([parameter, other], lr=1e-2, weight_decay=0.5, foreach=True)
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[2:4, 1:] = True
    optimizer.entries = {parameter: torch.ones(SHAPE, dtype=torch.bool)}
    move(optimizer, parameter, gradients(1, 1)[0], 1e-2)
    before = [parameter.detach().clone(), *(value.clone() for value in optimizer.state[parameter].values())]
    optimizer.entries = {parameter: mask}
    for gradient in gradients(2, 3):
        move(optimizer, parameter, gradient, 1e-2)  # the gradient itself is not masked
    after = [parameter.detach(), *optimizer.state[parameter].values()]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[~mask], new[~mask])
        assert not torch.equal(old[mask], new[mask])
    assert torch.equal(other, start()) and not optimizer.state[other]


def test_parameters_without_entries_are_updated_as_ever() -> None:
    ours, theirs, masked = start(), start(), start()
    optimizer = SubnetAdamW([ours, masked], lr=1e-2, weight_decay=0.1, foreach=True)
    optimizer.entries = {masked: torch.ones(SHAPE, dtype=torch.bool)}
    plain = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1, foreach=True)
    for gradient in gradients(3, 5):
        move(optimizer, ours, gradient, 1e-2)  # nothing for `masked`: it stays
        move(plain, theirs, gradient, 1e-2)
    assert torch.equal(ours, theirs)
    assert torch.equal(masked, start())
