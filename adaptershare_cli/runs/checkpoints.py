"""Checkpoints as artefacts of their own: published whole, the last two kept, gone when their run is published."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from adaptershare_cli import schemas
from adaptershare_cli.errors import UserError
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import library_versions, recorded_inputs
from adaptershare_cli.store.artefact import Artefact, damaged, verify
from adaptershare_cli.store.disk import ASIDE, PARTIAL, discard, recover, require_space
from adaptershare_cli.store.records import CheckpointRecord
from adaptershare_cli.store.workspace import CHECKPOINTS, Workspace
from adaptershare_cli.training.checkpoint import Checkpoint

KEPT = 2
TENSORS, STATE = "tensors.safetensors", "state.json"
_TABLES = {name: table.schema for name, table in schemas.RUN_TABLES.items() if not table.at_the_end}


class CheckpointStore:
    """The checkpoints of one run, in `checkpoints/<run>/<phase>-<update>/`; its user holds the run's lock.

    `request` and `inputs` are those of the run; `forced` marks the checkpoints of a run that --force began anew.
    """

    def __init__(
        self,
        workspace: Workspace,
        run: str,
        request: dict[str, Any],
        inputs: list[Artefact],
        device: torch.device,
        forced: bool = False,
    ) -> None:
        self.workspace, self.request, self.forced = workspace, request, forced
        self.describe = {"request": request, "inputs": recorded_inputs(inputs)}
        self.stage = f"{CHECKPOINTS}/{run}"
        self.machine = machine(device)
        self.exact = True

    def save(self, checkpoint: Checkpoint) -> None:
        """Publish a checkpoint and drop all but the last two."""
        tables = {
            name: pa.Table.from_pylist(checkpoint.records[name], schema)
            for name, schema in _TABLES.items()
            if name in checkpoint.records
        }
        tensors = {name: t.detach().cpu().contiguous().clone() for name, t in checkpoint.tensors.items()}

        def build(folder: Path) -> dict[str, Any]:
            require_space(folder, sum(t.nbytes for t in [*tensors.values(), *tables.values()]))
            save_file(tensors, folder / TENSORS)
            meta = {"phase": checkpoint.phase, "step": checkpoint.step, "meta": checkpoint.meta}
            (folder / STATE).write_text(json.dumps(meta), encoding="utf-8")
            for name, table in tables.items():
                write_parquet(table, folder / f"{name}.parquet")
            return {
                "info": CheckpointRecord(
                    phase=checkpoint.phase,
                    step=checkpoint.step,
                    updates=checkpoint.updates,
                    machine=self.machine,
                    exact=self.exact,
                    forced=self.forced,
                ).to_json()
            }

        self.workspace.publish(self.stage, checkpoint.phase, f"{checkpoint.updates:08d}", build, self.describe)
        for old in self._whole()[:-KEPT]:
            discard(old.path)

    def load(self, inexact: bool, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint of this very request, verified; None where there is none.

        Raises UserError where it was made by other libraries or on another kind of processor, as results would then
        not be the same: unless `inexact`, which is said, and recorded in all later checkpoints and in the run.
        """
        whole = [artefact for artefact in self._whole() if artefact.meta["request"] == self.request]
        if not whole:
            return None
        newest = whole[-1]
        verify(newest)
        record = CheckpointRecord.of(newest)
        self.exact = record.exact
        other = _differences(record.machine, self.machine)
        if other and not inexact:
            raise UserError(
                f"The checkpoint after update {record.updates} was made elsewhere: {other}",
                where=str(newest.path),
                fix="Go on there, or give --inexact (the end will then not be bit for bit the same), or --force to "
                "train anew.",
            )
        if other:
            self.exact = False
            say(f"goes on inexactly: {other}")
        return _read(newest)

    def clear(self, keep_forced: bool = False) -> None:
        """Remove all checkpoints of the run; with `keep_forced`, unless all are those of an interrupted --force."""
        whole = self._whole()
        if keep_forced and whole and all(CheckpointRecord.of(artefact).forced for artefact in whole):
            return
        for folder in (*self.workspace.folders(self.stage), self.workspace.root / self.stage):
            discard(folder)

    def _whole(self) -> list[Artefact]:
        """The whole checkpoints, earliest update first; what a killed process left half made is put right before."""
        for folder in self.workspace.folders(self.stage):
            for prefix in (PARTIAL, ASIDE):
                if folder.name.startswith(prefix):
                    recover(folder.with_name(folder.name.removeprefix(prefix)))
        return sorted(self.workspace.artefacts(self.stage), key=lambda artefact: CheckpointRecord.of(artefact).updates)


def machine(device: torch.device) -> dict[str, str]:
    """What must be the same for a resumed run to equal an unbroken one: library versions and kind of processor."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {**library_versions(), "processor": f"{platform.machine()} {kind}"}


def _differences(there: dict[str, str], here: dict[str, str]) -> str:
    names = sorted({*there, *here})
    return ", ".join(
        f"{name} {there.get(name)}, here {here.get(name)}" for name in names if there.get(name) != here.get(name)
    )


def _read(artefact: Artefact) -> Checkpoint:
    try:
        state = json.loads(artefact.file(STATE).read_text(encoding="utf-8"))
        tensors: dict[str, torch.Tensor] = load_file(artefact.file(TENSORS))
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged(artefact, str(error)) from error
    names = [name for name in _TABLES if f"{name}.parquet" in artefact.meta["files"]]
    records = {name: artefact.table(f"{name}.parquet").to_pylist() for name in names}
    return Checkpoint(state["phase"], state["step"], tensors, state["meta"], records)
