"""What every stage shares: the context of a command, and `ensure`, which makes an artefact unless it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.tasks import TaskRegistry, load_tasks
from adaptershare_cli.model.source import EMBEDDED, EncoderSource, locate_encoder
from adaptershare_cli.screen import Screen
from adaptershare_cli.settings import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    TrainingSettings,
    check_settings,
)
from adaptershare_cli.store.artefact import verify
from adaptershare_cli.store.making import full_request, library_versions, recorded_inputs
from adaptershare_cli.store.workspace import Artefact, Workspace, request_key


@dataclass
class StageContext:
    """One command: the workspace, where it prints, and the settings of the stages that it may have to run."""

    workspace: Workspace
    reporter: Screen
    force: str = ""  # the stage that --force makes again
    no_wait: bool = False  # fail where another process is making what is needed
    task_dirs: tuple[Path, ...] = ()
    from_folder: Path | None = None
    model: str = EMBEDDED
    located: EncoderSource | None = None  # the encoder, where it is known without --model
    download: DownloadSettings = field(default_factory=DownloadSettings)
    prepro: PreproSettings = field(default_factory=PreproSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    chosen: frozenset[str] = frozenset()  # the names of the options that the user gave
    prepared: list[Artefact] = field(default_factory=list)  # looked at before the first update of any training
    done: dict[str, Artefact] = field(default_factory=dict)  # made or verified by this command already

    def __post_init__(self) -> None:
        for settings in (self.download, self.prepro, self.training, self.runtime):
            check_settings(settings, self.chosen)

    @cached_property
    def registry(self) -> TaskRegistry:
        """The task definitions that can be named."""
        return load_tasks(self.task_dirs)

    @cached_property
    def encoder(self) -> EncoderSource:
        """The encoder that --model names, if it is not known without."""
        return self.located or locate_encoder(self.model)

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
    again: bool | None = None,
    note: str = "",
) -> Artefact:
    """The artefact that answers `request`: the one that is there and whole, else a new one from `build`.

    `request` holds the settings and the content fingerprints that decide the result; stage and code version are
    added. `build(folder)` is called under the artefact's lock and returns what `Workspace.publish` takes, and perhaps
    `inputs`: artefacts that only its making showed to be needed. An artefact that `lacks` something which is asked for
    now, but does not change its results, is made again; or it is replaced by what `complete(folder, found)` makes of
    it, which returns what `build` does: it answers the same request from the same inputs. `settle` is called under the
    lock once the artefact stands, with whether it was made now. `quiet`: no line is printed for it.
    `again`: it is made even if it is there (by default where --force is given to the stage). `note`: what the line says
    of one that is there. From a workspace that cannot be written, what is there is taken without a lock; UserError is
    raised for what would have to be made.
    """
    workspace, reporter = context.workspace, context.reporter
    full = full_request(stage, request)
    key = request_key(full)
    label = f"{stage}/{name}-{key}"
    again = context.force == stage if again is None else again
    if label in context.done and not lacks(context.done[label]):
        return context.done[label]

    def keep(found: Artefact) -> Artefact:
        verify(found)
        if workspace.writable:
            settle(False)
        reporter.kept_artefact(label, note, quiet)
        context.done[label] = found
        return found

    if not workspace.writable:
        found = None if again else workspace.find(stage, name, key)
        if found is None or lacks(found):
            raise workspace.unwritable(f", and {label} has to be made")
        return keep(found)
    with workspace.lock(stage, name, key, reporter.line, wait=not context.no_wait):
        # What is made again may be damaged: it is not even looked at.
        found = None if again else workspace.find(stage, name, key)
        if found is not None and not lacks(found):
            return keep(found)
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
