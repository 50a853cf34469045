"""Encoder families: every record fits the encoder that it describes, and reading the records needs no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from adaptershare_cli.model.encoder import (
    attention_sites,
    family_of,
    layer_matrices,
    layers_of,
    load_encoder,
    pool,
)
from adaptershare_cli.model.families import FAMILIES, Projection
from adaptershare_cli.model.inputs import knows_segments
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.training.loop import Hooks, Trainer
from tests.conftest import ENCODER_TYPES
from tests.core import adapter_training, build_method, random_parts

CPU = torch.device("cpu")


def test_every_family_has_a_small_encoder_in_the_tests() -> None:
    assert tuple(FAMILIES) == ENCODER_TYPES


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_record_fits_its_encoder(encoders: dict[str, Path], model_type: str) -> None:
    source = locate_encoder(str(encoders[model_type]))
    assert (source.hidden_size, source.layers) == (32, 2)
    encoder = load_encoder(source, CPU)
    family = family_of(encoder)
    assert family.model_type == model_type
    assert len(layers_of(encoder)) == len(attention_sites(encoder)) == 2
    for layer in layers_of(encoder):
        named = dict(layer.named_modules())
        paths = {family.query.path, family.key.path, family.value.path, family.attention_output}
        linears = {path for path, module in named.items() if isinstance(module, nn.Linear)}
        assert len(paths) == 4 and paths | set(family.activation_inputs) < linears
        assert family.attention_dropout is None or isinstance(named[family.attention_dropout], nn.Dropout)
    # Tokens beyond the last position fail, those up to it do not.
    positions = family.positions(encoder.config)
    assert positions == (65 if model_type == "roberta" else 66)
    assert encoder(torch.full((1, positions), 5)).last_hidden_state.shape == (1, positions, 32)
    with pytest.raises((IndexError, RuntimeError)):
        encoder(torch.full((1, positions + 1), 5))
    assert knows_segments(encoder) == (model_type != "distilbert")


@pytest.mark.parametrize("model_type", FAMILIES)
def test_matrices_are_named_as_in_the_encoder(encoders: dict[str, Path], model_type: str) -> None:
    encoder = load_encoder(locate_encoder(str(encoders[model_type])), CPU)
    found = layer_matrices(encoder)
    assert [matrix.layer for matrix in found.values()] == [0] * 6 + [1] * 6
    assert all(encoder.get_parameter(name) is matrix.weight for name, matrix in found.items())


BY_INTERFACE = {
    "adapter_methods": ["bottleneck", "lora"],
    "model_embeddings": "embeddings",
    "model_layers": "encoder.layer",
    "layer_self_attn": "attention",
    "layer_cross_attn": None,
    "attn_q_proj": "self.query",
    "attn_k_proj": "self.key",
    "attn_v_proj": "self.value",
    "attn_o_proj": "output.dense",
    "layer_intermediate_proj": "intermediate.dense",
    "layer_output_proj": "output.dense",
    "layer_pre_self_attn": "attention.self",
    "layer_pre_ffn": "intermediate",
    "layer_ln_1": "attention.output.LayerNorm",
    "layer_ln_2": "output.LayerNorm",
}


@pytest.mark.parametrize("adapter", ["double_seq_bn", "lora"])
def test_a_type_that_the_library_knows_by_an_interface_alone(
    encoder: Path, adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains in bf16 beside others, and the snippet of an exported task says all that loading it takes."""
    family = replace(FAMILIES["bert"], model_class="BertModel", interface=BY_INTERFACE)
    monkeypatch.setitem(FAMILIES, "bert", family)
    training = adapter_training(adapter, max_steps=4, per_device_train_batch_size=4)
    method, parts = build_method(encoder, "shared", random_parts(("first", "score")), training)
    Trainer(method, parts, training, "bf16", 500, Hooks()).run()
    method.export("first", tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    assert "BertModel.from_pretrained(ENCODER)" in snippet and "AdapterModelInterface" in snippet
    texts = ["the film was good", "a dull plot"]
    names = {"ENCODER": str(encoder), "FOLDER": str(tmp_path), "TEXTS": texts}
    exec(snippet, names)
    with method.model.active("first"), torch.no_grad():
        inputs = dict(names["inputs"])  # type: ignore[call-overload]
        states = pool(method.model.encode(inputs), inputs["attention_mask"], "mean")
        assert torch.equal(names["logits"], method.model.heads["first"](states))  # type: ignore[arg-type]


def test_parts_of_a_projection() -> None:
    assert Projection("query").rows(12) == slice(0, 12)
    assert [Projection("Wqkv", part, 3).rows(12) for part in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]


def test_records_and_kinds_of_adapters_need_no_torch() -> None:
    script = (
        "import sys, adaptershare_cli.model.source as source, adaptershare_cli.model.adapters as adapters\n"
        "adapters.training_options()\n"
        "assert not {'torch', 'transformers', 'adapters'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
