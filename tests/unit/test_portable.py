"""Adapters in the encoder's weights, or in peft's layout: plain `transformers` and peft give what `adapters` gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open

from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.model import portable
from adaptershare_cli.model.adapters import adapter_kind
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.families import FAMILIES
from adaptershare_cli.model.inputs import example_inputs
from adaptershare_cli.model.portable import write_merged, write_peft
from adaptershare_cli.model.source import locate_encoder
from tests.conftest import ENCODER_TYPES
from tests.core import adapter_training, build_method, random_parts, scramble

CPU = torch.device("cpu")
PORTABLE = ("lora", "ia3")


def exported(folder: Path, adapter: str, target: Path) -> tuple[Any, dict[str, torch.Tensor], torch.Tensor]:
    """A task with a random adapter in `target`; an encoder without it, and rows with its states in float64."""
    parts = random_parts(("first",), segments="bert" in folder.name or "electra" in folder.name)
    method, _ = build_method(folder, "shared", parts, adapter_training(adapter))
    scramble(method.model.bank.parameters())
    method.export("first", target)
    method.model.encoder.double()
    inputs = example_inputs(method.model.encoder, 3, 9)
    with method.model.active("first"), torch.no_grad():
        states = method.model.encode(inputs)
    return load_encoder(locate_encoder(str(folder)), CPU), inputs, states


def plain(folder: Path, model_type: str) -> Any:
    """The encoder by `transformers` alone, in float64."""
    family = FAMILIES[model_type]
    return getattr(transformers, family.model_class).from_pretrained(folder, **family.load_options).double().eval()


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
@pytest.mark.parametrize("adapter", PORTABLE)
def test_a_merged_encoder_gives_the_adapters_states(
    encoders: dict[str, Path], model_type: str, adapter: str, tmp_path: Path
) -> None:
    encoder, inputs, states = exported(encoders[model_type], adapter, tmp_path / "task")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "config.json").write_bytes((encoders[model_type] / "config.json").read_bytes())
    file = tmp_path / "merged" / portable.MODEL_WEIGHTS
    worst = write_merged(encoder, adapter_kind(adapter), tmp_path / "task", file)
    assert worst < 1e-5
    assert encoder.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    with torch.no_grad():
        found = plain(tmp_path / "merged", model_type)(**inputs).last_hidden_state
        bare = plain(encoders[model_type], model_type)(**inputs).last_hidden_state
    torch.testing.assert_close(found, states, rtol=0, atol=1e-5)
    assert (bare - states).abs().max() > 0.01
    again = tmp_path / "again.safetensors"
    write_merged(encoder, adapter_kind(adapter), tmp_path / "task", again)
    assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
@pytest.mark.parametrize("adapter", PORTABLE)
def test_peft_gives_the_adapters_states(
    encoders: dict[str, Path], model_type: str, adapter: str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed (extra `peft`)")
    encoder, inputs, states = exported(encoders[model_type], adapter, tmp_path / "task")
    (tmp_path / "peft").mkdir()
    write_peft(encoder, adapter_kind(adapter), tmp_path / "task", tmp_path / "peft", None)
    model = peft.PeftModel.from_pretrained(plain(encoders[model_type], model_type), tmp_path / "peft").double().eval()
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).last_hidden_state, states, rtol=0, atol=1e-6)


def test_what_stands_in_files_for_peft(encoder: Path, tmp_path: Path) -> None:
    """Without peft: its names, shapes and fields."""
    loaded, _, _ = exported(encoder, "lora", tmp_path / "task")
    write_peft(loaded, adapter_kind("lora"), tmp_path / "task", tmp_path, "some/model")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 6)
    assert config["base_model_name_or_path"] == "some/model" and config["inference_mode"]
    assert len(config["target_modules"]) == 2 * 5
    assert "encoder.layer.0.output.dense" in config["target_modules"]
    with safe_open(tmp_path / portable.PEFT_WEIGHTS, "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert {*file.keys()} == {
            f"base_model.model.{path}.lora_{part}.weight" for path in config["target_modules"] for part in "AB"
        }
        name = "base_model.model.encoder.layer.1.intermediate.dense.lora"
        assert file.get_tensor(f"{name}_A.weight").shape == (4, 32)
        assert file.get_tensor(f"{name}_B.weight").shape == (64, 4)


@pytest.mark.parametrize("adapter", ["seq_bn", "double_seq_bn", "par_bn"])
def test_bottlenecks_are_refused_before_anything_is_read(encoder: Path, adapter: str, tmp_path: Path) -> None:
    loaded, kind = load_encoder(locate_encoder(str(encoder)), CPU), adapter_kind(adapter)
    with pytest.raises(UserError, match=f"an activation stands between.*--adapter-config {adapter}.* Use ia3 or lora"):
        write_merged(loaded, kind, tmp_path / "nothing", tmp_path / "x")
    with pytest.raises(UserError, match="cannot be given to peft"):
        write_peft(loaded, kind, tmp_path / "nothing", tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_a_merged_encoder_that_answers_otherwise_is_never_handed_out(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, _, _ = exported(encoder, "lora", tmp_path / "task")
    kind = adapter_kind("lora")
    merged = type(kind).merged_into
    monkeypatch.setattr(
        type(kind), "merged_into", lambda *given: {name: t + 0.01 for name, t in merged(*given).items()}
    )
    with pytest.raises(RunError, match="differ from the adapter's"):
        write_merged(loaded, kind, tmp_path / "task", tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()
    assert not loaded.adapters_config.adapters
