"""Which run a training means where device, precision or number of threads are left to the program.

The one rule. A value that is *given* means itself: a run with another value is another run. A value that is *left to
the program* is that of the run that is there, on whatever machine it was begun:

* a finished run is that run, and is kept;
* an interrupted one is gone on with, if this machine would choose the same values; else it is refused
  (`CheckpointStore.load`), and with --inexact it goes on here with this machine's values, marked as not exact;
* where nothing is there, this machine's values are chosen, and recorded.

Of several, the one with this machine's values comes first, then the one that was made (or got) furthest last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.runtime import NAMES, Runtime, given_values, resolve_runtime
from adaptershare_cli.store.artefact import Artefact, digest, read_artefact
from adaptershare_cli.store.records import CheckpointRecord
from adaptershare_cli.store.workspace import CHECKPOINTS, Workspace

Usable = Callable[[Artefact], bool]


def standing_values(workspace: Workspace, job: Job, usable: Usable = lambda run: True) -> Runtime:
    """The values of the run that a job means: one that is there (finished and `usable`, or interrupted), or new ones.

    A job that is to be made `again` means an interrupted one only if it was being made again.
    """
    if len(given_values(job.runtime)) == len(NAMES):
        return resolve_runtime(job.runtime)
    decisive = job.decisive()
    finished = [] if job.again else [run for run in _finished(workspace, job, decisive) if usable(run)]
    found = finished or _interrupted(workspace, job, decisive)
    values = list(dict.fromkeys(Runtime.of(artefact.meta["request"]) for artefact in found))
    if len(values) == 1:
        return values[0]
    here = resolve_runtime(job.runtime)
    return here if here in values or not values else values[-1]


def _finished(workspace: Workspace, job: Job, decisive: Mapping[str, Any]) -> list[Artefact]:
    """The finished runs that a job may mean, oldest first."""
    found = _answering(workspace.folders(job.stage), job, decisive, f"{job.name}-")
    return sorted(found, key=lambda run: (run.made, run.path.name))


def same_run(checkpoint: Artefact, run: Artefact) -> bool:
    """Whether a run that is there is the one that a checkpoint belongs to: what was given for it is the same."""
    record = CheckpointRecord.of(checkpoint)
    left = NAMES if record.automatic is None else record.automatic  # those of earlier versions do not say it
    one, other = (_without(artefact.meta["request"], left) for artefact in (checkpoint, run))
    return one == other


def _interrupted(workspace: Workspace, job: Job, decisive: Mapping[str, Any]) -> list[Artefact]:
    """The newest checkpoint of each interrupted run that a job may mean, the one that got furthest last."""
    runs = [folder for folder in workspace.folders(CHECKPOINTS) if folder.name.startswith(f"{job.name}-")]
    found = []
    for run in runs:
        own = list(_answering(workspace.folders(f"{CHECKPOINTS}/{run.name}"), job, decisive, ""))
        newest = max(own, key=lambda artefact: CheckpointRecord.of(artefact).updates, default=None)
        if newest is not None and (not job.again or CheckpointRecord.of(newest).forced):
            found.append(newest)
    return sorted(found, key=lambda artefact: CheckpointRecord.of(artefact).updates)


def _answering(folders: Sequence[Path], job: Job, decisive: Mapping[str, Any], prefix: str) -> Iterator[Artefact]:
    """The artefacts in `folders` whose request is the job's, with the values that it was given."""
    given = given_values(job.runtime)
    left, wanted = [name for name in NAMES if name not in given], digest({**decisive, **given})
    for folder in folders:
        if folder.name.startswith(".") or not folder.name.startswith(prefix):
            continue
        try:
            found = read_artefact(folder)
        except UserError:  # damaged: what it answered is not known; `status` tells of it
            continue
        if found is not None and digest(_without(found.meta["request"], left)) == wanted:
            yield found


def _without(request: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in names}
