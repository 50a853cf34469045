"""The weights in an encoder's folder: in one file or in shards, read alike; what is not safetensors is told apart."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from transformers import AutoModel, BertForSequenceClassification

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.model.weights import INDEX, WEIGHTS, weights_hash

CPU = torch.device("cpu")


def resaved(encoder: Path, folder: Path, model: Any = None, **how: Any) -> Path:
    """A copy of an encoder's folder with its weights (or another model's) saved in another way."""
    shutil.copytree(encoder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (AutoModel.from_pretrained(encoder) if model is None else model).save_pretrained(folder, **how)
    return folder


def outputs(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        return load_encoder(locate_encoder(str(folder)), CPU)(torch.tensor([[2, 5, 6, 3]])).last_hidden_state


def test_shards_are_the_encoder_that_they_were_cut_from(encoder: Path, tmp_path: Path) -> None:
    whole = resaved(encoder, tmp_path / "whole")
    for size in ("20KB", "60KB"):
        cut = resaved(encoder, tmp_path / size, max_shard_size=size)
        assert not (cut / WEIGHTS).exists() and len(list(cut.glob("model-*.safetensors"))) > 1
        assert locate_encoder(str(cut)).weights == locate_encoder(str(whole)).weights
        assert torch.equal(outputs(cut), outputs(whole))
    other = AutoModel.from_pretrained(encoder)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    cut = resaved(encoder, tmp_path / "other", other, max_shard_size="20KB")
    assert locate_encoder(str(cut)).weights != locate_encoder(str(whole)).weights


KINDS = ("bool", "u1", "i1", "i2", "f2", "i4", "f4", "i8", "f8")
Tensors = st.dictionaries(st.text("ab.é", min_size=1, max_size=4), st.tuples(st.sampled_from(KINDS), st.integers(0, 3)))


@given(Tensors, st.integers(1, 3))
def test_the_hash_of_shards_is_that_of_the_file_that_holds_all(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[str, int]], count: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    values = {name: np.full((size, 2), size, kind) for name, (kind, size) in tensors.items()}
    save_file(values, folder / "all", {"format": "pt"})
    files = [f"model-{number}.safetensors" for number in range(count)]
    for number, file in enumerate(files):
        save_file({n: v for place, (n, v) in enumerate(values.items()) if place % count == number}, folder / file)
    index = {"weight_map": {str(number): file for number, file in enumerate(files)}}
    (folder / INDEX).write_text(json.dumps(index))
    assert weights_hash(folder, "x") == hashlib.sha256((folder / "all").read_bytes()).hexdigest()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("{", "does not say where weights are"),
        ("[]", "does not say where weights are"),
        ('{"weight_map": {"a": [1]}}', "does not say where weights are"),
        ('{"weight_map": {"a": 1}}', "names 1, which is no file of its folder"),
        ('{"weight_map": {}}', "names no file"),
        ('{"weight_map": {"a": "model-3.safetensors"}}', "names model-3.safetensors, which is not there.*all shards"),
        ('{"weight_map": {"a": "../bert/model.safetensors"}}', "which is no file of its folder"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "which is no file of its folder"),
        ('{"weight_map": {"a": ".."}}', "which is no(t there| file)"),
        ('{"weight_map": {"a": "config.json"}}', "config.json is no safetensors file"),
    ],
)
def test_an_index_that_is_no_good(encoder: Path, tmp_path: Path, index: str, says: str) -> None:
    folder = resaved(encoder, tmp_path / "e", max_shard_size="20KB")
    (folder / INDEX).write_text(index)
    with pytest.raises(UserError, match=says):
        locate_encoder(str(folder))


def zeros(size: int) -> Callable[[bytes], bytes]:
    return lambda content: b"\0" * size


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: b"\x80\x04" + content, "is a pickle.*rename it to pytorch_model.bin and run: python -c"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS.*git lfs pull"),
        (zeros(0), "no safetensors file"),
        (zeros(64), "no safetensors file"),
        (lambda content: content[:70], "no safetensors file"),
        (lambda content: content[:-9], "lies outside of the file"),
        (lambda content: content[:9] + b"?" + content[10:], "is damaged"),
    ],
)
def test_a_shard_that_is_none(encoder: Path, tmp_path: Path, change: Callable[[bytes], bytes], says: str) -> None:
    folder = resaved(encoder, tmp_path / "e", max_shard_size="20KB")
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(UserError, match=says) as error:
        locate_encoder(str(folder))
    assert shard.name in str(error.value) and error.value.fix


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_read_in_full(encoder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    half = resaved(encoder, tmp_path / "half", AutoModel.from_pretrained(encoder, dtype=dtype))
    loaded = load_encoder(locate_encoder(str(half)), CPU)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.allclose(outputs(half), outputs(encoder), atol=0.1)


def test_weights_of_a_model_with_a_head(encoder: Path, tmp_path: Path) -> None:
    """Their names begin with the type's, and a head's stand beside them."""
    whole = BertForSequenceClassification.from_pretrained(encoder)
    assert torch.equal(outputs(resaved(encoder, tmp_path / "headed", whole)), outputs(encoder))


def test_a_pickle_is_converted_as_told(encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'an "odd" $folder'
    shutil.copytree(encoder, folder)
    torch.save(AutoModel.from_pretrained(encoder).state_dict(), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="only pytorch_model.bin, which may be a pickle and is not unpickled") as error:
        locate_encoder(str(folder))
    command = error.value.fix.partition(": ")[2]
    assert command.startswith("python -c ")
    follow(command, tmp_path)
    assert torch.equal(outputs(folder), outputs(encoder))
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").rename(folder / WEIGHTS)
    with pytest.raises(UserError, match=f"{WEIGHTS} is a pickle") as error:
        locate_encoder(str(folder))
    assert error.value.fix.endswith(f"rename it to pytorch_model.bin and run: {command}")


def test_a_pickle_that_nothing_converts(encoder: Path, tmp_path: Path) -> None:
    """`transformers` reads no weights of this name, so no command is told that would end in an error."""
    folder = Path(shutil.copytree(encoder, tmp_path / "e"))
    (folder / WEIGHTS).rename(folder / "weights.ckpt")
    with pytest.raises(UserError, match="only weights.ckpt") as error:
        locate_encoder(str(folder))
    assert "python" not in error.value.fix


def follow(command: str, folder: Path) -> None:
    """Do what a `python -c` command says, in this process: it is what a user's shell makes of it that counts."""
    import shlex

    program, option, code = shlex.split(command)
    assert (program, option) == ("python", "-c")
    exec(code, {})


def test_quantized_weights_are_refused_before_they_are_loaded(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "e"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(UserError, match="weights are quantized.*before that"):
        locate_encoder(str(folder))


def test_shards_are_loaded_in_silence(encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = resaved(encoder, tmp_path / "e", max_shard_size="20KB")
    capfd.readouterr()
    outputs(folder)
    assert "shards" not in capfd.readouterr().err


def test_no_weights_at_all(encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder, tmp_path / "e", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(UserError, match="There is no model.safetensors in the encoder's folder, nor"):
        locate_encoder(str(tmp_path / "e"))
