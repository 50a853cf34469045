"""Checkpoints as artefacts of their own: published whole, the last two kept, gone when their run is published."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.errors import UserError
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import library_versions, recorded_inputs
from adaptershare_cli.runs.runtime import Runtime
from adaptershare_cli.settings import flag
from adaptershare_cli.store.artefact import Artefact, damaged, verify
from adaptershare_cli.store.disk import ASIDE, PARTIAL, discard, recover, require_space
from adaptershare_cli.store.records import CheckpointRecord
from adaptershare_cli.store.workspace import CHECKPOINTS, Workspace

if TYPE_CHECKING:  # no torch where a run is there already
    from adaptershare_cli.training.checkpoint import Checkpoint

KEPT = 2
PRECISIONS = "+"  # between the precisions that a run had one after the other
TENSORS, STATE = "tensors.safetensors", "state.json"
_TABLES = {name: table.schema for name, table in schemas.RUN_TABLES.items() if not table.at_the_end}


class CheckpointStore:
    """The checkpoints of one run, in `checkpoints/<run>/<phase>-<update>/`; its user holds the run's lock.

    `request` and `inputs` are those of the run; `here()` are the values that this machine computes with, of which those
    called `automatic` were left to the program; `forced` marks the checkpoints of a run that --force began anew.
    """

    def __init__(
        self,
        workspace: Workspace,
        run: str,
        request: dict[str, Any],
        inputs: list[Artefact],
        here: Callable[[], Runtime],
        automatic: Sequence[str] = (),
        forced: bool = False,
    ) -> None:
        self.workspace, self.request, self.forced = workspace, request, forced
        self._here, self.automatic = here, automatic
        self.describe = {"request": request, "inputs": recorded_inputs(inputs)}
        self.stage = f"{CHECKPOINTS}/{run}"
        self.exact = True
        # What the run computes with from here on, and the precisions that it had: changed by --inexact alone.
        self.runtime = Runtime.of(request)
        self.precision = self.runtime.precision

    @cached_property
    def machine(self) -> dict[str, str]:
        """This one."""
        return machine(self.runtime.device)

    def save(self, checkpoint: Checkpoint) -> None:
        """Publish a checkpoint and drop all but the last two."""
        from safetensors.torch import save_file

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
                    automatic=list(self.automatic),
                    runtime=self.runtime.to_json(),
                    precision=self.precision,
                ).to_json()
            }

        self.workspace.publish(self.stage, checkpoint.phase, f"{checkpoint.updates:08d}", build, self.describe)
        for old in self._whole()[:-KEPT]:
            discard(old.path)

    def load(self, inexact: bool, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint of this very request, verified; None where there is none.

        Raises UserError where it was made by other libraries, on another kind of processor, or with other values than
        this machine computes with, as results would then not be the same: unless `inexact`, which is said, and recorded
        in all later checkpoints and in the run.
        """
        whole = [artefact for artefact in self._whole() if artefact.meta["request"] == self.request]
        if not whole:
            return None
        newest = whole[-1]
        verify(newest)
        record = CheckpointRecord.of(newest)
        begun, here = Runtime.of(self.request), self._here()
        last = Runtime(**record.runtime) if record.runtime is not None else begun
        self.exact, self.precision, self.runtime = record.exact, record.precision or last.precision, here
        elsewhere = differences(record.machine, self.machine)
        values = differences(last.to_json(), here.to_json())
        if (elsewhere or values) and not inexact:
            raise UserError(
                f"The checkpoint after update {record.updates} was made elsewhere: {', '.join([*values, *elsewhere])}",
                where=str(newest.path),
                fix=_ways_on(newest, last if last == begun and values and not elsewhere else None, here, record.forced),
            )
        if elsewhere or values:
            self.exact = False
            say(f"goes on inexactly: {', '.join([*values, *elsewhere])}")
        if here.precision not in self.precision.split(PRECISIONS):
            self.precision += PRECISIONS + here.precision
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


def machine(device: str) -> dict[str, str]:
    """What must be the same for a resumed run to equal an unbroken one: library versions and kind of processor."""
    import torch

    kind = torch.cuda.get_device_name(device) if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {**library_versions(), "processor": f"{platform.machine()} {kind}"}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What is not the same, as `name value, here value`."""
    names = sorted({*there, *here})
    return [f"{name} {there.get(name)}, here {here.get(name)}" for name in names if there.get(name) != here.get(name)]


def _ways_on(checkpoint: Artefact, exact: Runtime | None, here: Runtime, forced: bool) -> str:
    """How a run may go on whose checkpoint was made elsewhere; with the values `exact` it goes on here exactly."""
    ways = ["Go on there"]
    if exact is not None and differences(exact.to_json(), here.to_json()) == differences(
        {"threads": exact.threads}, {"threads": here.threads}
    ):
        ways.append(f"give {flag('threads', exact.threads)} to go on here bit for bit")
    ways.append("give --inexact (the end will then not be bit for bit the same)")
    ways.append(f"delete {checkpoint.path.parent} to train anew" if forced else "give --force to train anew")
    return f"{', or '.join(ways)}."


def _read(artefact: Artefact) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from adaptershare_cli.training.checkpoint import Checkpoint

    try:
        state = json.loads(artefact.file(STATE).read_text(encoding="utf-8"))
        tensors = load_file(artefact.file(TENSORS))
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged(artefact, str(error)) from error
    names = [name for name in _TABLES if f"{name}.parquet" in artefact.meta["files"]]
    records = {name: artefact.table(f"{name}.parquet").to_pylist() for name in names}
    return Checkpoint(state["phase"], state["step"], tensors, state["meta"], records)
