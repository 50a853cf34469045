"""Adapters and heads from elsewhere: what is read is what was written, and what does not fit is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.adapters import adapter_kind
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.model.stored import check_adapter, find_adapters, read_adapter, read_head
from adaptershare_cli.settings import TrainingSettings
from tests.conftest import ENCODER_TYPES
from tests.core import ADAPTERS, INFOS, adapter_training, build_method, random_parts, scramble

TASKS = ("first", "score")


def export(encoder: Path, folder: Path, kind: str = "bert", training: TrainingSettings | None = None) -> Any:
    """Two tasks with random adapters, exported into `folder`."""
    parts = random_parts(TASKS, segments=kind in ("bert", "electra"))
    method, _ = build_method(encoder, "private", parts, training or TrainingSettings(max_steps=5))
    scramble(method.names(), 3)
    for task in TASKS:
        method.export(task, folder / task)
    return method


@pytest.fixture(scope="module")
def exported(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported tasks of a small BERT; tests read them only."""
    folder = tmp_path_factory.mktemp("exported")
    export(encoder, folder)
    return folder


LORA_DEFAULTS = {"lora_r": 8, "lora_alpha": 8, "lora_target": "qv"}


@pytest.fixture(scope="module")
def exported_lora(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tasks with LoRA; tests read them only."""
    folder = tmp_path_factory.mktemp("lora")
    export(encoder, folder, training=adapter_training("lora", **LORA_DEFAULTS))
    return folder


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("kind", ENCODER_TYPES)
def test_what_is_read_is_what_was_written(encoders: dict[str, Path], kind: str, adapter: str, tmp_path: Path) -> None:
    training = adapter_training(adapter)
    method = export(encoders[kind], tmp_path, kind, training)
    source = locate_encoder(str(encoders[kind]))
    fresh = load_encoder(source, torch.device("cpu"))
    before = {name for name, _ in fresh.named_parameters()}
    assert list(find_adapters(tmp_path)) == ["first", "score"]
    for task in TASKS:
        check_adapter(tmp_path / task, source, training)
        found = read_adapter(tmp_path / task, fresh, method.model.bank.kind)
        expected = dict(method.model.bank.named_parameters(task))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
        head = read_head(tmp_path / task, INFOS[task], "mean")
        assert torch.equal(head["weight"], method.model.heads[task].linear.weight)
    assert {name for name, _ in fresh.named_parameters()} == before  # nothing stays behind in the encoder


def test_adapters_as_the_library_saves_them_for_a_model_with_a_head(encoder: Path, tmp_path: Path) -> None:
    """The hub's layout: names begin with the base model's, and the config is written by the library alone."""
    import adapters
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(encoder)
    adapters.init(model)
    model.add_adapter("theirs", config="seq_bn")
    scramble((p for n, p in model.named_parameters() if ".adapters." in n), 4)
    model.save_adapter(str(tmp_path / "sst-2@ukp"), "theirs", use_safetensors=True, with_head=False)
    source = locate_encoder(str(encoder))
    check_adapter(find_adapters(tmp_path)["sst-2@ukp"], source, TrainingSettings())
    found = read_adapter(tmp_path / "sst-2@ukp", load_encoder(source, torch.device("cpu")), adapter_kind("seq_bn"))
    theirs = model.bert.encoder.layer[1].output.adapters["theirs"].adapter_up.weight
    assert torch.equal(found["1.output_adapter.adapter_up.weight"], theirs)
    assert len(found) == 8


def edit(folder: Path, **changes: Any) -> None:
    """Change fields of the folder's adapter_config.json, or of the config in it."""
    file = folder / "adapter_config.json"
    content = json.loads(file.read_text())
    for name, value in changes.items():
        (content if name in content else content["config"])[name] = value
    file.write_text(json.dumps(content))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor], str], None]) -> None:
    """Change the tensors; `change` gets them and the first of their names."""
    tensors = load_file(folder / "adapter.safetensors")
    change(tensors, min(tensors))
    save_file(tensors, folder / "adapter.safetensors")


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "adapter.safetensors"), folder / "pytorch_adapter.bin")
    (folder / "adapter.safetensors").unlink()


def cut(folder: Path) -> None:
    file = folder / "adapter.safetensors"
    file.write_bytes(file.read_bytes()[:100])


DEFECTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (as_pickle, "pytorch_adapter.bin is a pickle, and nothing is unpickled"),
    "no weights": (lambda f: (f / "adapter.safetensors").unlink(), "has no adapter.safetensors"),
    "cut weights": (cut, "cannot be loaded"),
    "missing tensor": (lambda f: rewrite(f, lambda t, name: t.pop(name)), "do not fit its config: 1 .*adapters.first."),
    "one too many": (
        lambda f: rewrite(f, lambda t, name: t.update({f"{name}x": torch.zeros(1)})), "do not fit its config: 1 "
    ),
    "other shape": (lambda f: rewrite(f, lambda t, name: t.update({name: torch.zeros(7)})), "cannot be loaded"),
    "lora": (lambda f: edit(f, config={"architecture": "lora", "r": 8}), "architecture is lora; only bottleneck"),
    "no config": (lambda f: edit(f, config="abc"), "architecture is unknown"),
    "half a config": (lambda f: edit(f, config={"mh_adapter": True}), "config is not complete"),
    "not JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json cannot be read"),
    "a list": (lambda f: (f / "adapter_config.json").write_text("[]"), "does not hold an object"),
    "hidden size": (lambda f: edit(f, hidden_size=64), "hidden_size 64; here it is 32.*--model"),
    "model type": (lambda f: edit(f, model_type="roberta"), "model_type roberta; here it is bert"),
    "reduction": (lambda f: edit(f, reduction_factor=4), "reduction_factor 4; .* Give --reduction-factor 4"),
    "no option": (
        lambda f: edit(f, reduction_factor={"0": 8, "default": 16}), "reduction_factor .*; .* No --adapter-config makes"
    ),
    "half a unit": (lambda f: edit(f, reduction_factor=1.5), "reduction_factor 1.5; .* No --adapter-config makes"),
    "places": (
        lambda f: edit(f, mh_adapter=True, original_ln_before=False, non_linearity="swish", reduction_factor=4.0),
        "mh_adapter True; .* Give --adapter-config double_seq_bn --reduction-factor 4[.]$",
    ),
    "activation": (
        lambda f: edit(f, non_linearity="swish"), "non_linearity swish; seq_bn .* has relu.*No --adapter-config makes"
    ),
    "left out": (lambda f: edit(f, leave_out=[1]), r"leave_out \[1\]"),
    "name": (lambda f: f.rename(f.with_name("a+b")), "'a\\+b'.*Rename"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_does_not_fit_is_refused(defect: str, exported: Path, encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "given"))
    damage, says = DEFECTS[defect]
    damage(folder / "first")
    source = locate_encoder(str(encoder))
    fresh: Any = load_encoder(source, torch.device("cpu"))
    with pytest.raises(UserError, match=says) as caught:
        for path in find_adapters(folder).values():
            check_adapter(path, source, TrainingSettings())
            read_adapter(path, fresh, adapter_kind("seq_bn"))
    assert str(folder) in caught.value.where
    assert not fresh.adapters_config.adapters


LORA_DEFECTS = {
    "rank and alpha": ({"r": 4, "alpha": 2}, "r 4; lora with lora r 8, .* Give --lora-r 4 --lora-alpha 2[.]$"),
    "places": ({"attn_matrices": ["v", "k", "q"]}, "attn_matrices .*; lora .* Give --lora-target qkv[.]$"),
    "other places": ({"attn_matrices": ["k"]}, r"attn_matrices \['k'\]; .*No --adapter-config makes"),
    "dropout": ({"dropout": 0.1}, "dropout 0.1; .*No --adapter-config makes"),
    "gate": ({"use_gating": True}, "use_gating True; .*No --adapter-config makes"),
    "dora": ({"use_dora": True}, "use_dora True; .*No --adapter-config makes"),
    "vera": ({"vera_d": 0.1}, "vera_d 0.1; .*No --adapter-config makes"),
    "factors": (
        {"composition_mode": "scale", "r": 1, "alpha": 1, "attn_matrices": ["v", "k"], "intermediate_lora": True},
        "intermediate_lora True; .* Give --adapter-config ia3[.]$",
    ),
    "several tasks": ({"architecture": "mtl_lora"}, "architecture is mtl_lora; only LoRA"),
    "a bottleneck": ({"architecture": None}, "architecture is unknown; only LoRA"),
}


@pytest.mark.parametrize("defect", LORA_DEFECTS)
def test_lora_that_does_not_fit_is_refused(defect: str, exported_lora: Path, encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported_lora / "first", tmp_path / "first"))
    changes, says = LORA_DEFECTS[defect]
    check_adapter(folder, locate_encoder(str(encoder)), adapter_training("lora", **LORA_DEFAULTS))
    edit(folder, **changes)
    with pytest.raises(UserError, match=says):
        check_adapter(folder, locate_encoder(str(encoder)), adapter_training("lora", **LORA_DEFAULTS))


def test_the_order_of_matrices_and_how_they_were_drawn_do_not_matter(
    exported_lora: Path, encoder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported_lora / "first", tmp_path / "first"))
    edit(folder, attn_matrices=["v", "q"], init_weights="bert", init_weights_seed=4)
    check_adapter(folder, locate_encoder(str(encoder)), adapter_training("lora", **LORA_DEFAULTS))


def test_how_weights_are_drawn_does_not_matter(exported: Path, encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "given")) / "first"
    edit(folder, init_weights="houlsby", init_weights_seed=4)
    check_adapter(folder, locate_encoder(str(encoder)), TrainingSettings())


def test_folders_without_adapters(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        find_adapters(tmp_path / "nowhere")
    with pytest.raises(UserError, match="There is no adapter in"):
        find_adapters(tmp_path)
    shutil.copytree(exported, tmp_path / "tasks")
    with pytest.raises(UserError, match="Did you mean .*tasks"):
        find_adapters(tmp_path)


def test_heads_of_other_tasks_are_refused(exported: Path, tmp_path: Path) -> None:
    for task, words in (("second", "labels"), ("score", "kind")):
        with pytest.raises(UserError, match=f"does not fit task {task}: {words}"):
            read_head(exported / "first", INFOS[task], "mean")
    with pytest.raises(UserError, match="pooling mean there, cls here"):
        read_head(exported / "first", INFOS["first"], "cls")
    with pytest.raises(UserError, match="no head for task first"):
        read_head(tmp_path, INFOS["first"], "mean")
    folder = Path(shutil.copytree(exported / "first", tmp_path / "first"))
    (folder / "head.safetensors").write_bytes(b"abc")
    with pytest.raises(UserError, match="head cannot be loaded"):
        read_head(folder, INFOS["first"], "mean")
