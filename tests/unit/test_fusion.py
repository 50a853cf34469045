"""AdapterFusion: the formula, its penalty, what trains, what is attended to, and fusion within AdapterShare."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.fusion import attention_values
from adaptershare_cli.model.adapters import adapter_kind, require_use
from adaptershare_cli.observe.gradients import gram_matrices, row_gradients
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.optimizer import Optimizer
from tests.core import INFOS, build_method, random_parts, random_sources, scramble

TASKS = ("first", "second", "score")
TRAINING = TrainingSettings(max_steps=20, per_device_train_batch_size=4, reduction_factor=4, head_dropout=0.0)
SOURCES = ("first", "second", "score", "first-2")
SHARED = ((0, "first", "score"),)  # in layer 0 these two have equal adapters


def build(folder: Path, training: TrainingSettings = TRAINING, double: bool = False, **options: Any) -> Any:
    """AdapterFusion over four random adapters, two of them equal in layer 0, with random fusion modules."""
    method, parts = build_method(
        folder, "adapterfusion", random_parts(TASKS), training, double,
        start=random_sources(folder, SOURCES, training, SHARED), task_steps=dict.fromkeys(TASKS, 5), **options,
    )  # fmt: skip
    for task in TASKS:
        scramble((p for _, p in method.fusion.named_parameters(task)), TASKS.index(task))
    return method, parts


def batch_of(parts: Any, task: str, rows: int = 6) -> Any:
    return make_batch(task, parts[task].train, np.arange(rows), 0)


# ------------------------------------------------------------------------------------------------------------- formula


def explicit(
    site: nn.Module, order: list[str], name: str, hidden: torch.Tensor, x: torch.Tensor, ln_before: bool
) -> Any:
    """What a site gives for its inputs, and its attention, by the formula in the module's docstring."""
    norm, fusion = site.LayerNorm, site.adapter_fusion_layer[name]
    h = site.dense(hidden)
    q = norm(h + x) if ln_before else h
    up = []
    for adapter in (site.adapters[task] for task in order):
        down = adapter.adapter_down[0]
        inner = q @ down.weight.T + down.bias
        inner = torch.clamp(inner, min=0) if ln_before else inner * torch.sigmoid(inner)  # relu, swish
        up.append(inner @ adapter.adapter_up.weight.T + adapter.adapter_up.bias)
    query = q @ fusion.query.weight.T + fusion.query.bias
    scores = [(query * (u @ fusion.key.weight.T + fusion.key.bias)).sum(-1) for u in up]
    weights = torch.stack(scores, -1).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    mixed = sum(weights[..., n : n + 1] * (u @ fusion.value.weight.T) for n, u in enumerate(up))
    return norm(mixed + h + x), weights


@pytest.mark.parametrize("adapter", ["seq_bn", "double_seq_bn"])
def test_output_and_attention_equal_an_explicit_computation(encoder: Path, adapter: str) -> None:
    training = replace(TRAINING, adapter_config=adapter)  # type: ignore[arg-type]
    method, parts = build(encoder, training, double=True)
    orders = [["first-2", "second", "first"], ["first-2", "score", "second", "first"]]  # the first task is the last
    sites = []
    for number, layer in enumerate(method.model.encoder.encoder.layer):
        if adapter == "double_seq_bn":
            sites.append((number, "mh_adapter", layer.attention.output, False))
        sites.append((number, "output_adapter", layer.output, adapter == "seq_bn"))
    seen: dict[int, Any] = {}
    for _, _, site, _ in sites:
        site.register_forward_hook(lambda module, inputs, output: seen.update({id(module): (*inputs, output)}))
    rows = parts["second"].select
    batch = make_batch("second", rows, np.arange(len(rows)), 0)
    method.eval_mode()
    expected: list[torch.Tensor] = []
    with torch.no_grad():
        method.logits(batch)
        for layer, _, site, ln_before in sites:
            hidden, x, output = seen[id(site)]
            found, weights = explicit(site, orders[layer], "fusion(second)", hidden, x, ln_before)
            assert torch.allclose(output, found, rtol=1e-12, atol=1e-12)
            mask = batch.inputs["attention_mask"].double()
            expected.append(((weights * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).mean(0))
            assert expected[-1].std() > 0.01  # the adapters are told apart
    method.context.data = replace(method.context.data, select={"second": rows})
    method.finish(Path())
    records = method.context.records["attention"]
    for (layer, location, _, _), weights in zip(sites, expected, strict=True):
        here = [row for row in records if (row["layer"], row["location"]) == (layer, location)]
        assert [row["adapter"] for row in here] == orders[layer]
        assert [row["attention"] for row in here] == pytest.approx(weights.tolist(), abs=1e-9)
        assert {row["rows"] for row in here} == {len(rows)}
    members = {(row["layer"], row["adapter"]): row["members"] for row in records}
    assert members[0, "first"] == ["first", "score"] and members[1, "first"] == ["first"]


def test_attention_does_not_depend_on_the_batches(encoder: Path) -> None:
    found = []
    for size in (1, 5, 64):
        method, _ = build(encoder, replace(TRAINING, per_device_eval_batch_size=size))
        method.finish(Path())
        found.append(method.context.records["attention"])
        for site in pd.DataFrame(found[-1]).groupby(["task", "layer", "location"])["attention"]:
            assert site[1].sum() == pytest.approx(1)
    for one, other in zip(found[0], found[2], strict=True):
        assert one["attention"] == pytest.approx(other["attention"], abs=1e-5)
        assert {**one, "attention": 0} == {**other, "attention": 0}


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize("adapter", ["seq_bn", "double_seq_bn"])
def test_over_one_adapter_with_v_the_identity_nothing_changes(
    encoders: dict[str, Path], kind: str, adapter: str
) -> None:
    training = replace(TRAINING, adapter_config=adapter)  # type: ignore[arg-type]
    folder, names = encoders[kind], ("first",)
    parts = random_parts(names, segments=kind in ("bert", "electra"))
    sources = random_sources(folder, names, training)
    plain, _ = build_method(folder, "private", parts, training)
    plain.model.bank.fill("first", sources["first"])
    method, _ = build_method(folder, "adapterfusion", parts, training, start=sources, task_steps={"first": 5})
    with torch.no_grad():
        for value in method.fusion.parameters("first", values=True):
            value.copy_(torch.eye(len(value)))
    batch = batch_of(parts, "first")
    for each in (plain, method):
        each.eval_mode()
    with torch.no_grad():
        assert torch.equal(method.logits(batch), plain.logits(batch))


def test_parallel_adapters_are_refused(encoder: Path) -> None:
    with pytest.raises(UserError, match="Parallel adapters cannot be fused.* Use seq_bn or double_seq_bn"):
        require_use(adapter_kind("par_bn"), "fused")
    require_use(adapter_kind("seq_bn"), "fused")
    with pytest.raises(UserError, match="Parallel adapters cannot be fused"):  # whoever builds a fusion
        build_method(encoder, "adaptershare", training=replace(TRAINING, adapter_config="par_bn"), fuse=True)


# ------------------------------------------------------------------------------------------------------- what trains


def test_fresh_modules_start_as_the_paper_says(encoder: Path) -> None:
    stage_one = {"start": random_sources(encoder, SOURCES, TRAINING), "task_steps": dict.fromkeys(TASKS, 5)}
    method, _ = build_method(encoder, "adapterfusion", random_parts(TASKS), TRAINING, **stage_one)
    again, _ = build_method(encoder, "adapterfusion", random_parts(TASKS[::-1]), TRAINING, **stage_one)
    other, _ = build_method(encoder, "adapterfusion", random_parts(TASKS), TRAINING, **stage_one, seed=1)
    for task in TASKS:
        tensors = dict(method.fusion.named_parameters(task))
        assert len(tensors) == 2 * 5  # layers x (query, key: weight and bias; value)
        assert sum(t.numel() for t in tensors.values()) == 2 * (3 * 32**2 + 2 * 32)
        for name, tensor in tensors.items():
            if name.endswith("value.weight"):
                assert torch.equal(tensor, torch.full((32, 32), 1e-6).fill_diagonal_(1.0))
            elif name.endswith("bias"):
                assert not tensor.any()
            else:
                assert tensor.std().item() == pytest.approx(0.02, rel=0.15)
                assert torch.equal(tensor, dict(again.fusion.named_parameters(task))[name])  # whatever the order
                assert not torch.equal(tensor, dict(other.fusion.named_parameters(task))[name])
        assert method.fusion.penalty(task).item() == pytest.approx(2 * 32 * 31 * 1e-12, rel=1e-3)


def test_only_the_targets_fusion_and_head_get_gradients(encoder: Path) -> None:
    method, parts = build(encoder)
    method.train_mode()
    method.loss(batch_of(parts, "second")).backward()
    touched = {name for parameter, name in method.names().items() if parameter.grad is not None}
    assert touched == {name for name in method.names().values() if "/second/" in name}
    assert len(touched) == 2 * 5 + 2
    frozen = [p for p in method.model.encoder.parameters() if p not in method.names()]
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in frozen)
    phases = list(method.phases())
    assert [(phase.tasks, phase.max_steps, phase.learning_rate) for phase in phases] == [
        ((task,), 5, 5e-5) for task in TASKS
    ]
    for phase in phases:
        trained = {*phase.parameters(), *phase.undecayed()}
        assert trained == {p for p, name in method.names().items() if f"/{phase.tasks[0]}/" in name}


def test_the_penalty_belongs_to_the_update_of_its_batch_and_is_clipped_with_it(encoder: Path) -> None:
    method, parts = build(encoder, fusion_regularization=0.5)
    plain, _ = build(encoder, fusion_regularization=0.0)
    batch = batch_of(parts, "first")
    for each in (method, plain):
        each.eval_mode()  # no dropout: the two losses differ by the penalty alone
    values = method.fusion.parameters("first", values=True)
    expected = sum(((value - torch.eye(32)) ** 2).sum().item() for value in values)
    loss, without = method.loss(batch), plain.loss(batch)
    assert loss.item() == pytest.approx(without.item() + 0.5 * expected)
    loss.backward()
    without.backward()
    for value, other in zip(values, plain.fusion.parameters("first", values=True), strict=True):
        assert torch.allclose(value.grad, other.grad + 0.5 * 2 * (value.detach() - torch.eye(32)), atol=1e-5)
    phase = next(method.phases())
    optimizer = Optimizer(phase.parameters(), TRAINING, 5, undecayed=phase.undecayed())
    every = [p.grad for p in method.names() if p.grad is not None]
    assert optimizer.gradient_norm() == pytest.approx(float(nn.utils.get_total_norm(every)), rel=1e-6)
    assert optimizer.gradient_norm() > 10  # the penalty is in it


def test_values_do_not_decay(encoder: Path) -> None:
    method, _ = build(encoder)
    phase = next(method.phases())
    settings = replace(TRAINING, weight_decay=0.5, learning_rate=0.1, warmup_ratio=0.0)
    optimizer = Optimizer(phase.parameters(), settings, 5, undecayed=phase.undecayed())
    before = {p: p.detach().clone() for p in method.names()}
    for parameter in (*phase.parameters(), *phase.undecayed()):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.0)
    assert all(torch.equal(p, before[p]) for p in phase.undecayed())
    assert all(torch.allclose(p, before[p] * 0.95) for p in phase.parameters())
    assert optimizer.learning_rate == pytest.approx(0.08)  # one schedule for all


def test_the_quick_order_of_training_computes_the_same(encoder: Path) -> None:
    """Logits and all gradients, with the products as the library orders them and as training does."""
    method, parts = build(encoder, double=True)
    batch, found = batch_of(parts, "second"), []
    modules = [module for _, module in method.fusion._modules("second")]
    for training in (False, True):
        method.eval_mode()
        for module in modules:
            module.train(training)
            module.dropout.p = 0.0
        logits = method.logits(batch)
        trained = [*method.fusion.parameters("second", False), *method.fusion.parameters("second", True)]
        found.append((logits.detach(), *torch.autograd.grad(logits.square().sum(), trained)))
    assert not torch.equal(found[0][0], found[1][0])  # it is another order
    for library, quick in zip(*found, strict=True):
        assert torch.allclose(quick, library, rtol=1e-9, atol=1e-12) and quick.abs().max() > 0


def test_dropout_of_the_scores_in_training_only(encoder: Path) -> None:
    method, parts = build(encoder)  # heads have no dropout here, the frozen encoder neither
    batch = batch_of(parts, "first")
    with torch.no_grad():
        method.train_mode()
        assert not torch.equal(method.logits(batch), method.logits(batch))
        method.eval_mode()
        assert torch.equal(method.logits(batch), method.logits(batch))


def test_bf16_leaves_adapters_and_fusion_modules_alone(encoder: Path) -> None:
    from adaptershare_cli.model.precision import linear_precision

    method, _ = build(encoder)
    adapters = [*method.model.bank.parameters(), *method.names()]
    with linear_precision(method.model.encoder, "bf16"):
        assert {tensor.dtype for tensor in adapters} == {torch.float32}
        frozen = {
            m.weight.dtype for n, m in method.model.encoder.named_modules() if n.endswith("query") and "fusion" not in n
        }
        assert frozen == {torch.bfloat16}


# ------------------------------------------------------------------------------------------- fusion within AdapterShare


def fused(folder: Path, double: bool = False, **options: Any) -> Any:
    """AdapterShare with fusion on three tasks, layer 0 split into {first, score} and {second}, layer 1 whole."""
    method, parts = build_method(folder, "adaptershare", random_parts(TASKS), TRAINING, double, fuse=True, **options)
    return method, parts


def split(method: Any, optimizer: Optimizer | None = None) -> Optimizer:
    phase = next(method.phases())
    optimizer = optimizer or Optimizer(phase.parameters(), TRAINING, 20, phase.apart(), phase.undecayed())
    method.split(0, ("first", "score"), ("second",), optimizer)
    return optimizer


def test_before_a_split_fusion_changes_nothing(encoder: Path) -> None:
    method, parts = fused(encoder)
    plain, _ = build_method(encoder, "adaptershare", random_parts(TASKS), TRAINING)
    for each in (method, plain):
        scramble((p for p in each.model.parameters()), 3)
        each.eval_mode()
    assert list(method.names().values()) == list(plain.names().values())
    for task in TASKS:
        batch = batch_of(parts, task)
        with torch.no_grad():
            assert torch.equal(method.logits(batch), plain.logits(batch))
    grams = [gram_matrices(each.model, each.heldout, 0) for each in (method, plain)]
    assert all(np.allclose(ours, theirs, rtol=1e-4, atol=1e-6) for ours, theirs in zip(*grams, strict=True))


def test_a_split_layer_is_fused_and_trains_with_the_rest(encoder: Path) -> None:
    method, parts = fused(encoder)
    scramble(method.model.parameters(), 3)
    method.eval_mode()
    batch = batch_of(parts, "score")
    with torch.no_grad():
        before = method.logits(batch)
    optimizer = split(method)
    with torch.no_grad():
        assert torch.allclose(method.logits(batch), before, atol=1e-3)  # copies, attended to in any mixture
    names = [name for name in method.names().values() if name.startswith("fusion/")]
    assert len(names) == 3 * 5 and all("/0.output_adapter." in name for name in names)
    trained = {id(p) for p in optimizer.parameters}
    assert trained == {id(p) for p in method.names()}
    values = {id(p) for task in TASKS for p in method.fusion.parameters(task, values=True)}
    assert {id(p) for p in optimizer.torch.param_groups[1]["params"]} == values
    scramble((p for p in method.names()), 5)
    with torch.no_grad():  # the other group's adapter is attended to
        found = method.logits(batch)
        for _, tensor in method.model.bank.named_parameters("second", 0):
            tensor.add_(0.5)
        assert not torch.allclose(method.logits(batch), found, atol=1e-3)


def test_a_batch_trains_its_own_groups_adapters_and_fusion_modules(encoder: Path) -> None:
    method, parts = fused(encoder)
    split(method)
    scramble(method.names(), 5)
    method.train_mode()
    method.loss(batch_of(parts, "first")).backward()
    touched = {name for parameter, name in method.names().items() if parameter.grad is not None}
    own = ("adapter/0.0.", "adapter/1.0.", "head/first/", "fusion/first/")  # group 0 of layer 0 holds first and score
    assert touched == {name for name in method.names().values() if name.startswith(own)}
    assert all(parameter.requires_grad for parameter in method.names())  # afterwards as before
    method.eval_mode()  # both losses without dropout
    added = method.loss(batch_of(parts, "first")).item() - method.model.loss(batch_of(parts, "first")).item()
    assert added == pytest.approx(0.01 * method.fusion.penalty("first").item(), rel=1e-4)


def test_a_look_ahead_under_fusion_leaves_everything_as_it_was(encoder: Path) -> None:
    method, parts = fused(encoder, lookahead_every=1)
    optimizer = split(method)
    scramble(method.names(), 5)
    optimizer.torch.param_groups[0]["lr"] = 0.01  # the warm-up begins at 0
    before = {name: parameter.detach().clone() for parameter, name in method.names().items()}
    method.look_ahead("main", 1, optimizer)
    rows = method.context.records["lookahead"]
    assert {(row["source"], row["target"], row["half"]) for row in rows} == {
        (source, target, half) for source in TASKS for target in TASKS for half in range(2)
    }
    method.eval_mode()
    for row in rows:
        assert math.isfinite(row["loss_before"]) and row["loss_after"] != row["loss_before"]  # all attend over all
    assert all(torch.equal(parameter, before[name]) for parameter, name in method.names().items())


def test_row_gradients_under_fusion_equal_separate_passes(encoder: Path) -> None:
    method, parts = fused(encoder, double=True)
    split(method)
    scramble(method.names(), 5)
    for module in method.model.encoder.modules():
        module.double()
    layers = len(method.plan.layers)
    found: list[list[torch.Tensor]] = [[] for _ in range(layers)]
    for layer, rows in row_gradients(method.model, method.heldout, 0):
        found[layer].append(rows)
    line = 0
    for task in TASKS:
        rows = method.heldout[task]
        for number in range(len(rows)):
            method.model.eval()
            loss = method.model.loss(make_batch(task, rows, np.array([number]), 0))
            own = [p for layer in range(layers) for _, p in method.model.bank.named_parameters(task, layer)]
            expected = torch.autograd.grad(loss, own)
            sizes = len(expected) // layers
            for layer in range(layers):
                ours = torch.cat([part[line] for part in found[layer]])
                theirs = torch.cat([g.flatten() for g in expected[layer * sizes : (layer + 1) * sizes]])
                assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)
            line += 1


def test_the_parameter_target_counts_fusion_modules(encoder: Path) -> None:
    start, _ = fused(encoder)
    trained = sum(p.numel() for p in start.names())
    one = sum(p.numel() for _, p in start.model.bank.named_parameters("first", 0))
    modules = 3 * (3 * 32**2 + 2 * 32)
    options = {"guard": "none", "max_interference": -1.0, "first_check": 1, "check_every": 1}
    for limit, groups in ((trained + one + modules, 3), (trained + one + modules - 1, 2)):
        method, _ = fused(encoder, target_parameters=limit, **options)
        phase = next(method.phases())
        method.after_update(phase, 1, Optimizer(phase.parameters(), TRAINING, 20))
        assert sum(map(len, method.plan.layers)) == groups
        assert sum(p.numel() for p in method.names()) <= limit


# --------------------------------------------------------------------------------------------------------- the measure


def attention_frame(values: dict[tuple[str, int, str], tuple[float, list[str]]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"task": task, "layer": layer, "location": "output_adapter", "adapter": adapter, "members": members,
             "attention": value, "rows": 9}
            for (task, layer, adapter), (value, members) in values.items()
        ]
    )  # fmt: skip


def test_values_of_the_measure() -> None:
    table = attention_frame({
        ("a", 0, "a"): (0.25, ["a", "c"]), ("a", 0, "b"): (0.75, ["b"]),
        ("a", 1, "a"): (0.5, ["a"]), ("a", 1, "b"): (0.125, ["b"]), ("a", 1, "c"): (0.375, ["c"]),
        ("b", 0, "a"): (1.0, ["a", "c"]), ("b", 0, "b"): (0.0, ["b"]),
        ("b", 1, "a"): (0.0, ["a"]), ("b", 1, "b"): (0.5, ["b"]), ("b", 1, "c"): (0.5, ["c"]),
    })  # fmt: skip
    found = attention_values(table, ["a", "b", "c"]).set_index(["layer", "source", "target"])["value"]
    assert list(dict.fromkeys(found.index.get_level_values("layer"))) == [-1, 0, 1]
    assert found[0, "b", "a"] == 0.75 and found[1, "b", "a"] == 0.125 and found[-1, "b", "a"] == 0.4375
    assert found[0, "c", "a"] == 0.125 and found[-1, "c", "a"] == 0.25
    assert found[0, "a", "b"] == 0.5 and found[-1, "a", "b"] == 0.25  # directed
    assert found[-1, "c", "b"] == 0.5
    assert math.isnan(found[-1, "a", "c"]) and math.isnan(found[0, "b", "c"])  # c attended to nothing
    with pytest.raises(ValueError, match="twice"):
        attention_values(table, ["a", "a"])
    with pytest.raises(ValueError, match="several runs"):
        attention_values(pd.concat([table, table]), ["a", "b"])


@settings(deadline=None)  # pandas at first use, or a loaded machine, takes longer than 200 ms
@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_laws_of_the_measure(tasks: int, layers: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    names = [f"t{number}" for number in range(tasks)]
    values = {}
    for layer in range(layers):
        groups: dict[int, list[str]] = {}
        for name in names:
            groups.setdefault(int(draw.integers(tasks)), []).append(name)
        for target in names:
            shares = draw.dirichlet(np.ones(len(groups)))
            for members, share in zip(groups.values(), shares, strict=True):
                values[target, layer, members[0]] = (float(share), members)
    table = attention_frame(values)
    found = attention_values(table, names)
    assert len(found) == (1 + layers) * tasks * (tasks - 1)
    assert found["value"].between(0, 1).all()
    assert (found.groupby(["layer", "target"])["value"].sum() <= 1 + 1e-9).all()
    shuffled = attention_values(table.sample(frac=1, random_state=seed % 1000), names[::-1])
    keys = ["layer", "source", "target"]
    pd.testing.assert_frame_equal(
        shuffled.sort_values(keys, ignore_index=True), found.sort_values(keys, ignore_index=True)
    )
    mean = found[found["layer"] >= 0].groupby(["source", "target"])["value"].mean()
    over_all = found[found["layer"] == -1].set_index(["source", "target"])["value"]
    pd.testing.assert_series_equal(over_all.sort_index(), mean.sort_index())


def test_names_of_the_tasks_are_those_of_the_tests() -> None:
    assert set(SOURCES) == set(INFOS)
