"""What lies in a workspace: every artefact and checkpoint, whether it is whole and current, and why not. Reads only.

*whole*: all files are there, and what it was made from is still what it was. *stale*: whole, but an input, its task's
source or the code that made it has changed since. *partial*: half made, by a process that runs now or was stopped.
*damaged*: not what its `artefact.json` says. *unreadable*: not for this user to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.table import Table

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.sources import resolve_source, source_request
from adaptershare_cli.data.tasks import load_tasks
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS
from adaptershare_cli.runs.context import library_versions
from adaptershare_cli.runs.runtime import cores
from adaptershare_cli.runs.standing import same_run
from adaptershare_cli.screen import Screen, shown
from adaptershare_cli.store.artefact import STAGES, TRAININGS, Artefact, Unreadable, read_artefact, verify, verify_sizes
from adaptershare_cli.store.disk import ASIDE, PARTIAL, folder_bytes
from adaptershare_cli.store.locks import State
from adaptershare_cli.store.records import CheckpointRecord
from adaptershare_cli.store.workspace import CHECKPOINTS, CODE_VERSIONS, GROUPS, TRUTH, Workspace

LEFT_OVER = "left over"
STATES = ("whole", "stale", "partial", "damaged", "unreadable")
PLACES = (*STAGES[: STAGES.index("correlate")], TRUTH, GROUPS, *STAGES[STAGES.index("correlate") :])
_COLOURS = {"whole": "green", "stale": "yellow", "partial": "yellow", "damaged": "red", "unreadable": "yellow"}


@dataclass(frozen=True)
class Entry:
    """One folder of a workspace: its state, why it is so, its size, and the command that makes it anew, if known.

    It is `outdated` where it would come out otherwise now; what is stale only because an input is gone is not.
    """

    label: str
    path: Path
    state: str
    why: tuple[str, ...]
    bytes: int
    command: str
    outdated: bool = False


def workspace_status(workspace: Workspace, every_byte: bool, task_dirs: tuple[Path, ...] = ()) -> list[Entry]:
    """Every artefact and checkpoint, by stage and name.

    Sizes are compared, and with `every_byte` the content of all files and of the tasks' sources, as far as their
    definitions are known (built in, or in `task_dirs`). Raises UserError for faulty definitions.
    """
    return Survey(workspace, every_byte, load_tasks(task_dirs).tasks).entries


class Survey:
    """Looks at each folder once; whether an artefact is stale depends on others."""

    def __init__(self, workspace: Workspace, every_byte: bool, definitions: dict[str, TaskDefinition]) -> None:
        self.workspace, self.every_byte, self.definitions = workspace, every_byte, definitions
        self.stale: dict[str, list[str]] = {}
        self.outdated: set[Path] = set()  # folders (see `Entry`)

    @cached_property
    def entries(self) -> list[Entry]:
        """What there is to say of every folder."""
        return [self.entry(path) for path in self.paths]

    @cached_property
    def paths(self) -> list[Path]:
        """The folders of all artefacts, whole or not, and of all checkpoints."""
        root, folders = self.workspace.root, self.workspace.folders
        found = [path for stage in PLACES if stage != "report" for path in folders(stage)]
        reports = [root / (prefix + "report") for prefix in ("", PARTIAL, ASIDE)]
        found += [path for path in reports if path.is_dir()]
        return found + [path for run in folders(CHECKPOINTS) for path in folders(f"{CHECKPOINTS}/{run.name}")]

    @cached_property
    def by_label(self) -> dict[str, Artefact]:
        """Every artefact that can be read."""
        found = {}
        for path in self.paths:
            try:
                artefact = read_artefact(path)
            except UserError:
                continue
            if artefact is not None and not path.name.startswith("."):
                found[artefact.label] = artefact
        return found

    @cached_property
    def by_path(self) -> dict[Path, Artefact]:
        """The same by their folders."""
        return {found.path: found for found in self.by_label.values()}

    def entry(self, path: Path) -> Entry:
        """What there is to say of one folder."""
        label = path.relative_to(self.workspace.root).as_posix()
        state, why = self._state(path)
        command, outdated = Artefact(path, {}).command, state == "stale" and path in self.outdated
        return Entry(label, path, state, tuple(why), folder_bytes(path), command, outdated)

    def _state(self, path: Path) -> tuple[str, list[str]]:
        lock = self.lock(path)
        if path.name.startswith((PARTIAL, ASIDE)):
            after = "removed" if path.name.startswith(PARTIAL) else "put back, unless its successor stands,"
            left = f"left by a process that was stopped; {after} when the workspace is next written to"
            return "partial", [{"held": "being made now", "free": left, "unknown": f"being made now, or {left}"}[lock]]
        try:
            self.workspace.inside(path)
            artefact = read_artefact(path)
            if artefact is None:
                return "partial", ["it has no artefact.json"]
            (verify if self.every_byte else verify_sizes)(artefact)
            note = [self._progress(artefact, lock)] if _is_checkpoint(artefact) else []
        except Unreadable as error:
            return "unreadable", [error.what]
        except UserError as error:
            return "damaged", [error.what.partition(" is damaged: ")[2] or error.what]
        why = self._stale(artefact)
        return ("stale" if why else "whole"), [*why, *note]

    def lock(self, path: Path) -> State:
        """Whether a process holds the lock under which this folder is made; a checkpoint's is that of its run."""
        final = path.with_name(path.name.removeprefix(PARTIAL).removeprefix(ASIDE))
        root = self.workspace.root
        if path.parent.parent != root / CHECKPOINTS:
            return self.workspace.lock_state(final)
        found = {self.workspace.lock_state(root / stage / path.parent.name) for stage in PLACES}
        return "held" if "held" in found else "unknown" if "unknown" in found else "free"

    def _progress(self, artefact: Artefact, lock: State) -> str:
        checkpoint = CheckpointRecord.of(artefact)
        made, threads = artefact.meta["request"].get("threads"), cores()
        stopped = "its run was stopped"
        if "threads" in (checkpoint.automatic or ()) and made != threads:
            stopped += f" (threads {made}, here {threads}: give --threads {made}, or --inexact, not bit for bit)"
        unknown = "its run goes on now or was stopped: its lock cannot be read"
        free = self.left_over.get(artefact.path, stopped)
        way = {"held": "its run goes on now", "free": free, "unknown": unknown}[lock]
        return f"after update {checkpoint.step} of phase {checkpoint.phase}; {way}"

    @cached_property
    def left_over(self) -> dict[Path, str]:
        """Checkpoints that nothing goes on from: those of a run that stands, and is not being made again."""
        labels = self.by_label
        runs = [found for found in labels.values() if found.meta["stage"] in TRAININGS]
        found = {}
        for artefact in filter(_is_checkpoint, labels.values()):
            try:
                forced = CheckpointRecord.of(artefact).forced
            except UserError:  # its own entry tells of it
                continue
            stands = None if forced else next((run for run in runs if same_run(artefact, run)), None)
            if stands is not None:
                found[artefact.path] = f"{LEFT_OVER}: its run stands as {stands.label}"
        return found

    def _stale(self, artefact: Artefact) -> list[str]:
        """Why an artefact is not current; [] if it is."""
        if artefact.label in self.stale:
            return self.stale[artefact.label]
        request = artefact.meta["request"]
        why = _code_changes(request) + (self._source_changes(artefact) if request["stage"] == "download" else [])
        outdated = bool(why)
        for recorded in artefact.meta["inputs"]:
            label = recorded["artefact"]
            now = self.by_label.get(label)
            if now is None:
                why.append(f"its input {label} is gone")
            elif now.content != recorded["content"]:
                why.append(f"its input {label} has changed")
                outdated = True
            elif self._stale(now):
                why.append(f"its input {label} is stale")
                outdated |= now.path in self.outdated
        if outdated:
            self.outdated.add(artefact.path)
        if _is_checkpoint(artefact):
            here = library_versions()
            made = CheckpointRecord.of(artefact).machine
            other = [f"{name} {made.get(name)}, here {here[name]}" for name in here if made.get(name) != here[name]]
            why += [f"made elsewhere, so it goes on only with --inexact: {', '.join(other)}"] if other else []
        self.stale[artefact.label] = why
        return why

    def _source_changes(self, artefact: Artefact) -> list[str]:
        request, definition = artefact.meta["request"], self.definitions.get(artefact.name)
        if definition is None:
            return []
        if definition.fingerprint != request["definition"]:
            return ["its task's definition has changed"]
        if not self.every_byte:
            return []
        folder = self.workspace.sources().get(artefact.name)
        try:
            now = source_request(definition, resolve_source(definition, Path(folder) if folder else None))
        except UserError:  # the source is not there now, so nothing is known of it
            return []
        if now["kind"] != request["source"]["kind"]:
            return [f"its task comes from another source now ({now['kind']})"]
        before, files = request["source"].get("files", {}), now.get("files", {})
        changed = sorted(name for name in {*before, *files} if before.get(name) != files.get(name))
        return [f"its source has changed: {', '.join(changed)}"] if changed else []


def _is_checkpoint(artefact: Artefact) -> bool:
    return artefact.meta["stage"].startswith(f"{CHECKPOINTS}/")


def _code_changes(request: dict[str, Any]) -> list[str]:
    """Which of the code's versions that a request records are not those of this program."""
    methods = {name: spec.code_version for name, spec in METHODS.items()}
    measures = {name: spec.code_version for name, spec in MEASURES.items()}
    recorded = [("stage", "code_version", CODE_VERSIONS), ("method", "method_version", methods),
                ("measure", "measure_version", measures), ("kind", "kind_version", CODE_VERSIONS)]  # fmt: skip
    return [
        f"made by version {request[version]} of {request[kind]}, now it is {current.get(request[kind], 'unknown')}"
        for kind, version, current in recorded
        if version in request and current.get(request[kind]) != request[version]
    ]


def print_status(screen: Screen, entries: list[Entry]) -> None:
    """A table of all entries, the commands that put right what is not whole, and a line that sums up."""
    table = Table()
    for column in ("artefact", "state", "bytes", "why"):
        table.add_column(column, justify="right" if column == "bytes" else "left", overflow="fold")
    kept = [entry for entry in entries if entry.label.startswith(f"{TRUTH}/") and entry.state == "whole"]
    if kept:  # hundreds, each a training of which the scores alone are kept
        size = sum(entry.bytes for entry in kept)
        table.add_row(f"{TRUTH}/ ({len(kept)} trainings)", f"[{_COLOURS['whole']}]whole[/]", f"{size:,}", "")
    for entry in (entry for entry in entries if entry not in kept):
        state = f"[{_COLOURS[entry.state]}]{entry.state}[/]"
        table.add_row(shown(entry.label), state, f"{entry.bytes:,}", shown("; ".join(entry.why)))
    if entries:
        screen.table(table)
    for command, labels in _remedies(entries).items():
        screen.line(f"{', '.join(labels)}:\n  {command}")
    counts = [f"{number} {state}" for state in STATES if (number := sum(e.state == state for e in entries))]
    total = sum(entry.bytes for entry in entries)
    screen.line(f"{', '.join(counts) or 'nothing is there'}; {total:,} bytes")


def _remedies(entries: list[Entry]) -> dict[str, list[str]]:
    """For each command that makes something anew or goes on with it: what that is, and what to delete before."""
    remedies: dict[str, list[str]] = {}
    for entry in entries:
        if any(LEFT_OVER in why for why in entry.why):
            remedies.setdefault("of no use any more; delete the folders", []).append(entry.label)
        elif entry.command and (entry.state != "whole" or entry.label.startswith(CHECKPOINTS)):
            before = " (delete the folder first)" if entry.state == "damaged" else ""
            remedies.setdefault(entry.command, []).append(entry.label + before)
    return remedies
