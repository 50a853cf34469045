"""What the files of a task's folder, and of a run beside them, are called, and what head.json says. No torch here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter.safetensors"  # as `adapters` calls them
HEAD_CONFIG, HEAD_WEIGHTS = "head.json", "head.safetensors"
NORM_WEIGHTS = "layer_norms.safetensors"
GENERATORS = "hypernetwork.safetensors"  # in the folder of a run of HyperFormer


def read_info(folder: Path, metrics: Sequence[str] = (), positive: str = "") -> TaskInfo:
    """The task of an exported head, as far as head.json says it; it knows no metrics. UserError where there is none."""
    file = folder / HEAD_CONFIG
    if not file.is_file():
        raise UserError("There is no exported task", where=str(folder), fix="Name the folder of a whole run.")
    head = read_json(file)
    try:
        bounds = (float(head["range"][0]), float(head["range"][1])) if head["range"] else None
        return TaskInfo(
            head["task"], KINDS[head["kind"]].name, tuple(head["labels"]), bounds, tuple(metrics), positive=positive
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UserError(f"{HEAD_CONFIG} does not describe a head this program knows: {error!r}", str(file)) from error


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file.name} cannot be read: {error}", where=str(file)) from error
    if not isinstance(value, dict):
        raise UserError(f"{file.name} does not hold an object", where=str(file))
    return value
