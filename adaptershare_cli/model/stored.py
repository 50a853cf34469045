"""Adapters and heads that are stored in folders (in the AdapterHub layout): checked, and read as values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import OPTION, adapter_kind, adapter_kinds, training_settings
from adaptershare_cli.model.adapters.bank import named_tensors
from adaptershare_cli.model.adapters.base import AdapterKind
from adaptershare_cli.model.export import head_pooling
from adaptershare_cli.model.folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS, HEAD_CONFIG, HEAD_WEIGHTS, read_json
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.source import EncoderSource
from adaptershare_cli.settings import TrainingSettings, flag

PICKLED = "pytorch_adapter.bin"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_@.-]*")  # never a `+`, see `module_name`
TEMPORARY_NAME = "(stored)"  # no task can be called so


def find_adapters(folder: Path) -> dict[str, Path]:
    """The adapter folders in `folder`, sorted by name. Raises UserError if there is none, or a name is no good."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", where="--adapters")
    found = {path.name: path for path in sorted(folder.iterdir()) if (path / ADAPTER_CONFIG).is_file()}
    if not found:
        nested = [name for name in ("tasks", "adapters") if (folder / name).is_dir()]
        raise UserError(
            f"There is no adapter in {folder}",
            where="--adapters",
            fix=f"Each adapter is a sub-folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}."
            + (f" Did you mean {folder / nested[0]}?" if nested else ""),
        )
    for name, path in found.items():
        if not NAME.fullmatch(name):
            raise UserError(
                f"An adapter cannot be called {name!r}",
                where=str(path),
                fix="Rename its folder: letters, digits, _ - . @",
            )
    return found


def check_adapter(folder: Path, encoder: EncoderSource, training: TrainingSettings) -> None:
    """Raise UserError unless the folder's adapter is for such an encoder, and what the `training` settings make."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise _no_weights(folder)
    description = read_json(folder / ADAPTER_CONFIG)
    for name, ours in (("model_type", encoder.model_type), ("hidden_size", encoder.hidden_size)):
        if description.get(name) != ours:
            raise UserError(
                f"The adapter belongs to an encoder with {name} {description.get(name)}; here it is {ours}",
                where=str(folder / ADAPTER_CONFIG),
                fix="Name the encoder that it was trained on with --model.",
            )
    kind = adapter_kind(training.adapter_config)
    usual = kind.config_in_library(training).to_dict()
    for name, theirs in differing_fields(folder, training).items():
        raise UserError(
            f"The adapter has {name} {theirs}; {kind.described(training)} has {usual[name]}",
            where=str(folder / ADAPTER_CONFIG),
            fix=_options_for(folder, training),
        )


def _no_weights(folder: Path) -> UserError:
    pickled = (folder / PICKLED).is_file()
    return UserError(
        f"The adapter has no {ADAPTER_WEIGHTS}"
        + (f"; {PICKLED} is a pickle, and nothing is unpickled" if pickled else ""),
        where=str(folder / PICKLED if pickled else folder),
        fix="Save it again with save_adapter(…, use_safetensors=True).",
    )


def _options_for(folder: Path, training: TrainingSettings) -> str:
    """The options that make such adapters as the folder's, where any do."""
    stored = read_json(folder / ADAPTER_CONFIG)["config"]
    for kind in adapter_kinds().values():
        if stored.get("architecture") != kind.architecture:
            continue
        values = {OPTION: kind.name, **kind.options_of(stored)}
        if None not in values.values() and not differing_fields(folder, training_settings(values)):
            flags = [flag(name, value) for name, value in values.items() if value != getattr(training, name, None)]
            return f"Give {' '.join(flags)}."
    return f"No --adapter-config makes such adapters; use some that {' or '.join(adapter_kinds())} made."


def differing_fields(folder: Path, training: TrainingSettings) -> dict[str, Any]:
    """The config fields in which the folder's adapter differs from what the settings make, of what shapes its function.

    What HyperFormer writes has another non-linearity, and a layer norm of its own: `AdapterBank`'s `config_fields`.
    """
    kind, file = adapter_kind(training.adapter_config), folder / ADAPTER_CONFIG
    stored = _complete_config(kind, read_json(file).get("config"), file)
    usual = kind.config_in_library(training).to_dict()
    return {name: stored[name] for name in kind.shaping if stored[name] != usual[name]}


def _complete_config(kind: AdapterKind, config: Any, file: Path) -> dict[str, Any]:
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(config, dict) or architecture != kind.architecture:
        raise UserError(
            f"The adapter's architecture is {architecture or 'unknown'}; only {kind.label} adapters can be used",
            where=str(file),
        )
    try:
        return kind.complete_config(config)
    except TypeError as error:
        raise UserError(f"The adapter's config is not complete: {error}", where=str(file)) from error


def add_adapter(encoder: PreTrainedModel, folder: Path, name: str) -> None:
    """Let the library read the folder's adapter (older layouts too) into the encoder, where it is called `name`.

    Raises UserError where there are no safetensors weights, or not all of those of its config.
    """
    model, loading = cast(Any, encoder), {}  # type: ignore[var-annotated]
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise _no_weights(folder)
    try:
        model.load_adapter(str(folder), load_as=name, use_safetensors=True, loading_info=loading)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"The adapter cannot be loaded: {_reason(error)}", where=str(folder)) from error
    wrong = [*loading["missing_keys"], *loading["unexpected_keys"]]
    if wrong:
        raise UserError(
            f"The adapter's weights do not fit its config: {len(wrong)} tensors are missing or superfluous, for "
            f"example {wrong[0].replace(name, folder.name)}",
            where=str(folder / ADAPTER_WEIGHTS),
        )


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


@contextmanager
def stored_adapter(encoder: PreTrainedModel, folder: Path) -> Iterator[str]:
    """Context in which the encoder has the folder's adapter, under the name that it gives.

    Raises UserError as `add_adapter` does.
    """
    try:
        add_adapter(encoder, folder, TEMPORARY_NAME)
        yield TEMPORARY_NAME
    finally:
        cast(Any, encoder).delete_adapter(TEMPORARY_NAME)


def read_adapter(folder: Path, encoder: PreTrainedModel, kind: AdapterKind) -> dict[str, torch.Tensor]:
    """The folder's adapter as tensors on the CPU, named as by `AdapterBank.named_parameters`.

    Raises UserError as `add_adapter` does.
    """
    with stored_adapter(encoder, folder) as name:
        return {n: t.detach().cpu().clone() for n, t in named_tensors(kind, encoder, name).items()}


def read_head(folder: Path, info: TaskInfo, pooling: str) -> dict[str, torch.Tensor]:
    """The head (`weight`, `bias`) of an exported task. Raises UserError unless it is one for the task `info`."""
    if not (folder / HEAD_WEIGHTS).is_file() or not (folder / HEAD_CONFIG).is_file():
        raise UserError(f"There is no head for task {info.name}", where=str(folder))
    head = read_json(folder / HEAD_CONFIG)
    bounds = list(info.range) if info.range else None
    ours = {"kind": info.kind, "labels": list(info.labels), "range": bounds, "pooling": head_pooling(info, pooling)}
    for name, value in ours.items():
        if head.get(name) != value:
            raise UserError(
                f"The head does not fit task {info.name}: {name} {head.get(name)} there, {value} here",
                where=str(folder / HEAD_CONFIG),
            )
    try:
        return load_file(folder / HEAD_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The head cannot be loaded: {error}", where=str(folder / HEAD_WEIGHTS)) from error


def load_task(model: MultiTaskModel, task: str, folder: Path) -> None:
    """Copy the adapter and the head that `export_task` wrote into `folder` into the tensors that `task` uses."""
    model.bank.fill(task, read_adapter(folder, model.encoder, model.bank.kind))
    model.heads[task].linear.load_state_dict(read_head(folder, model.infos[task], model.pooling))
