"""`clean`: what is of no use any more, or can be made again, leaves the workspace; what is kept loses nothing it reads.

By default these go: what stopped processes left half made; checkpoints of runs that stand; outdated artefacts (not what
is stale only because an input is gone), of trainings only *superseded* ones: where a run of the same settings, tasks
and seed is there that is not outdated. Runs go that are named, and on demand outdated runs without a successor and
cached trainings. An artefact from which a kept one was made stays, unless it was asked for and can be made again. So
does everything that a running training may read, and a folder that holds a file which this program did not write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from adaptershare_cli.commands.ls import size_text
from adaptershare_cli.commands.status import LEFT_OVER, PLACES, Entry, Survey
from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.choose import MACHINE, matches
from adaptershare_cli.screen import Screen, shown
from adaptershare_cli.store.artefact import ASIDE, META, PARTIAL, TRAININGS, UNHASHED, Artefact, canonical
from adaptershare_cli.store.workspace import CHECKPOINTS, GROUPS, TRUTH, Workspace

CACHED = (GROUPS, TRUTH)
RUNS = tuple(stage for stage in TRAININGS if stage not in CACHED)
# Of a request what may differ between a run and the one that took its place.
_VARIED = ("code_version", "method_version", "origin", "init_plan", *MACHINE)


@dataclass(frozen=True)
class Wanted:
    """What the user asked for beside what goes by default."""

    runs: tuple[str, ...] = ()
    stale_runs: bool = False
    cached: bool = False


@dataclass(frozen=True)
class Removal:
    """A folder that is to go, and why; `asked` where the user named it or its sort."""

    entry: Entry
    why: str
    asked: bool = False


@dataclass
class Plan:
    """What is to go, readers before what they read, and what stays although it might go, with the reason."""

    removals: list[Removal]
    kept: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all that is to go."""
        return sum(removal.entry.bytes for removal in self.removals)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rows = [
            {"name": r.entry.label, "path": str(r.entry.path), "why": r.why, "bytes": r.entry.bytes,
             "command": r.entry.command}
            for r in self.removals
        ]  # fmt: skip
        return {"removed": rows, "bytes": self.bytes, "kept_back": self.kept}


def plan_cleaning(survey: Survey, wanted: Wanted) -> Plan:
    """What is to go. Nothing is changed. Raises UserError for a word that names no run."""
    running = [name for name in survey.workspace.held_locks() if name.startswith(tuple(f"{s}-" for s in TRAININGS))]
    chosen = {removal.entry.label: removal for removal in _candidates(survey, wanted)}
    plan = Plan([])
    for label, removal in [*chosen.items()]:
        if why := _held_back(survey, removal, running):
            del chosen[label]
            plan.kept.append(f"{label}: {why}")
    _spare_what_is_read(survey, chosen, plan)
    order = [CHECKPOINTS, *reversed(PLACES)]
    plan.removals = sorted(chosen.values(), key=lambda removal: order.index(_place(removal.entry)))
    return plan


def _place(entry: Entry) -> str:
    """The folder of the workspace that it lies in; the report is one itself."""
    return entry.label.split("/")[0].removeprefix(PARTIAL).removeprefix(ASIDE)


def _candidates(survey: Survey, wanted: Wanted) -> Iterator[Removal]:
    named = _named(survey, wanted.runs)
    for entry in survey.entries:
        stage = _place(entry)
        if entry.path.name.startswith((PARTIAL, ASIDE)):
            final = entry.path.with_name(entry.path.name.removeprefix(PARTIAL).removeprefix(ASIDE))
            if entry.path.name.startswith(PARTIAL) or (final / META).exists():  # else it is put back
                yield Removal(entry, "left half made by a process that was stopped")
        elif stage == CHECKPOINTS:
            over = next((why for why in entry.why if LEFT_OVER in why), "")
            if over:
                yield Removal(entry, over.partition("; ")[2] or over)
        elif entry.label in named:
            yield Removal(entry, "named", asked=True)
        elif stage in CACHED:
            if wanted.cached and entry.state in ("whole", "stale"):
                yield Removal(entry, "a cached training", asked=True)
        elif entry.outdated:
            newer = _successor(survey, entry) if stage in RUNS else None
            if newer is not None:
                yield Removal(entry, f"superseded by {newer}")
            elif stage not in RUNS or wanted.stale_runs:
                yield Removal(entry, entry.why[0], asked=stage in RUNS)


def _named(survey: Survey, words: Sequence[str]) -> set[str]:
    """The labels of the runs that the words name. Raises UserError for a word that names none."""
    runs = []
    for entry in survey.entries:
        if _place(entry) in RUNS and entry.state in ("whole", "stale", "damaged"):
            name, _, key = entry.path.name.rpartition("-")
            runs.append(Artefact(entry.path, {"name": name, "key": key}))
    found = set()
    for word in words:
        fitting = [run.label for run in runs if matches(run, word)]
        if not fitting:
            there = ", ".join(run.path.name for run in runs[-8:]) or "none"
            raise UserError(f"No run matches {word!r}", where="RUN", fix=f"Runs: {there}.")
        found |= {*fitting}
    return found


def _successor(survey: Survey, entry: Entry) -> str | None:
    """The label of a run that is not outdated, of the same settings, tasks and seed."""
    old = survey.by_path[entry.path]
    for label, run in survey.by_label.items():
        same_place = run.path.parent == old.path.parent and run.path != old.path and run.path not in survey.outdated
        if same_place and _likeness(run) == _likeness(old):
            return label
    return None


def _likeness(run: Artefact) -> str:
    """What a run and the one that took its place have in common: all that the user chose."""
    request = {name: value for name, value in run.meta["request"].items() if name not in _VARIED}
    return canonical({**request, "name": run.name, "tasks": run.info.get("tasks")})


def _held_back(survey: Survey, removal: Removal, running: Sequence[str]) -> str:
    """Why a folder must stay whatever was asked; "" if it may go."""
    entry, stage = removal.entry, _place(removal.entry)
    if entry.path.is_symlink():
        return "it is a symbolic link"
    state = survey.lock(entry.path)
    if state != "free":
        return "another process works on it" if state == "held" else "its lock cannot be read"
    if running and stage != "report" and not entry.path.name.startswith((PARTIAL, ASIDE)):
        return f"a training runs now ({running[0]}), which may read it"
    if entry.path.name.startswith((PARTIAL, ASIDE)):
        return ""
    artefact = survey.by_path.get(entry.path)
    if artefact is None:
        return "its artefact.json cannot be read, so nobody knows what it holds; look, and delete it yourself"
    own = {*artefact.meta["files"], *UNHASHED}
    files = (path for path in entry.path.rglob("*") if not path.is_dir() or path.is_symlink())
    strange = next((name for path in files if (name := path.relative_to(entry.path).as_posix()) not in own), None)
    if strange is not None:
        return f"it holds {strange}, which this program did not write"
    if removal.asked and not entry.command:
        return "nobody knows the command that would make it again"
    return ""


def _spare_what_is_read(survey: Survey, chosen: dict[str, Removal], plan: Plan) -> None:
    """Take out what a kept artefact was made from, until nothing changes; what was asked for is only told."""
    artefacts = [found for found in survey.by_label.values() if not found.meta["stage"].startswith(CHECKPOINTS)]
    while True:
        going = {removal.entry.path for removal in chosen.values()}
        readers = {
            recorded["artefact"]: found.label
            for found in artefacts
            if found.path not in going
            for recorded in found.meta["inputs"]
            if recorded["artefact"] in chosen and _is_current(survey, recorded)
        }
        spared = [label for label in readers if not chosen[label].asked]
        if not spared:
            break
        for label in spared:
            del chosen[label]
            plan.kept.append(f"{label}: {readers[label]} was made from it")
    for label, reader in readers.items():
        plan.kept.append(f"{reader} stays, though it was made from {label}")


def _is_current(survey: Survey, recorded: dict[str, str]) -> bool:
    now = survey.by_label.get(recorded["artefact"])
    return now is not None and now.content == recorded["content"]


def print_plan(screen: Screen, plan: Plan) -> None:
    """What goes, with why, how large it is, and the command that makes it anew."""
    table = Table()
    for column in ("to be deleted", "why", "bytes"):
        table.add_column(column, justify="right" if column == "bytes" else "left", overflow="fold")
    commands: dict[str, list[str]] = {}
    for removal in plan.removals:
        entry = removal.entry
        table.add_row(shown(entry.label), shown(removal.why), f"{entry.bytes:,}")
        if entry.command and not entry.path.name.startswith((PARTIAL, ASIDE)) and CHECKPOINTS not in entry.label:
            commands.setdefault(entry.command, []).append(entry.label)
    if plan.removals:
        screen.table(table)
    for command, labels in commands.items():
        screen.line(f"makes {', '.join(labels)} anew:\n  {command}")
    for line in plan.kept:
        screen.line(f"kept: {line}")
    count = len(plan.removals)
    screen.line(f"{count} folder{'' if count == 1 else 's'}, {size_text(plan.bytes)}" if count else "Nothing to clean.")


def remove(workspace: Workspace, plan: Plan, tell: Callable[[str], object]) -> Plan:
    """Delete what the plan says; what another process took meanwhile stays. Returns what went."""
    gone = []
    for removal in plan.removals:
        if workspace.remove(removal.entry.path, _locked_as(workspace, removal.entry)):
            gone.append(removal)
        else:
            tell(f"kept: {removal.entry.label}: another process works on it now")
    return Plan(gone, plan.kept)


def _locked_as(workspace: Workspace, entry: Entry) -> Path | None:
    """Of a checkpoint its run, under whose lock it is made and gone on from."""
    if _place(entry) != CHECKPOINTS:
        return None
    name = entry.path.parent.name
    return next((path for stage in TRAININGS if (path := workspace.root / stage / name).is_dir()), None)
