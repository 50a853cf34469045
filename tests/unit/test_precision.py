"""bf16 for the frozen Linear weights: the same numbers as autocast, and gone without a trace afterwards."""

from __future__ import annotations

from pathlib import Path

import adapters
import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.precision import linear_precision, resolve_precision
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.observe.gradients import gram_matrices, row_gradients, row_index
from adaptershare_cli.training.loop import Hooks, Trainer
from tests.conftest import ENCODER_TYPES
from tests.core import ADAPTERS, adapter_training, build_method, random_parts

CPU = torch.device("cpu")


def batch(padded: bool) -> dict[str, torch.Tensor]:
    """Eight rows of up to 16 random tokens."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(3, 17, (8,), generator=generator) if padded else torch.full((8,), 16)
    mask = (torch.arange(16) < lengths[:, None]).long()
    return {"input_ids": torch.randint(4, 40, (8, 16), generator=generator) * mask, "attention_mask": mask}


def hidden(encoder: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Last hidden states of the real tokens."""
    with torch.no_grad():
        return encoder(**inputs).last_hidden_state[inputs["attention_mask"].bool()]


def three_ways(encoder: PreTrainedModel, padded: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states in fp32, under autocast, and ours."""
    inputs = batch(padded)
    full = hidden(encoder, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = hidden(encoder, inputs)
    with linear_precision(encoder, "bf16"):
        ours = hidden(encoder, inputs)
    assert not torch.equal(ours, full)  # bf16 was really used
    return full, autocast, ours


# ------------------------------------------------------------------------------------------------------------ autocast


@pytest.fixture
def attention_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention as on a GPU, and as autocast has it."""
    monkeypatch.setattr("adaptershare_cli.model.precision.attends_in_bf16", lambda device: True)


@pytest.mark.usefixtures("attention_in_bf16")
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert"])
def test_equal_to_autocast_bit_for_bit(encoders: dict[str, Path], model_type: str, padded: bool) -> None:
    encoder = load_encoder(locate_encoder(str(encoders[model_type])), CPU)
    assert encoder.config._attn_implementation == "sdpa"
    full, autocast, ours = three_ways(encoder, padded)
    assert ours.dtype == autocast.dtype == torch.float32
    assert torch.equal(ours, autocast)
    assert (ours - full).abs().max() < 0.1


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_attention_on_the_cpu_is_fp32(encoders: dict[str, Path], model_type: str) -> None:
    encoder = load_encoder(locate_encoder(str(encoders[model_type])), CPU)
    full, autocast, ours = three_ways(encoder, padded=True)
    assert ours.dtype == torch.float32
    assert (ours - full).abs().max() < 0.1
    assert not torch.equal(ours, autocast.float())
    names = ("query", "key", "value", "q_lin", "k_lin", "v_lin")
    with linear_precision(encoder, "bf16"):
        found = [m for name, m in encoder.named_modules() if name.endswith(names)]
        assert len(found) == 3 * encoder.config.num_hidden_layers
        assert {m(torch.ones(2, 3, m.in_features)).dtype for m in found} == {torch.float32}
        assert {m.weight.dtype for m in found} == {torch.bfloat16}


@pytest.mark.usefixtures("attention_in_bf16")
@pytest.mark.parametrize("model_type", ["bert", "electra"])
def test_equal_to_autocast_with_written_out_attention(encoders: dict[str, Path], model_type: str) -> None:
    config = AutoConfig.from_pretrained(encoders[model_type])
    if model_type == "electra":
        config.embedding_size = config.hidden_size  # as in electra-base: no projection of the embeddings
    torch.manual_seed(2)
    encoder = AutoModel.from_config(config, attn_implementation="eager")
    adapters.init(encoder)
    encoder.requires_grad_(False).eval()
    _, autocast, ours = three_ways(encoder, padded=True)
    assert ours.dtype == autocast.dtype == torch.float32
    assert torch.equal(ours, autocast)


def test_projected_embeddings_are_kept_more_exactly_than_by_autocast(encoders: dict[str, Path]) -> None:
    # electra-small projects its embeddings with a Linear. Under autocast its bf16 output begins the residual stream,
    # which then stays in bf16 through all layers; ours is fp32, so the two differ and ours is nearer to fp32.
    encoder = load_encoder(locate_encoder(str(encoders["electra"])), CPU)
    assert hasattr(encoder, "embeddings_project")
    full, autocast, ours = three_ways(encoder, padded=True)
    assert (autocast.dtype, ours.dtype) == (torch.bfloat16, torch.float32)
    assert (ours - full).norm() < (autocast.float() - full).norm()


# ------------------------------------------------------------------------------------------------- nothing stays behind


def hooks_of(module: nn.Module) -> list[list[int]]:
    """The hooks on every part (`adapters` has some of its own)."""
    return [[*part._forward_pre_hooks, *part._forward_hooks] for part in module.modules()]


def snapshot(module: nn.Module) -> tuple[dict[str, tuple[int, torch.Tensor]], list[list[int]]]:
    """Identity and value of every tensor, and the hooks."""
    return {name: (id(p), p.detach().clone()) for name, p in module.named_parameters()}, hooks_of(module)


def assert_unchanged(module: nn.Module, before: tuple[dict[str, tuple[int, torch.Tensor]], list[list[int]]]) -> None:
    """The very same Parameter objects with the same bits, in fp32, and no hooks left."""
    tensors, hooks = before
    now = dict(module.named_parameters())
    assert now.keys() == tensors.keys()
    for name, (identity, value) in tensors.items():
        assert id(now[name]) == identity
        assert now[name].dtype == torch.float32
        assert torch.equal(now[name], value)
    assert hooks_of(module) == hooks


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_weights_come_back(encoders: dict[str, Path], model_type: str) -> None:
    encoder = load_encoder(locate_encoder(str(encoders[model_type])), CPU)
    before, expected = snapshot(encoder), hidden(encoder, batch(True))
    with linear_precision(encoder, "bf16"):
        held = [m for m in encoder.modules() if isinstance(m, nn.Linear)]
        assert {p.dtype for m in held for p in m.parameters()} == {torch.bfloat16}
        others = [p for m in encoder.modules() if not isinstance(m, nn.Linear) for p in m.parameters(recurse=False)]
        assert {p.dtype for p in others} == {torch.float32}
        assert not any(p.requires_grad for p in encoder.parameters())
        hidden(encoder, batch(True))
    assert_unchanged(encoder, before)
    assert torch.equal(hidden(encoder, batch(True)), expected)


def test_weights_come_back_after_an_exception(encoder: Path) -> None:
    model = load_encoder(locate_encoder(str(encoder)), CPU)
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="stopped"), linear_precision(model, "bf16"):
        raise RuntimeError("stopped")
    assert_unchanged(model, before)


def test_fp32_changes_nothing(encoder: Path) -> None:
    model = load_encoder(locate_encoder(str(encoder)), CPU)
    before = snapshot(model)
    with linear_precision(model, "fp32"):
        assert_unchanged(model, before)


# ------------------------------------------------------------------------------------------------------------ adapters


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_adapters_and_heads_stay_fp32(encoders: dict[str, Path], model_type: str, adapter: str) -> None:
    segments = model_type in ("bert", "electra")
    given = random_parts(segments=segments)
    method, parts = build_method(encoders[model_type], "shared", given, adapter_training(adapter))
    bank = method.model.bank
    before = snapshot(method.model.encoder)
    expected = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    seen: set[torch.dtype] = set()
    handles = [
        module.register_forward_hook(
            lambda m, given, out: seen.update(t.dtype for t in (*given, *out) if isinstance(t, torch.Tensor))
        )
        for site in bank.sites["second"] for module in site.module.modules() if [*module.parameters(recurse=False)]
    ]  # fmt: skip
    rows = parts["second"].train
    with linear_precision(method.model.encoder, "bf16"):
        assert {p.dtype for p in method.model.parameters()} == {torch.float32}
        loss = method.loss(make_batch("second", rows, np.arange(6), 0))
        loss.backward()
        assert loss.dtype == torch.float32
        grams = gram_matrices(method.model, {task: part.heldout for task, part in parts.items()}, 0)
    assert seen == {torch.float32}
    for parameter in [*bank.parameters(), *method.model.heads["second"].parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
    assert all(np.isfinite(gram).all() for gram in grams)
    for handle in handles:
        handle.remove()
    assert_unchanged(method.model.encoder, before)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in method.state()[0].items())


@pytest.mark.parametrize("attention", [False, True])
def test_adapters_inside_of_linears_stay_fp32(encoder: Path, monkeypatch: pytest.MonkeyPatch, attention: bool) -> None:
    """The library's LoRA adds to the output of a Linear that is frozen itself."""
    monkeypatch.setattr("adaptershare_cli.model.precision.attends_in_bf16", lambda device: attention)
    model = load_encoder(locate_encoder(str(encoder)), CPU)
    model.add_adapter("task", config=adapters.LoRAConfig(init_weights="bert"))
    added = {name: p for name, p in model.named_parameters() if ".loras." in name}
    assert len(added) == 8
    for parameter in added.values():
        parameter.requires_grad_(True)
    before, seen = snapshot(model), set()
    handles = [
        module.loras["task"].register_forward_hook(lambda m, given, out: seen.update({given[1].dtype, out[0].dtype}))
        for name, module in model.named_modules()
        if name.endswith(("query", "value"))
    ]
    with adapters.AdapterSetup("task"):
        full = hidden(model, batch(True))
        with linear_precision(model, "bf16"):
            assert {p.dtype for p in added.values()} == {torch.float32}
            assert model.encoder.layer[0].attention.self.query.weight.dtype == torch.bfloat16
            half = hidden(model, batch(True))
            model(**batch(True)).last_hidden_state.square().sum().backward()
    assert seen == {torch.float32}
    assert not torch.equal(half, full) and (half - full).abs().max() < 0.1
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in added.values())
    for handle in handles:
        handle.remove()
    assert_unchanged(model, before)


def test_hooks_on_linears_of_the_residual_stream_get_fp32(encoder: Path) -> None:
    """Of encoders that the library knows by an interface alone, adapters are such hooks."""
    model = load_encoder(locate_encoder(str(encoder)), CPU)
    seen: list[torch.dtype] = []
    linear = model.encoder.layer[0].output.dense
    linear.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    with linear_precision(model, "bf16"):
        hidden(model, batch(True))
        assert linear.weight.dtype == torch.bfloat16
    assert seen == [torch.float32]


@pytest.mark.parametrize("model_type", ["bert", "electra"])
def test_bf16_gradients_point_where_fp32_gradients_do(encoders: dict[str, Path], model_type: str) -> None:
    method, parts = build_method(encoders[model_type], "shared")
    heldout = {task: part.heldout for task, part in parts.items()}
    full = list(row_gradients(method.model, heldout, 0))
    with linear_precision(method.model.encoder, "bf16"):
        half = list(row_gradients(method.model, heldout, 0))
    index = row_index(heldout)
    members = [
        torch.from_numpy((index.task == task) & (index.half == side)) for task in range(index.tasks) for side in (0, 1)
    ]
    for layer in range(len(method.plan.layers)):
        ours, theirs = (torch.cat([part for where, part in found if where == layer], 1) for found in (half, full))
        means = [torch.stack([rows[mine].mean(0) for mine in members]) for rows in (ours, theirs)]
        assert torch.cosine_similarity(*means, dim=-1).min() > 0.99
        assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("adapter", ["seq_bn", "lora"])
def test_training_in_bf16_scores_and_exports_in_fp32(encoder: Path, adapter: str) -> None:
    training = adapter_training(adapter, max_steps=6, per_device_train_batch_size=4, learning_rate=1e-2)
    runs = {}
    for precision in ("bf16", "fp32"):
        method, parts = build_method(encoder, "shared", random_parts(("first", "score")), training)
        Trainer(method, parts, training, precision, 500, Hooks()).run()
        assert {p.dtype for p in method.model.encoder.parameters()} == {torch.float32}
        runs[precision] = [row["loss"] for row in method.context.records["steps"]]
        predictions = method.context.records["predictions"]
        for task, part in parts.items():
            rows = part.scored["dev"]
            order = rows.by_length()  # the batch that the evaluation makes, so that the bits are the same
            with torch.no_grad():
                logits = method.logits(make_batch(task, rows, order, 0))
            own = [row["logits"] for row in predictions if row["task"] == task]
            assert torch.equal(torch.tensor(np.stack(own))[torch.from_numpy(order.copy())], logits)
    assert runs["bf16"] != runs["fp32"]  # it did train in bf16


def test_auto_is_resolved_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("adaptershare_cli.model.precision.supports_bf16", lambda device, able=able: able)
        assert resolve_precision("auto", CPU) == expected
        assert resolve_precision("fp32", CPU) == "fp32"
        assert resolve_precision("bf16", CPU) == "bf16"
