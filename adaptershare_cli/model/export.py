"""A task's folder: its adapter in the AdapterHub layout, its head beside it, and how to load both in plain torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters.bank import module_name, rewrite_config
from adaptershare_cli.model.encoder import family_of
from adaptershare_cli.model.folders import HEAD_CONFIG, HEAD_WEIGHTS, NORM_WEIGHTS
from adaptershare_cli.model.fusion import Fusion
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.inputs import as_arguments
from adaptershare_cli.templates import render

ENCODER_FILE = "encoder.safetensors"
NORM = "layer-norm/"  # how `serving` names them
FUSION_CONFIG = "adapter_fusion_config.json"

_TEMPLATES = "model/templates"


def export_task(
    model: MultiTaskModel,
    task: str,
    folder: Path,
    tokenizer_call: Mapping[str, Any],
    matrices: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write adapter (`adapter_config.json`, `adapter.safetensors`), head (`head.safetensors`, `head.json`), README.md.

    A model with fusion has a folder `adapters/<name>/` for each adapter, and `fusion/`, instead of the one adapter;
    one without adapters has `matrices` of the encoder, by their names in it, in `encoder.safetensors`.
    Where the encoder's layer norms were trained, they stand in `layer_norms.safetensors`. Same weights, same bytes.
    README.md calls the tokenizer with `tokenizer_call` (`model.inputs`) beyond the usual.
    """
    folder.mkdir(parents=True, exist_ok=True)
    call = as_arguments(tokenizer_call)
    if matrices is not None:
        _save(matrices, folder / ENCODER_FILE)
        _export_head(model, task, folder, f"{_TEMPLATES}/load_encoder.j2", tokenizer_call=call)
    elif model.fusion is None:
        model.bank.export(task, folder)
        of_adapter = {"tokenizer_call": call, "name": module_name(task)}
        _export_head(model, task, folder, f"{_TEMPLATES}/load_adapter.j2", **of_adapter)
    else:
        _export_fusion(model.fusion, task, folder)
        sources = [*map(module_name, model.fusion.sources())]
        _export_head(model, task, folder, f"{_TEMPLATES}/load_fusion.j2", tokenizer_call=call, sources=sources)


def _export_fusion(fusion: Fusion, task: str, folder: Path) -> None:
    """The adapters of all groups, each without the layers in which another stands for its group, and the fusion."""
    sources, bank = fusion.sources(), fusion.bank
    (folder / "adapters").mkdir(exist_ok=True)
    for source in sources:
        elsewhere = [n for n, groups in enumerate(bank.plan.layers) if source not in (group[0] for group in groups)]
        bank.export(source, folder / "adapters" / module_name(source), leave_out=elsewhere)
    with fusion.at_every_site(task) as name:
        bank.encoder.save_adapter_fusion(str(folder / "fusion"), name, use_safetensors=True)
    rewrite_config(folder / "fusion" / FUSION_CONFIG, adapter_names=[*map(module_name, sources)])


def _export_head(model: MultiTaskModel, task: str, folder: Path, adapter_lines: str, **values: Any) -> None:
    """Head, trained layer norms and README.md; `adapter_lines` is the template of how to load the rest of the folder.

    `values` are what that template needs besides the task, and what all of them say of the tokenizer.
    """
    info = model.infos[task]
    linear = model.heads[task].linear
    _save({"weight": linear.weight, "bias": linear.bias}, folder / HEAD_WEIGHTS)
    norms = {n.removeprefix(NORM): t for n, t in model.serving(task).items() if n.startswith(NORM)}
    if norms:
        _save(norms, folder / NORM_WEIGHTS)
    config = {
        "task": task,
        "kind": info.kind,
        "labels": list(info.labels),
        "range": list(info.range) if info.range else None,
        "pooling": head_pooling(info, model.pooling),
        "encoder_type": model.encoder.config.model_type,
        "hidden_size": model.encoder.config.hidden_size,
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    kind = KINDS[info.kind]
    text = render(
        f"{_TEMPLATES}/task_readme.md.j2",
        task=task,
        family=family_of(model.encoder),
        adapter_lines=adapter_lines,
        use_lines=f"{_TEMPLATES}/use_{kind.usage}.j2",
        tokenizer_options=kind.tokenizer_options,
        output_note=kind.output_note,
        pooling=model.pooling,
        layer_norms=bool(norms),
        **values,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def head_pooling(info: TaskInfo, pooling: str) -> str:
    """What a task's head reads, as head.json says it: the pooling of rows, or the first sub-word of each word."""
    return KINDS[info.kind].pooling or pooling


def _save(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
