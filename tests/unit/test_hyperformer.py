"""HyperFormer: its formulas written out, its sizes as published, and what is generated when."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from adaptershare_cli.data.batches import TaskParts, make_batch
from adaptershare_cli.methods.hyperformer.method import HyperFormer
from adaptershare_cli.model.encoder import layer_norms
from adaptershare_cli.model.hypernetwork import (
    AdapterSite,
    GeneratorSizes,
    HyperNetwork,
    adapter_of_new_task,
    fresh_embedding,
    load_hypernetwork,
    make_hypernetwork,
)
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.costs import count_values
from adaptershare_cli.training.optimizer import Optimizer
from tests.conftest import ENCODER_TYPES
from tests.core import INFOS, build_method, outputs_of, random_parts

METHODS = ("hyperformer", "hyperformer++")
NAMES = (
    "adapter_down.0.weight", "adapter_down.0.bias", "adapter_up.weight", "adapter_up.bias",
    "adapter_norm_after.weight", "adapter_norm_after.bias",
)  # fmt: skip
PAPER = {
    "hyperformer": GeneratorSizes(task_embedding_dim=64),
    "hyperformer++": GeneratorSizes(64, task_hidden_dim=128, projected_task_embedding_dim=64),
}


def build(
    folder: Path, name: str, adapter: str = "double_seq_bn", parts: dict[str, TaskParts] | None = None, **options: Any
) -> tuple[HyperFormer, dict[str, TaskParts]]:
    """A method on the small encoder, bottleneck 8, embeddings of 6 values unless told otherwise."""
    training = options.pop("training", None) or TrainingSettings(
        max_steps=20, per_device_train_batch_size=4, learning_rate=1e-2, head_dropout=0.0
    )
    training = replace(training, adapter_config=adapter, reduction_factor=4)
    sizes = {"task_embedding_dim": 6} if "task_embedding_dim" not in options else {}
    method, parts = build_method(folder, name, parts, training, **sizes, **options)
    assert isinstance(method, HyperFormer)
    return method, parts


def scramble(method: HyperFormer, scale: float = 0.3) -> None:
    """Give every trained tensor random values, so that each part of a formula counts."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in method.names():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))


def to_double(method: HyperFormer) -> None:
    """Turn the whole model to float64, generators and embeddings too."""
    model = method.generated
    for module in (model.encoder, model.network, *model.heads.values()):
        module.double()
    for embedding in model.embeddings.values():
        embedding.data = embedding.data.double()


# ------------------------------------------------------------------------------------------------------------ formulas


def layer_norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float) -> torch.Tensor:
    """A layer norm, written out."""
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return scale * (x - mean) / torch.sqrt(variance + eps) + shift


def gelu_new(x: torch.Tensor) -> torch.Tensor:
    """The tanh form of GELU, written out."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def generated_by_hand(method: HyperFormer, task: str, layer: int, position: int, site: int) -> list[torch.Tensor]:
    """D, b_D, U, b_U, gamma, beta of a site: G I + g, one row of G a value, with I as specs 1.4 says."""
    weights = {name: tensor.detach() for name, tensor in method.generated.network.named_parameters()}
    z = method.generated.embeddings[task].detach()
    if "generator.weight" in weights:
        places = [z, weights["layer_embeddings.weight"][layer], weights["position_embeddings.weight"][position]]
        hidden = torch.clamp(weights["projector.0.weight"] @ torch.cat(places) + weights["projector.0.bias"], min=0)
        projected = weights["projector.2.weight"] @ hidden + weights["projector.2.bias"]
        given = layer_norm(projected, weights["projector.3.weight"], weights["projector.3.bias"], 1e-6)
        matrix, bias = weights["generator.weight"], weights["generator.bias"]
    else:
        given = z
        matrix, bias = weights[f"generators.{site}.weight"], weights[f"generators.{site}.bias"]
    d, r = 32, 8
    values = torch.stack([row @ given + shift for row, shift in zip(matrix, bias, strict=True)])
    assert len(values) == 2 * d * r + r + 3 * d
    shapes = [(r, d), (r,), (d, r), (d,), (d,), (d,)]
    ends = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    return [values[a:b].reshape(shape) for a, b, shape in zip(ends[:-1], ends[1:], shapes, strict=True)]


def record(module: nn.Module, into: list[Any]) -> None:
    """Keep the positional inputs and the output of the module's passes."""
    module.register_forward_hook(lambda module, inputs, output: into.append((*inputs, output)))


@pytest.mark.parametrize("path", ["training", "scoring"])
@pytest.mark.parametrize("name", METHODS)
def test_adapters_after_both_blocks_follow_formula_1_2(encoder: Path, name: str, path: str) -> None:
    """y = s + LN(U gelu_new(D s + b_D) + b_U), then the encoder's own layer norm over its residual x and y."""
    method, parts = build(encoder, name)
    scramble(method)
    to_double(method)
    layers = method.generated.encoder.encoder.layer  # type: ignore[union-attr]
    (method.train_mode if path == "training" else method.eval_mode)()
    batch = make_batch("score", parts["score"].train, np.arange(5), 0)
    seen: dict[tuple[int, int], dict[str, list]] = {}
    for number, layer in enumerate(layers):
        for position, output in enumerate((layer.attention.output, layer.output)):
            own = seen[number, position] = {"dense": [], "output": []}
            record(output.dense, own["dense"])
            record(output, own["output"])
    with torch.no_grad():
        method.logits(batch)
    for site, ((number, position), own) in enumerate(seen.items()):
        (_, s), (_, x, found) = own["dense"][0], own["output"][0]
        output = (layers[number].attention.output, layers[number].output)[position]
        down, down_bias, up, up_bias, scale, shift = generated_by_hand(method, "score", number, position, site)
        branch = gelu_new(s @ down.T + down_bias) @ up.T + up_bias
        y = s + layer_norm(branch, scale, shift, 1e-5)
        norm = output.LayerNorm
        expected = layer_norm(x + y, norm.weight, norm.bias, norm.eps)
        assert found.dtype == torch.float64
        assert (found - expected).abs().max() < 1e-12
        assert (layer_norm(branch, scale, shift, 1e-5)).abs().mean() > 0.05  # the adapter does something


@pytest.mark.parametrize("name", METHODS)
def test_adapters_at_one_site_read_what_the_library_gives_them(encoder: Path, name: str) -> None:
    """seq_bn: the branch reads LN_bert(s + x) and is added to s; the encoder's layer norm comes once more after it."""
    method, parts = build(encoder, name, "seq_bn")
    scramble(method)
    to_double(method)
    method.train_mode()
    layers = method.generated.encoder.encoder.layer  # type: ignore[union-attr]
    seen: list[dict[str, list]] = [{"dense": [], "output": []} for _ in layers]
    for layer, own in zip(layers, seen, strict=True):
        record(layer.output.dense, own["dense"])
        record(layer.output, own["output"])
    with torch.no_grad():
        method.logits(make_batch("first", parts["first"].train, np.arange(5), 0))
    for number, (layer, own) in enumerate(zip(layers, seen, strict=True)):
        (_, s), (_, x, found) = own["dense"][0], own["output"][0]
        norm = layer.output.LayerNorm
        down, down_bias, up, up_bias, scale, shift = generated_by_hand(method, "first", number, 0, number)
        given = layer_norm(s + x, norm.weight, norm.bias, norm.eps)
        branch = layer_norm(gelu_new(given @ down.T + down_bias) @ up.T + up_bias, scale, shift, 1e-5)
        expected = layer_norm(s + branch + x, norm.weight, norm.bias, norm.eps)
        assert (found - expected).abs().max() < 1e-12


def test_tensors_of_a_site_stand_in_the_formulas_order(encoder: Path) -> None:
    method, _ = build(encoder, "hyperformer")
    sites = method.generated.network.sites
    assert [(site.layer, site.location) for site in sites] == [
        (layer, location) for layer in range(2) for location in ("mh_adapter", "output_adapter")
    ]
    assert {tuple(name for name, _ in site.shapes) for site in sites} == {NAMES}


# --------------------------------------------------------------------------------------------------------------- sizes


def sites_of(d: int, r: int, layers: int) -> list[AdapterSite]:
    """Both sites of every layer of an encoder of width d."""
    shapes = tuple(zip(NAMES, [(r, d), (r,), (d, r), (d,), (d,), (d,)], strict=True))
    return [AdapterSite(layer, place, shapes) for layer in range(layers) for place in ("attention", "output")]


def generated_parameters(name: str, sites: list[list[AdapterSite]], tasks: int) -> int:
    """Parameters of our generators for stacks of sites, without allocating them, and of the tasks' embeddings."""
    with torch.device("meta"):
        stacks = [make_hypernetwork(stack, PAPER[name]) for stack in sites]
    return sum(count_values(stack.parameters()) for stack in stacks) + tasks * PAPER[name].task_embedding_dim


T5 = {"small": (512, 6, 60.51e6, 16_384), "base": (768, 12, 222.90e6, 47_616)}  # d, layers a stack, total, layer norms


@pytest.mark.parametrize(
    ("name", "size", "total", "percent"),
    [
        ("hyperformer", "small", 1.462, 5.78),
        ("hyperformer", "base", 1.549, 6.86),
        ("hyperformer++", "small", 1.040, 0.50),
        ("hyperformer++", "base", 1.023, 0.29),
        ("adapters", "small", None, 0.74),
        ("adapters", "base", None, 0.87),
    ],
)
def test_parameters_of_t5_are_those_of_the_paper(name: str, size: str, total: float | None, percent: float) -> None:
    """Reduction 32, 8 tasks, encoder and decoder; percent: trained parameters a task, layer norms included."""
    d, layers, whole, norms = T5[size]
    stacks = [sites_of(d, d // 32, layers)] * 2
    if name == "adapters":  # single-task training: each task pays for its own
        extra, tasks = sum(sum(site.sizes) for stack in stacks for site in stack), 1
    else:
        extra, tasks = generated_parameters(name, stacks, 8), 8
    assert round(100 * (extra + norms) / tasks / whole, 2) == percent
    if total is not None:
        assert round(1 + extra / whole, 3) == total


def test_parameters_of_bert_base() -> None:
    """By the formulas of specs 1.7: d 768, r 24, 12 layers, both sites, 8 tasks."""
    sites = [sites_of(768, 24, 12)]
    generator = 2 * 65 * 768 * 24 + 65 * (24 + 768) + 2 * 65 * 768
    assert generator == 2_547_480
    assert generated_parameters("hyperformer", sites, 8) == 24 * generator + 8 * 64 == 61_140_032
    plus = 14 * 64 + 193 * 128 + 129 * 64 + 2 * 64 + generator + 8 * 64
    assert generated_parameters("hyperformer++", sites, 8) == plus == 2_581_976


@pytest.mark.parametrize(("adapter", "sites"), [("seq_bn", 1), ("par_bn", 1), ("double_seq_bn", 2)])
@pytest.mark.parametrize("norms", [False, True])
def test_trained_parameters_of_a_method_follow_the_formulas(
    encoder: Path, adapter: str, sites: int, norms: bool
) -> None:
    d, r, layers, tasks, e = 32, 8, 2, len(INFOS), 64
    generator = 2 * (e + 1) * d * r + (e + 1) * (r + d) + 2 * (e + 1) * d
    heads = sum((d + 1) * outputs_of(info) for info in INFOS.values())
    own_norms = (1 + 2 * layers) * 2 * d * norms  # of the embeddings, and two in each layer
    method, _ = build(encoder, "hyperformer", adapter, task_embedding_dim=e, train_layer_norms=norms)
    assert count_values(method.names()) == layers * sites * generator + tasks * e + heads + own_norms
    method, _ = build(encoder, "hyperformer++", adapter, task_embedding_dim=e, train_layer_norms=norms)
    shared = (layers + sites) * e + (3 * e + 1) * 128 + 129 * 64 + 2 * 64 + generator
    assert count_values(method.names()) == shared + tasks * e + heads + own_norms


# ------------------------------------------------------------------------------------------------------ initial values


@pytest.mark.parametrize("name", METHODS)
def test_initial_values_are_those_of_the_original(encoder: Path, name: str) -> None:
    method, _ = build(encoder, name, task_embedding_dim=64)
    weights = dict(method.generated.network.named_parameters())
    for key, tensor in weights.items():
        if "embeddings" in key:
            assert tensor.std().item() == pytest.approx(1, abs=0.15), key
        elif key.startswith("projector.3"):
            assert torch.equal(tensor, torch.full_like(tensor, float(key.endswith("weight"))))
        elif key.endswith("weight"):
            assert tensor.std().item() == pytest.approx(0.01, rel=0.05), key
        else:
            assert not tensor.any(), key
    method.eval_mode()
    norms = [t for n, t in method.generated.bank.named_parameters("first") if n.endswith("norm_after.weight")]
    assert torch.cat(norms).std().item() == pytest.approx(0.08, abs=0.03)  # the branch starts small


def test_a_task_starts_alike_whatever_tasks_stand_beside_it(encoder: Path) -> None:
    whole, _ = build(encoder, "hyperformer")
    few, _ = build(encoder, "hyperformer", parts=random_parts(("score", "first")))
    for task in ("first", "score"):
        assert torch.equal(whole.generated.embeddings[task], few.generated.embeddings[task])
    other, _ = build(encoder, "hyperformer", seed=1)
    starts = [*whole.generated.embeddings.values(), other.generated.embeddings["first"]]
    assert len({tuple(start.tolist()) for start in starts}) == len(starts)


# ---------------------------------------------------------------------------------------------- what trains, and when


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("model_type", ENCODER_TYPES)
@pytest.mark.parametrize("name", METHODS)
def test_a_batch_gives_gradients_to_its_task_and_to_what_all_share(
    encoders: dict[str, Path], model_type: str, name: str, norms: bool
) -> None:
    parts = random_parts(segments=model_type in ("bert", "electra"))
    method, _ = build(encoders[model_type], name, parts=parts, train_layer_norms=norms)
    frozen = {n: p.clone() for n, p in method.generated.encoder.named_parameters() if not p.requires_grad}
    assert any(n.endswith(("LayerNorm.weight", "layer_norm.weight")) for n in frozen) != norms
    scramble(method)
    method.train_mode()
    method.loss(make_batch("first", parts["first"].train, np.arange(6), 0)).backward()
    for parameter, key in method.names().items():
        own = key.startswith(("network/", "layer-norm/", "head/first/")) or key == "embedding/first"
        assert (parameter.grad is not None and bool(parameter.grad.any())) == own, key
    assert all(slot.grad is None for slot in method.generated.bank.parameters())
    optimizer = Optimizer(next(method.phases()).parameters(), method.context.training, 20)
    optimizer.step(optimizer.gradient_norm())
    now = dict(method.generated.encoder.named_parameters())
    assert all(torch.equal(now[n], value) for n, value in frozen.items())


@pytest.mark.parametrize("name", METHODS)
def test_training_and_scoring_see_the_same_adapters(encoder: Path, name: str) -> None:
    method, parts = build(encoder, name)
    seen: dict[str, torch.Tensor] = {}
    for scale in (0.1, 0.2):  # the second time the slots hold what was scored the first time
        scramble(method, scale)
        for task, part in parts.items():
            batch = make_batch(task, part.train, np.arange(7), 0)
            with torch.no_grad():
                method.train_mode()
                trained = method.logits(batch)
                method.eval_mode()
                assert torch.equal(method.logits(batch), trained)
            assert task not in seen or not torch.equal(seen[task], trained)
            seen[task] = trained
    method.train_mode()
    method.loss(make_batch("first", parts["first"].train, np.arange(7), 0)).backward()
    assert all(parameter.grad is not None for parameter in method.generated.network.parameters())


def test_generators_work_once_a_batch_and_once_a_task_for_scoring(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, parts = build(encoder, "hyperformer++")
    calls: list[tuple[int, ...]] = []
    whole: Callable = HyperNetwork.forward

    def counted(self: HyperNetwork, z: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(tuple(z.shape))
        return whole(self, z)

    monkeypatch.setattr(HyperNetwork, "forward", counted)
    batch = make_batch("first", parts["first"].train, np.arange(8), 0)
    method.train_mode()
    method.loss(batch).backward()
    assert calls == [(6,)]
    for _ in range(3):
        method.eval_mode()
        method.logits(batch)
    assert len(calls) == 1 + len(INFOS)


def test_a_loaded_state_is_what_is_scored(encoder: Path) -> None:
    method, parts = build(encoder, "hyperformer++", train_layer_norms=True)
    scramble(method)
    method.eval_mode()
    batch = make_batch("second", parts["second"].train, np.arange(8), 0)
    with torch.no_grad():
        expected = method.logits(batch)
        other, _ = build(encoder, "hyperformer++", train_layer_norms=True, seed=3)
        other.eval_mode()
        assert not torch.equal(other.logits(batch), expected)
        other.load_state(*method.state())
        assert torch.equal(other.logits(batch), expected)
        other.eval_mode()
        assert torch.equal(other.logits(batch), expected)


def test_layer_norms_are_the_encoders_own(encoder: Path) -> None:
    method, _ = build(encoder, "hyperformer", train_layer_norms=True)
    names = [key.removeprefix("layer-norm/") for key in method.names().values() if key.startswith("layer-norm/")]
    assert len(names) == 2 * (1 + 2 * 2)
    assert not [name for name in names if "adapter" in name]
    without, _ = build(encoder, "hyperformer")
    assert not any(key.startswith("layer-norm/") for key in without.names().values())
    assert not any(p.requires_grad for n, p in layer_norms(without.generated.encoder).items() if "adapters" not in n)


# ------------------------------------------------------------------------------------------- what a run leaves behind


@pytest.mark.parametrize("name", METHODS)
def test_a_new_task_gets_an_adapter_from_the_generators_as_they_are(encoder: Path, name: str, tmp_path: Path) -> None:
    method, _ = build(encoder, name)
    scramble(method)
    method.eval_mode()
    method.finish(tmp_path)
    expected = dict(method.generated.bank.named_parameters("first"))
    fresh, again, other = (adapter_of_new_task(tmp_path, task, seed=0) for task in ("new", "new", "newer"))
    assert fresh.keys() == expected.keys()
    for key in expected:
        assert torch.equal(fresh[key], again[key]) and not torch.equal(fresh[key], expected[key])
    assert any(not torch.equal(fresh[key], other[key]) for key in expected)
    method.generated.bank.fill("score", fresh)  # as a slot of another task
    filled = dict(method.generated.bank.named_parameters("score"))
    assert all(torch.equal(filled[key], fresh[key]) for key in filled)

    network, embeddings = load_hypernetwork(tmp_path)
    assert list(embeddings) == list(INFOS)
    copied = network(embeddings["first"])
    assert all(torch.equal(copied[key], expected[key]) for key in expected)
    z = nn.Parameter(fresh_embedding(6, "new", 0))
    sum(tensor.sum() for tensor in network(z).values()).backward()  # type: ignore[union-attr]
    assert z.grad is not None and z.grad.any()  # the embedding alone can be trained
    assert all(not parameter.requires_grad for parameter in network.parameters())


def test_embeddings_are_recorded_as_they_are_at_the_end(encoder: Path, tmp_path: Path) -> None:
    method, _ = build(encoder, "hyperformer")
    scramble(method)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        method.finish(tmp_path / folder)
    rows = method.context.records["embeddings"]
    assert [row["task"] for row in rows] == list(INFOS)
    saved = load_file(tmp_path / "a" / "hypernetwork.safetensors")
    for row in rows:
        assert row["embedding"].tolist() == method.generated.embeddings[row["task"]].tolist()
        assert torch.equal(torch.tensor(row["embedding"]), saved[f"embedding/{row['task']}"])
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
