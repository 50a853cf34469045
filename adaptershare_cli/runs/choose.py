"""Which runs a user means: by name, method or task, key prefix, glob or path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from adaptershare_cli.data.files import is_folder
from adaptershare_cli.errors import UserError
from adaptershare_cli.screen import Screen
from adaptershare_cli.store.artefact import Artefact, read_artefact, request_key, verify
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace

# Of a request what says where it was computed: it moves the last digits, and makes no other kind of run.
MACHINE = ("device", "threads")
# What the request of a put-together run says of the groups that were chosen: as they do, its trainings differ from seed
# to seed.
CHOSEN_GROUPS = ("groups", "layers")


def settings_key(run: Artefact, but: Collection[str] = ()) -> str:
    """A key that is the same for all seeds of a run's settings, and for what it started from.

    What the request says of the names in `but` does not count either.
    """
    varied = ("seed", "init_plan", "origin", *CHOSEN_GROUPS, *but)
    request = {name: value for name, value in run.meta["request"].items() if name not in varied}
    put_together = CHOSEN_GROUPS[0] in run.meta["request"]
    if "origin_key" in run.info and not put_together:  # of any artefact that runs start from, a selection among them
        request["origin"] = run.info["origin_key"]
    return request_key(request)


@dataclass(frozen=True)
class Kind:
    """Of a run the `key` of its like, whatever the seed; `apart` is where it was computed, if only that parts kinds."""

    key: str
    apart: dict[str, Any] = field(default_factory=dict)


def kinds_of(runs: Iterable[Artefact]) -> dict[str, Kind]:
    """The kind of each run by its label: the same for runs that differ in their seed, or in device and threads.

    But where a seed would stand twice in a kind, device and threads part its runs.
    """
    alike: dict[str, list[Artefact]] = {}
    for run in runs:
        alike.setdefault(settings_key(run, MACHINE), []).append(run)
    kinds: dict[str, Kind] = {}
    for key, found in alike.items():
        made = [{name: run.meta["request"].get(name) for name in MACHINE} for run in found]
        differing = [name for name in MACHINE if any(one[name] != made[0][name] for one in made)]
        if not differing or len({RunRecord.of(run).seed for run in found}) == len(found):
            kinds |= {run.label: Kind(key) for run in found}
            continue
        for run, one in zip(found, made, strict=True):
            kinds[run.label] = Kind(settings_key(run), {name: one[name] for name in differing})
    return kinds


def select_runs(
    workspace: Workspace,
    spec: str | None,
    option: str = "--run",
    check: Callable[[Artefact], object] | None = None,
    passed_over: Callable[[UserError], object] | None = None,
) -> list[Artefact]:
    """The runs that `option` names: an artefact's name, method or task, key prefix, glob or path. Each one is verified.

    Without --run: all runs of both training stages. A damaged run is an error; but where it was not named itself,
    `passed_over` is told of it (if it is given) as long as others are whole. `check` raises UserError where a run lacks
    more that is needed.
    """
    runs, faults = all_runs(workspace)
    whole, errors = [], []
    for run in _named_runs(workspace, runs, spec, option):
        try:
            _check(run, faults)
            if check is not None:
                check(run)
            whole.append(run)
        except UserError as error:
            if passed_over is None or any(names(run, word) for word in _words(spec)):
                raise
            errors.append(error)
    if errors and not whole:
        raise errors[0]
    if passed_over is not None:
        for fault in errors:
            passed_over(fault)
    return whole


def newest_run(workspace: Workspace, screen: Screen, others: str = "--run names others") -> Artefact:
    """The newest train-share run, verified; the screen says which that is, of how many, and how to take `others`."""
    runs, faults = all_runs(workspace)
    joint = [run for run in runs if run.meta["stage"] == "train-share"]
    if not joint:
        raise _no_run(workspace)
    count = f"the newest of {len(joint)} joint runs" if len(joint) > 1 else "the only joint run"
    screen.taken(joint[-1].label, f"{count}; {others}")
    _check(joint[-1], faults)
    return joint[-1]


def one_run(workspace: Workspace, word: str | None, screen: Screen) -> Artefact:
    """The one run that a word names, verified; by default the newest joint one, as the screen says.

    A path may lead to the folder of a run outside any workspace. Raises UserError unless the word names one run.
    """
    if word is None:
        return newest_run(workspace, screen, "RUN names another one")
    elsewhere = read_artefact(Path(word)) if is_folder(Path(word)) else None
    if elsewhere is not None:
        _check(elsewhere, {})
        return elsewhere
    found = select_runs(workspace, word, "RUN")
    if len(found) > 1:
        names = ", ".join(f"{run.path.name} (seed {RunRecord.of(run).seed})" for run in found[-8:])
        raise UserError(f"{word!r} names {len(found)} runs", "RUN", f"Give one of them (newest last): {names}.")
    return found[0]


def _no_run(workspace: Workspace) -> UserError:
    return UserError(
        "There is no run in the workspace yet",
        where=str(workspace.root),
        fix="Train first: adaptershare train-share --tasks …",
    )


Faults = dict[Path, UserError]  # of runs that cannot be read, by folder


def all_runs(workspace: Workspace) -> tuple[list[Artefact], Faults]:
    """The runs of both stages, newest last; of one that cannot be read, what its folder's name says."""
    faults: Faults = {}
    runs = [run for stage in ("train-single", "train-share") for run in workspace.artefacts(stage, faults.__setitem__)]
    for path in faults:
        name, _, key = path.name.rpartition("-")
        runs.append(Artefact(path, {"stage": path.parent.name, "name": name, "key": key}))
    return sorted(runs, key=lambda run: run.made), faults


def _check(run: Artefact, faults: Faults) -> None:
    """Raise UserError for a damaged run."""
    if run.path in faults:
        raise faults[run.path]
    verify(run)
    RunRecord.of(run)


def _words(spec: str | None) -> list[str]:
    return [word for part in (spec or "").split(",") if (word := part.strip())]


def _named_runs(workspace: Workspace, runs: list[Artefact], spec: str | None, option: str) -> list[Artefact]:
    if spec is None:
        if not runs:
            raise _no_run(workspace)
        return runs
    chosen: list[Artefact] = []
    for word in _words(spec):
        found = [run for run in runs if matches(run, word)]
        if not found:
            names = ", ".join(run.path.name for run in runs[-8:]) or "none"
            raise UserError(f"No run matches {word!r}", where=option, fix=f"Runs (newest last): {names}.")
        chosen.extend(run for run in found if run not in chosen)
    if not chosen:
        raise UserError(f"{option} is empty", fix="Give a name, a key prefix, a glob or a path.")
    return chosen


def matches(run: Artefact, word: str) -> bool:
    """Whether a word names an artefact, or several among which it is: by name, key prefix, glob or path."""
    return names(run, word) or word == run.name or (
        any(sign in word for sign in "*?[") and (fnmatchcase(run.path.name, word) or fnmatchcase(run.label, word))
    )  # fmt: skip


def names(run: Artefact, word: str) -> bool:
    """Whether a word names an artefact itself: by its own name, key prefix or path."""
    return word in (run.path.name, run.label) or run.key.startswith(word) or run.path.resolve() == Path(word).resolve()
