"""Which runs a user means: by name, method or task, key prefix, glob or path."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from adaptershare_cli.errors import UserError
from adaptershare_cli.screen import Screen
from adaptershare_cli.store.artefact import Artefact, request_key, verify
from adaptershare_cli.store.workspace import Workspace


def settings_key(run: Artefact) -> str:
    """A key that is the same for all seeds of a run's settings, and for what it started from."""
    request = {n: v for n, v in run.meta["request"].items() if n not in ("seed", "init_plan", "origin")}
    if "origin_key" in run.info:  # of any artefact that runs start from, a selection among them
        request["origin"] = run.info["origin_key"]
    return request_key(request)


def select_runs(workspace: Workspace, spec: str | None, option: str = "--run") -> list[Artefact]:
    """The runs that `option` names, every file verified: an artefact's name, method or task, key prefix, glob or path.

    Without --run: all runs of both training stages.
    """
    chosen = _named_runs(workspace, spec, option)
    for run in chosen:
        verify(run)
    return chosen


def newest_run(workspace: Workspace, screen: Screen) -> Artefact:
    """The newest train-share run, verified; the screen says which that is, and of how many."""
    joint = [run for run in _named_runs(workspace, None, "--run") if run.meta["stage"] == "train-share"]
    if not joint:
        raise _no_run(workspace)
    count = f"the newest of {len(joint)} joint runs" if len(joint) > 1 else "the only joint run"
    screen.taken(joint[-1].label, f"{count}; --run names others")
    verify(joint[-1])
    return joint[-1]


def _no_run(workspace: Workspace) -> UserError:
    return UserError(
        "There is no run in the workspace yet",
        where=str(workspace.root),
        fix="Train first: adaptershare train-share --tasks …",
    )


def _named_runs(workspace: Workspace, spec: str | None, option: str) -> list[Artefact]:
    runs = [run for stage in ("train-single", "train-share") for run in workspace.artefacts(stage)]
    runs.sort(key=lambda run: run.made)
    if spec is None:
        if not runs:
            raise _no_run(workspace)
        return runs
    chosen: list[Artefact] = []
    for word in filter(None, (part.strip() for part in spec.split(","))):
        found = [run for run in runs if matches(run, word)]
        if not found:
            names = ", ".join(run.path.name for run in runs[-8:]) or "none"
            raise UserError(f"No run matches {word!r}", where=option, fix=f"Runs (newest last): {names}.")
        chosen.extend(run for run in found if run not in chosen)
    if not chosen:
        raise UserError(f"{option} is empty", fix="Give a name, a key prefix, a glob or a path.")
    return chosen


def matches(run: Artefact, word: str) -> bool:
    """Whether a word names an artefact: by name, key prefix, glob or path."""
    if run.path.resolve() == Path(word).resolve():
        return True
    return word in (run.name, run.path.name, run.label) or run.key.startswith(word) or (
        any(sign in word for sign in "*?[") and (fnmatchcase(run.path.name, word) or fnmatchcase(run.label, word))
    )  # fmt: skip
