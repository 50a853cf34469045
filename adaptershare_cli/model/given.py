"""Adapters and heads that were trained elsewhere: folders in the AdapterHub layout, checked and read as values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import torch
from adapters import BnConfig
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import ADAPTER_FOLDER_FILES, CONFIGS, check_adapter_name, named_tensors
from adaptershare_cli.model.export import HEAD_CONFIG, HEAD_FILE, head_pooling
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.source import EncoderSource

CONFIG, WEIGHTS = ADAPTER_FOLDER_FILES
PICKLED = "pytorch_adapter.bin"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_@-]*")
SCRATCH = "(given)"  # no task can be called so
# What of a bottleneck's config shapes its function; the rest says how fresh weights are drawn, or belongs to variants
# that these fields rule out.
SHAPING = (
    "mh_adapter", "output_adapter", "cross_adapter", "reduction_factor", "non_linearity", "is_parallel", "scaling",
    "original_ln_before", "original_ln_after", "ln_before", "ln_after", "residual_before_ln",
    "adapter_residual_before_ln", "use_gating", "dropout", "stochastic_depth", "phm_layer", "inv_adapter", "leave_out",
)  # fmt: skip


def find_adapters(folder: Path) -> dict[str, Path]:
    """The adapter folders in `folder`, sorted by name. Raises UserError if there is none, or a name is no good."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", where="--adapters")
    found = {path.name: path for path in sorted(folder.iterdir()) if (path / CONFIG).is_file()}
    if not found:
        nested = [name for name in ("tasks", "adapters") if (folder / name).is_dir()]
        raise UserError(
            f"There is no adapter in {folder}",
            where="--adapters",
            fix=f"Each adapter is a sub-folder with {CONFIG} and {WEIGHTS}."
            + (f" Did you mean {folder / nested[0]}?" if nested else ""),
        )
    for name, path in found.items():
        if not NAME.fullmatch(name):
            raise UserError(
                f"An adapter cannot be called {name!r}", where=str(path), fix="Rename its folder: letters, digits, _-@."
            )
        check_adapter_name(name)
    return found


def check_adapter(folder: Path, encoder: EncoderSource, config: str, reduction_factor: int) -> None:
    """Raise UserError unless the folder's adapter is what `config` and `reduction_factor` make, for such an encoder."""
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / PICKLED).is_file()
        raise UserError(
            f"The adapter has no {WEIGHTS}" + (f"; {PICKLED} is a pickle, and nothing is unpickled" if pickled else ""),
            where=str(folder / PICKLED if pickled else folder),
            fix="Save it again with save_adapter(…, use_safetensors=True).",
        )
    description = _read_json(folder / CONFIG)
    for name, ours in (("model_type", encoder.model_type), ("hidden_size", encoder.hidden_size)):
        if description.get(name) != ours:
            raise UserError(
                f"The adapter belongs to an encoder with {name} {description.get(name)}; here it is {ours}",
                where=str(folder / CONFIG),
                fix="Name the encoder that it was trained on with --model.",
            )
    for name, theirs in changed_fields(folder, config, reduction_factor).items():
        fix = f"Give the --adapter-config that it was trained with, if it is one of {', '.join(CONFIGS)}."
        raise UserError(
            f"The adapter has {name} {theirs}; {config} with reduction factor {reduction_factor} has "
            f"{_usual(config, reduction_factor)[name]}",
            where=str(folder / CONFIG),
            fix=f"Give --reduction-factor {theirs}." if name == "reduction_factor" else fix,
        )


def changed_fields(folder: Path, config: str, reduction_factor: int) -> dict[str, Any]:
    """In what the folder's adapter differs from the library's `config` of that size, of what shapes its function.

    What HyperFormer writes has another non-linearity, and a layer norm of its own: `AdapterBank`'s `changes`.
    """
    file = folder / CONFIG
    given = _bottleneck(_read_json(file).get("config"), file)
    usual = _usual(config, reduction_factor)
    return {name: given[name] for name in SHAPING if given[name] != usual[name]}


def _usual(config: str, reduction_factor: int) -> dict[str, Any]:
    return CONFIGS[config](reduction_factor=reduction_factor).to_dict()


def _bottleneck(config: Any, file: Path) -> dict[str, Any]:
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(config, dict) or architecture is not None:
        raise UserError(
            f"The adapter's architecture is {architecture or 'unknown'}; only bottleneck adapters can be used",
            where=str(file),
        )
    try:
        return BnConfig.from_dict(config).to_dict()
    except TypeError as error:
        raise UserError(f"The adapter's config is not complete: {error}", where=str(file)) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file.name} cannot be read: {error}", where=str(file)) from error
    if not isinstance(value, dict):
        raise UserError(f"{file.name} does not hold an object", where=str(file))
    return value


def read_adapter(folder: Path, encoder: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The folder's adapter as tensors on the CPU, named as by `AdapterBank.named_parameters`.

    The library reads it (older layouts too). Raises UserError where the weights are not all of those of its config.
    """
    model, loading = cast(Any, encoder), {}  # type: ignore[var-annotated]
    try:
        model.load_adapter(str(folder), load_as=SCRATCH, use_safetensors=True, loading_info=loading)
        tensors = {name: t.detach().cpu().clone() for name, t in named_tensors(model, SCRATCH).items()}
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(f"The adapter cannot be loaded: {reason}", where=str(folder)) from error
    finally:
        model.delete_adapter(SCRATCH)
    wrong = [*loading["missing_keys"], *loading["unexpected_keys"]]
    if wrong:
        raise UserError(
            f"The adapter's weights do not fit its config: {len(wrong)} tensors are missing or superfluous, for "
            f"example {wrong[0].replace(SCRATCH, folder.name)}",
            where=str(folder / WEIGHTS),
        )
    return tensors


def read_head(folder: Path, info: TaskInfo, pooling: str) -> dict[str, torch.Tensor]:
    """The head (`weight`, `bias`) of an exported task. Raises UserError unless it is one for the task `info`."""
    if not (folder / HEAD_FILE).is_file() or not (folder / HEAD_CONFIG).is_file():
        raise UserError(f"There is no head for task {info.name}", where=str(folder))
    head = _read_json(folder / HEAD_CONFIG)
    bounds = list(info.range) if info.range else None
    ours = {"kind": info.kind, "labels": list(info.labels), "range": bounds, "pooling": head_pooling(info, pooling)}
    for name, value in ours.items():
        if head.get(name) != value:
            raise UserError(
                f"The head does not fit task {info.name}: {name} {head.get(name)} there, {value} here",
                where=str(folder / HEAD_CONFIG),
            )
    try:
        return load_file(folder / HEAD_FILE)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The head cannot be loaded: {error}", where=str(folder / HEAD_FILE)) from error


def load_task(model: MultiTaskModel, task: str, folder: Path) -> None:
    """Copy the adapter and the head that `export_task` wrote into `folder` into the tensors that `task` uses."""
    model.bank.fill(task, read_adapter(folder, model.encoder))
    model.heads[task].linear.load_state_dict(read_head(folder, model.infos[task], model.pooling))
