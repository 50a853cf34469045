"""A task's adapter where the library `adapters` is not: in the encoder's own weights, or in the layout of peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from adapters import AdapterSetup
from safetensors.torch import save_file
from transformers import PreTrainedModel

from adaptershare_cli.errors import RunError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import require_use
from adaptershare_cli.model.adapters.bank import no_adapter
from adaptershare_cli.model.adapters.base import AdapterKind
from adaptershare_cli.model.encoder import family_of
from adaptershare_cli.model.folders import ADAPTER_CONFIG
from adaptershare_cli.model.inputs import as_arguments, example_inputs, run_encoder, tokenizer_call
from adaptershare_cli.model.stored import stored_adapter
from adaptershare_cli.templates import render

MODEL_WEIGHTS = "model.safetensors"  # as `transformers` calls them
PEFT_WEIGHTS = "adapter_model.safetensors"  # as peft calls them; its config has the library's name
TOLERANCE = 1e-4  # how far the merged encoder's states may lie from those with the adapter
_SIZES = ((1, 3), (2, 16))  # rows and tokens that a merged encoder is tried with


def write_merged(encoder: PreTrainedModel, kind: AdapterKind, adapter: Path, file: Path) -> float:
    """Write the encoder's weights with the stored `adapter` in them; gives the largest difference of its states.

    The differences are to those of the encoder with the adapter beside it, on a few rows. `encoder` has no adapters
    then and afterwards. Raises UserError for a kind of adapters that cannot be merged, or an adapter that cannot be
    read, RunError where the difference is more than `TOLERANCE`.
    """
    require_use(kind, "merged")
    tensors = _own_tensors(encoder)
    with stored_adapter(encoder, adapter) as name:
        changed = kind.merged_into(encoder, name)
        worst = max(_difference(encoder, name, changed, *size) for size in _SIZES)
    if not worst <= TOLERANCE:
        raise RunError(f"The merged encoder's states differ from the adapter's by {worst:.1e}", where=str(adapter))
    _save(tensors | changed, file)
    return worst


def _own_tensors(encoder: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What `transformers` would save of an encoder without adapters; the library knows its embeddings twice."""
    once, all_names = ({name for name, _ in encoder.named_parameters(remove_duplicate=r)} for r in (True, False))
    return {name: tensor for name, tensor in encoder.state_dict().items() if name not in all_names - once}


@torch.inference_mode()
def _difference(encoder: PreTrainedModel, name: str, changed: dict[str, torch.Tensor], rows: int, tokens: int) -> float:
    inputs = example_inputs(encoder, rows, tokens)
    with AdapterSetup(name):
        wanted = run_encoder(encoder, inputs).last_hidden_state
    with no_adapter():
        found = run_encoder(encoder, inputs, changed).last_hidden_state
    return float((wanted - found).abs().max())


def write_peft(
    encoder: PreTrainedModel, kind: AdapterKind, adapter: Path, folder: Path, base_model: str | None
) -> None:
    """Write the stored `adapter` as peft does: `adapter_config.json` and `adapter_model.safetensors`.

    `base_model` is the encoder's id on the hub, where it has one. Raises UserError as `write_merged` does.
    """
    require_use(kind, "given to peft")
    with stored_adapter(encoder, adapter) as name:
        config, tensors = kind.in_peft(encoder, name)
        _save({f"base_model.model.{own}": tensor for own, tensor in tensors.items()}, folder / PEFT_WEIGHTS)
    config |= {"base_model_name_or_path": base_model, "task_type": None, "inference_mode": True}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def portable_usage(
    encoder: PreTrainedModel, info: TaskInfo, pooling: str, tokenizer: Any, worst: float | None = None
) -> str:
    """How such a folder is loaded and asked, as Markdown. `worst` is `write_merged`'s; None means peft's layout."""
    kind = KINDS[info.kind]
    return render(
        "model/templates/use_portable.md.j2",
        family=family_of(encoder),
        worst=None if worst is None else max(worst, 1e-7),
        use_lines=f"model/templates/use_{kind.usage}.j2",
        output_note=kind.output_note,
        pooling=pooling,
        tokenizer_options=kind.tokenizer_options,
        tokenizer_call=as_arguments(tokenizer_call(encoder, tokenizer)),
    )


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """The one metadata key is what `transformers` and peft ask for."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(own, file, metadata={"format": "pt"})
