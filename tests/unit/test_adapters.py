"""Tied adapters: what is shared, what a split does, and what a saved state brings back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from adaptershare_cli.data.batches import TaskParts, make_batch
from adaptershare_cli.data.names import name_fault
from adaptershare_cli.methods.base import StartWeights
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.model.adapters.bank import module_name
from adaptershare_cli.model.stored import NAME, load_task, read_adapter
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer
from tests.conftest import ENCODER_TYPES
from tests.core import ADAPTERS, INFOS, adapter_training, build_method, random_parts, scramble

TASKS = tuple(INFOS)
MIXED = SharingPlan(TASKS, ((TASKS,), (TASKS[:2], TASKS[2:3], TASKS[3:])))
SEGMENTS = ("bert", "electra")


def all_logits(method: PlannedMethod, parts: dict[str, TaskParts]) -> dict[str, torch.Tensor]:
    """Logits of every task's dev rows, in eval mode."""
    method.eval_mode()
    with torch.no_grad():
        return {
            task: method.logits(make_batch(task, part.scored["dev"], np.arange(len(part.scored["dev"])), 0))
            for task, part in parts.items()
        }


def ties(method: PlannedMethod) -> list[tuple[tuple[str, ...], ...]]:
    """Each layer's groups as the tensors themselves show them; every tensor of an adapter must agree."""
    bank, found = method.model.bank, []
    for layer in range(len(method.plan.layers)):
        own = {task: [id(t) for _, t in bank.named_parameters(task, layer)] for task in bank.tasks}
        for first in bank.tasks:
            for second in bank.tasks:
                common = set(own[first]) & set(own[second])
                assert own[first] == own[second] or not common, "an adapter is shared in part"
        groups = dict.fromkeys(tuple(t for t in bank.tasks if own[t] == own[task]) for task in bank.tasks)
        found.append(tuple(groups))
    return found


# -------------------------------------------------------------------------------------------------------------- tying


@pytest.mark.parametrize(
    ("adapter", "each"), [("seq_bn", 4), ("par_bn", 4), ("double_seq_bn", 8), ("lora", 10), ("ia3", 3)]
)
@pytest.mark.parametrize(
    ("plan", "adapters"), [(SharingPlan.shared(TASKS, 2), 2), (SharingPlan.private(TASKS, 2), 8), (MIXED, 4)]
)
def test_number_of_tensors(encoder: Path, adapter: str, each: int, plan: SharingPlan, adapters: int) -> None:
    method, _ = build_method(encoder, "private", training=adapter_training(adapter))
    bank = method.model.bank
    bank.set_plan(plan)
    assert len(bank.parameters()) == adapters * each
    assert ties(method) == list(plan.layers)
    assert len(bank.state()) == adapters * each
    trained = [p for p in method.model.encoder.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in bank.parameters()}
    assert len(method.names()) == len(method.model.parameters()) == adapters * each + 2 * len(TASKS)
    assert len(set(method.names().values())) == len(method.names())


def test_a_plan_also_unties(encoder: Path) -> None:
    method, parts = build_method(encoder, "shared")
    scramble(method.model.parameters())
    before = all_logits(method, parts)
    for plan in (MIXED, SharingPlan.private(TASKS, 2)):
        method.model.bank.set_plan(plan)
        assert ties(method) == list(plan.layers)
        after = all_logits(method, parts)
        assert all(torch.equal(after[task], before[task]) for task in TASKS)


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_private_and_shared_start_from_the_same_function(encoders: dict[str, Path], model_type: str) -> None:
    given = random_parts(segments=model_type in SEGMENTS)
    shared, parts = build_method(encoders[model_type], "shared", given)
    private, _ = build_method(encoders[model_type], "private", given)
    other, _ = build_method(encoders[model_type], "private", given, seed=1)
    expected, found, different = (all_logits(m, parts) for m in (shared, private, other))
    for task in TASKS:
        assert torch.equal(found[task], expected[task])
        assert not torch.equal(different[task], expected[task])
        for (name, ours), (same, theirs) in zip(
            private.model.bank.named_parameters(task), shared.model.bank.named_parameters(task), strict=True
        ):
            assert name == same
            assert torch.equal(ours, theirs)


# -------------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize("adapter", ["seq_bn", "lora"])
@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_logits_are_bit_identical_right_after_a_split(encoders: dict[str, Path], model_type: str, adapter: str) -> None:
    given = random_parts(segments=model_type in SEGMENTS)
    method, parts = build_method(encoders[model_type], "shared", given, adapter_training(adapter))
    each = len(method.model.bank.parameters()) // 2
    scramble(method.model.parameters())
    before = all_logits(method, parts)
    for layer, kept, moved in (
        (0, ("first", "score"), ("second", "first-2")),
        (1, ("second",), ("first", "score", "first-2")),
        (0, ("score",), ("first",)),
    ):
        copies = method.model.bank.split(layer, kept, moved)
        assert len(copies) == each
        after = all_logits(method, parts)
        assert all(torch.equal(after[task], before[task]) for task in TASKS)
        assert ties(method) == list(method.plan.layers)
        with torch.no_grad():
            for copy in copies.values():
                copy.mul_(1.5)
        changed = all_logits(method, parts)
        assert {task for task in TASKS if not torch.equal(changed[task], before[task])} == set(moved)
        before = changed


def test_a_split_of_no_group_leaves_the_bank_alone(encoder: Path) -> None:
    method, _ = build_method(encoder, "shared")
    method.model.bank.set_plan(MIXED)
    with pytest.raises(ValueError, match="layer 1"):
        method.model.bank.split(1, ("first",), ("first-2",))
    assert method.plan == MIXED
    assert ties(method) == list(MIXED.layers)


def step_with_random_gradients(optimizer: Optimizer, twins: dict[nn.Parameter, nn.Parameter], seed: int) -> None:
    """One update in which each copy gets its source's gradient."""
    generator = torch.Generator().manual_seed(seed)
    sources = {id(copy): source for source, copy in twins.items()}
    for parameter in optimizer.parameters:
        if id(parameter) not in sources:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
    for source, copy in twins.items():
        assert source.grad is not None
        copy.grad = source.grad.clone()
    optimizer.step(optimizer.gradient_norm())


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_copies_train_like_their_source(encoder: Path, schedule: str) -> None:
    training = TrainingSettings(
        max_steps=30, learning_rate=0.05, weight_decay=0.1, warmup_ratio=0.5, lr_scheduler_type=schedule,  # type: ignore[arg-type]
    )  # fmt: skip
    method, _ = build_method(encoder, "shared", training=training)
    optimizer = Optimizer(method.model.parameters(), training, 30)
    for seed in range(7):
        step_with_random_gradients(optimizer, {}, seed)
    groups = len(optimizer.torch.param_groups)
    twins = method.model.bank.split(1, ("first",), ("second", "score", "first-2"))
    optimizer.follow_split(twins)
    assert len(optimizer.torch.param_groups) == groups
    (home,) = [{*map(id, group["params"])} for group in optimizer.torch.param_groups if group["params"]]
    assert home >= {id(tensor) for pair in twins.items() for tensor in pair}
    for source, copy in twins.items():
        ours, theirs = optimizer.torch.state[copy], optimizer.torch.state[source]
        assert set(ours) == set(theirs) == {"step", "exp_avg", "exp_avg_sq"}
        assert float(ours["step"]) == 7
        for name, value in ours.items():
            assert torch.equal(value, theirs[name])
            assert value.data_ptr() != theirs[name].data_ptr()
    rates = []
    for seed in range(16):
        before = {id(copy): copy.detach().clone() for copy in twins.values()}
        rates.append(optimizer.learning_rate)
        step_with_random_gradients(optimizer, twins, 100 + seed)
        for source, copy in twins.items():
            assert torch.equal(source, copy)
            assert not torch.equal(copy, before[id(copy)])
    assert all(rate != later for rate, later in zip(rates, rates[1:], strict=False))  # the schedule went on
    for source, copy in twins.items():
        for name, value in optimizer.torch.state[copy].items():
            assert torch.equal(value, optimizer.torch.state[source][name])
    source, copy = next(iter(twins.items()))
    for parameter in optimizer.parameters:
        parameter.grad = None
    copy.grad = torch.ones_like(copy)
    kept = source.detach().clone()
    optimizer.step(1.0)
    assert torch.equal(source, kept)
    assert not torch.equal(copy, kept)


def test_a_split_before_the_first_update_copies_no_moments(encoder: Path) -> None:
    method, _ = build_method(encoder, "shared")
    optimizer = Optimizer(method.model.parameters(), method.context.training, 20)
    twins = method.model.bank.split(0, ("first",), ("second", "score", "first-2"))
    optimizer.follow_split(twins)
    step_with_random_gradients(optimizer, twins, 0)
    assert all(torch.equal(source, copy) for source, copy in twins.items())


# --------------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("adapter", ["seq_bn", "lora"])
def test_state_round_trip_restores_ties(encoder: Path, adapter: str) -> None:
    training = adapter_training(adapter)
    method, parts = build_method(encoder, "shared", training=training)
    method.model.bank.split(1, ("first", "score"), ("second", "first-2"))
    method.model.bank.split(0, ("first-2",), ("first", "second", "score"))
    scramble(method.model.parameters())
    expected = all_logits(method, parts)
    tensors, meta = method.state()
    for start in ("shared", "private"):
        other, _ = build_method(encoder, start, parts, training)
        other.load_state({name: tensor.clone() for name, tensor in tensors.items()}, meta)
        assert other.plan == method.plan
        assert ties(other) == list(method.plan.layers)
        found = all_logits(other, parts)
        assert all(torch.equal(found[task], expected[task]) for task in TASKS)
        again, same = other.state()
        assert same == meta
        assert again.keys() == tensors.keys()
        assert all(torch.equal(again[name], tensors[name]) for name in tensors)
        assert all(parameter.requires_grad for parameter in other.model.parameters())


def test_a_loaded_state_is_a_copy(encoder: Path) -> None:
    method, parts = build_method(encoder, "shared")
    tensors, meta = method.state()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    other, _ = build_method(encoder, "shared", parts)
    other.load_state(tensors, meta)
    scramble(other.model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state()[0].items())


# ------------------------------------------------------------------------------------------------ from exported folders


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_exported_adapter_is_where_every_task_starts(
    encoders: dict[str, Path], model_type: str, adapter: str, tmp_path: Path
) -> None:
    training = adapter_training(adapter)
    segments = model_type in SEGMENTS
    source, _ = build_method(encoders[model_type], "private", random_parts(segments=segments), training)
    scramble(source.model.parameters())
    source.export("first-2", tmp_path / "folder")
    fresh, parts = build_method(
        encoders[model_type], "private", random_parts(TASKS[:2], segments=segments), training, seed=3
    )
    weights = StartWeights(read_adapter(tmp_path / "folder", fresh.model.encoder, fresh.model.bank.kind))
    started, _ = build_method(encoders[model_type], "private", parts, training, seed=3, weights=weights)
    expected = dict(source.model.bank.named_parameters("first-2"))
    for task in parts:
        found = dict(started.model.bank.named_parameters(task))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) and found[name].requires_grad for name, tensor in expected.items())
        heads = [dict(m.model.heads[task].named_parameters()) for m in (started, fresh)]
        assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])  # fresh ones, by the seed


@pytest.mark.parametrize("adapter", ["seq_bn", "lora"])
def test_an_exported_task_comes_back_whole(encoder: Path, adapter: str, tmp_path: Path) -> None:
    method, parts = build_method(encoder, "private", training=adapter_training(adapter))
    scramble(method.model.parameters())
    other, _ = build_method(encoder, "private", parts, adapter_training(adapter), seed=1)
    for task in TASKS:
        method.export(task, tmp_path / task)
        load_task(other.model, task, tmp_path / task)
    expected, found = all_logits(method, parts), all_logits(other, parts)
    assert all(torch.equal(found[task], expected[task]) for task in TASKS)


# --------------------------------------------------------------------------------------------------------------- names


TASK_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", fullmatch=True) | st.sampled_from(
    [name for name in dir(nn.ModuleDict()) if not name.startswith("_")]
)


@given(st.lists(TASK_NAMES.filter(lambda name: not name_fault(name)), min_size=2, max_size=6, unique=True))
@example(["a.b", "a-b", "a_b", "a"])
@example(["train", "values", "0", "T_destination"])
def test_every_task_name_becomes_a_module_of_its_own(names: list[str]) -> None:
    """PyTorch takes each, and no two become one, also where the disk sees no case."""
    modules = nn.ModuleDict({module_name(name): nn.Identity() for name in names})
    assert len(modules) == len(names)
    assert len({module_name(name).lower() for name in names}) == len({name.lower() for name in names})
    assert all(NAME.fullmatch(part) for part in map(module_name, names) if "+" not in part)


@pytest.mark.parametrize("name", ["first-2", "mnli", "value", "a_b", "default", "heads", "0"])
def test_names_that_pytorch_takes_stay(name: str) -> None:
    assert module_name(name) == name


def test_names_that_pytorch_refuses(encoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such tasks train alone and in mixed batches, and what is exported comes back as it was."""
    names = ("values", "a.b", "first")
    for name in names[:2]:
        monkeypatch.setitem(INFOS, name, replace(INFOS["first"], name=name))
    method, parts = build_method(encoder, "private", random_parts(names))
    scramble(t for task in names for _, t in method.model.bank.named_parameters(task))
    before = all_logits(method, parts)
    with method.model.bank.active_rows(names, (1, 1, 1)):
        method.model.encode({n: torch.ones((3, 5), dtype=torch.int64) for n in ("input_ids", "attention_mask")})
    for task in names:
        method.export(task, tmp_path / task)
        assert f'load_as="{module_name(task)}"' in (tmp_path / task / "README.md").read_text()
    again, _ = build_method(encoder, "private", random_parts(names))
    for task in names:
        load_task(again.model, task, tmp_path / task)
    after = all_logits(again, parts)
    assert all(torch.equal(before[task], after[task]) for task in names)
