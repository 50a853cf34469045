"""What every stage shares: the context of a command, and `ensure`, which makes an artefact unless it is there."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adaptershare_cli.cli.console import Reporter
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.tasks import TaskRegistry, load_tasks
from adaptershare_cli.errors import UserError
from adaptershare_cli.model.source import EMBEDDED, EncoderSource, locate_encoder
from adaptershare_cli.settings import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    TrainingSettings,
    check_settings,
)
from adaptershare_cli.store.artefact import verify
from adaptershare_cli.store.workspace import CODE_VERSIONS, Artefact, Workspace, request_key

RECORDED_LIBRARIES = ("adapters", "datasets", "evaluate", "numpy", "pyarrow", "tokenizers", "torch", "transformers")


@dataclass
class StageContext:
    """One command: the workspace, where it prints, and the settings of the stages that it may have to run."""

    workspace: Workspace
    reporter: Reporter
    force: str = ""  # the stage that --force makes again
    no_wait: bool = False  # fail where another process is making what is needed
    task_dirs: tuple[Path, ...] = ()
    from_folder: Path | None = None
    model: str = EMBEDDED
    download: DownloadSettings = field(default_factory=DownloadSettings)
    prepro: PreproSettings = field(default_factory=PreproSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    done: dict[str, Artefact] = field(default_factory=dict)  # made or verified by this command already

    def __post_init__(self) -> None:
        for settings in (self.download, self.prepro, self.training, self.runtime):
            check_settings(settings)

    @cached_property
    def registry(self) -> TaskRegistry:
        """The task definitions that can be named."""
        return load_tasks(self.task_dirs)

    @cached_property
    def encoder(self) -> EncoderSource:
        """The encoder that --model names."""
        return locate_encoder(self.model)

    def for_input(self, **training: Any) -> StageContext:
        """The same command for a run that another one needs: with other training settings, and made only if missing."""
        other = copy.copy(self)  # keeps what was looked up already
        other.force, other.training = "", replace(self.training, **training)
        return other

    def tasks(self, spec: str) -> list[TaskDefinition]:
        """The definitions that --tasks names."""
        return self.registry.select(spec)


def ensure(
    context: StageContext,
    stage: str,
    name: str,
    request: dict[str, Any],
    build: Callable[[Path], dict[str, Any]],
    inputs: list[Artefact],
    lacks: Callable[[Artefact], bool] = lambda found: False,
    complete: Callable[[Path, Artefact], dict[str, Any]] | None = None,
    settle: Callable[[bool], None] = lambda made: None,
    quiet: bool = False,
) -> Artefact:
    """The artefact that answers `request`: the one that is there and whole, else a new one from `build`.

    `request` holds the settings and the content fingerprints that decide the result; stage and code version are
    added. `build(folder)` is called under the artefact's lock and returns what `Workspace.publish` takes, and perhaps
    `inputs`: artefacts that only its making showed to be needed. An artefact that `lacks` something which is asked for
    now, but does not change its results, is made again; or it is replaced by what `complete(folder, found)` makes of
    it, which returns what `build` does: it answers the same request from the same inputs. `settle` is called under the
    lock once the artefact stands, with whether it was made now. `quiet`: no line is printed for it.
    """
    workspace, reporter = context.workspace, context.reporter
    full = full_request(stage, request)
    key = request_key(full)
    label = f"{stage}/{name}-{key}"
    if label in context.done and not lacks(context.done[label]):
        return context.done[label]
    with workspace.lock(stage, name, key, reporter.line, wait=not context.no_wait):
        # What is made again may be damaged: it is not even looked at.
        found = workspace.find(stage, name, key) if context.force != stage else None
        if found is not None and not lacks(found):
            verify(found)
            settle(False)
            reporter.kept_artefact(label, quiet=quiet)
            context.done[label] = found
            return found
        describe: dict[str, Any] = {
            "request": full,
            "versions": library_versions(),
        }

        def described(folder: Path) -> dict[str, Any]:
            built = build(folder)
            describe["inputs"] = recorded_inputs([*inputs, *built.pop("inputs", [])])
            return built

        if found is not None and complete is not None:
            verify(found)
            describe = {part: found.meta[part] for part in ("request", "versions", "inputs")}
            artefact = workspace.publish(stage, name, key, lambda folder: complete(folder, found), describe)
        else:
            artefact = workspace.publish(stage, name, key, described, describe)
        settle(True)
    reporter.made_artefact(label, artefact.info.get("summary", ""), quiet)
    context.done[label] = artefact
    return artefact


def full_request(stage: str, request: dict[str, Any]) -> dict[str, Any]:
    """A request as it is recorded and hashed: with the stage and its code version."""
    return {"stage": stage, "code_version": CODE_VERSIONS[stage], **request}


def recorded_inputs(inputs: list[Artefact]) -> list[dict[str, str]]:
    """What an artefact records of those that it was made from."""
    return [{"artefact": artefact.label, "content": artefact.content} for artefact in inputs]


def settings_key(run: Artefact) -> str:
    """A key that is the same for all seeds of a run's settings, and for what it started from."""
    request = {n: v for n, v in run.meta["request"].items() if n not in ("seed", "init_plan", "origin")}
    if "origin_key" in run.info:
        request["origin"] = run.info["origin_key"]
    return request_key(request)


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    return {"python": ".".join(map(str, sys.version_info[:3])), **{n: version(n) for n in RECORDED_LIBRARIES}}


def select_runs(workspace: Workspace, spec: str | None, newest_only: bool, option: str = "--run") -> list[Artefact]:
    """The runs that `option` names, every file verified: an artefact's name, method or task, key prefix, glob or path.

    Without --run: the newest train-share run (`newest_only`), or all runs of both training stages.
    """
    chosen = _named_runs(workspace, spec, newest_only, option)
    for run in chosen:
        verify(run)
    return chosen


def _named_runs(workspace: Workspace, spec: str | None, newest_only: bool, option: str) -> list[Artefact]:
    runs = [run for stage in ("train-single", "train-share") for run in workspace.artefacts(stage)]
    runs.sort(key=lambda run: run.made)
    if spec is None:
        if newest_only:
            runs = [run for run in runs if run.meta["stage"] == "train-share"][-1:]
        if not runs:
            raise UserError(
                "There is no run in the workspace yet",
                where=str(workspace.root),
                fix="Train first: adaptershare train-share --tasks …",
            )
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
    from fnmatch import fnmatchcase

    if run.path.resolve() == Path(word).resolve():
        return True
    return word in (run.name, run.path.name, run.label) or run.key.startswith(word) or (
        any(sign in word for sign in "*?[") and (fnmatchcase(run.path.name, word) or fnmatchcase(run.label, word))
    )  # fmt: skip
