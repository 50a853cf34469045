"""Checkpoints as artefacts of their own: published whole, the last two kept, gone when their run is published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file

from adaptershare_cli import schemas
from adaptershare_cli.training.checkpoint import Checkpoint
from adaptershare_cli.workspace import CHECKPOINTS, Artefact, Workspace, write_parquet

KEPT = 2
_SCHEMAS = {
    "steps": schemas.STEPS,
    "metrics": schemas.METRICS,
    "sharing": schemas.SHARING,
    "interference": schemas.INTERFERENCE,
}  # attention and predictions are made after the last update


class CheckpointStore:
    """The checkpoints of one run, in `checkpoints/<run>/step-…/`."""

    def __init__(self, workspace: Workspace, run: str, request: dict[str, Any]) -> None:
        self.workspace, self.request = workspace, request
        self.stage = f"{CHECKPOINTS}/{run}"
        self.folder = workspace.root / CHECKPOINTS / run

    def save(self, checkpoint: Checkpoint) -> None:
        """Publish a checkpoint and drop all but the last two."""

        def build(folder: Path) -> dict[str, Any]:
            save_file(
                {name: t.detach().cpu().contiguous().clone() for name, t in checkpoint.tensors.items()},
                folder / "tensors.safetensors",
            )
            place = {"phase": checkpoint.phase, "step": checkpoint.step, "done": checkpoint.done}
            (folder / "state.json").write_text(json.dumps({**place, "meta": checkpoint.meta}), encoding="utf-8")
            for name, schema in _SCHEMAS.items():
                if name in checkpoint.records:
                    write_parquet(pa.Table.from_pylist(checkpoint.records[name], schema), folder / f"{name}.parquet")
            return {"info": place}

        key = f"{checkpoint.done:08d}"
        self.workspace.publish(self.stage, checkpoint.phase, key, build, {"request": self.request, "inputs": []})
        for old in self._whole()[:-KEPT]:
            shutil.rmtree(old.path)

    def load(self) -> Checkpoint | None:
        """The newest checkpoint of this very request, verified; None where there is none."""
        for artefact in reversed(self._whole()):
            if artefact.meta["request"] != self.request:
                continue
            self.workspace.verify(artefact)
            state = json.loads((artefact.path / "state.json").read_text(encoding="utf-8"))
            tensors: dict[str, torch.Tensor] = load_file(artefact.path / "tensors.safetensors")
            records = {
                name: artefact.table(f"{name}.parquet").to_pylist()
                for name in _SCHEMAS
                if (artefact.path / f"{name}.parquet").exists()
            }
            return Checkpoint(state["phase"], state["step"], tensors, state["meta"], records, state["done"])
        return None

    def clear(self) -> None:
        """Remove all checkpoints of the run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _whole(self) -> list[Artefact]:
        return sorted(self.workspace.artefacts(self.stage), key=lambda artefact: artefact.info["done"])
