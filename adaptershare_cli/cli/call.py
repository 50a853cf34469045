"""One call of a command: what all commands have in common, and the way from its options to the work and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.model.adapters import training_settings
from adaptershare_cli.scratch import use_scratch
from adaptershare_cli.settings import DownloadSettings, PreproSettings, RuntimeSettings, flag

if TYPE_CHECKING:
    from adaptershare_cli.runs.context import StageContext
    from adaptershare_cli.store.workspace import Artefact

Artefacts: TypeAlias = "list[Artefact]"  # so that annotations are evaluated without importing anything heavy


@dataclass
class Caller:
    """A program that calls a command in this process: where the command shows itself, and what it made or kept."""

    screen: Terminal
    artefacts: Artefacts = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """A command as it was called.

    `options` are the options of settings that were set, by name; `given` are the names of all that were set. `offered`
    are options, and other parameters, that shared keys of --config set, with the keys: they count only where there is a
    use for them. `invocation` is the shell command that repeats the call (without --force, and without the workspace).
    """

    command: str
    invocation: str
    options: Mapping[str, Any]
    workspace: Path
    screen: Terminal
    force: bool = False
    no_wait: bool = False
    offered: Mapping[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    def settings(self, cls: type) -> Any:
        """An instance of a settings class."""
        return settings_from(cls, self.options)

    def passing_over(self, useless: Collection[str], user: str) -> tuple[Call, Collection[str]]:
        """The call without those of the `useless` parameters that were only offered, and which these are.

        A line says so: `user` has no use for them.
        """
        passed = [name for name in self.offered if name in useless]
        if passed:
            keys = ", ".join(self.offered[name] for name in passed)
            self.screen.line(f"--config: {keys} passed over, as {user} has no use for it")
        options = {name: value for name, value in self.options.items() if name not in passed}
        return replace(self, options=options), passed

    def context(
        self,
        options: Mapping[str, Any] | None = None,
        task_dir: str | None = None,
        from_folder: Path | None = None,
        model: str = "embedded",
    ) -> StageContext:
        """The stages' context, with the settings of these options (by default the call's)."""
        use_scratch(self.workspace)  # before anything heavy is imported
        from adaptershare_cli.runs.context import StageContext
        from adaptershare_cli.store.workspace import Workspace

        values = self.options if options is None else options
        return StageContext(
            workspace=Workspace(self.workspace, command=self.invocation),
            reporter=self.screen,
            force=self.command if self.force else "",
            no_wait=self.no_wait,
            task_dirs=folders(task_dir),
            from_folder=from_folder,
            model=model,
            download=settings_from(DownloadSettings, values),
            prepro=settings_from(PreproSettings, values),
            training=training_settings(values),
            runtime=settings_from(RuntimeSettings, values),
            chosen=frozenset(self.options),
        )

    def say_taken(self, **defaults: str) -> None:
        """Say which of the command's own options were not given, with the defaults that hold."""
        for name, value in defaults.items():
            if name not in self.given:
                self.screen.taken(f"{flag(name)} {value}", f"the default; {flag(name)} names others")

    def finish(self, artefacts: Artefacts) -> None:
        """The summary: where things are, and as JSON what programs need."""
        summary = []
        if self.screen.as_json:
            from adaptershare_cli.commands.summary import artefact_summary
            from adaptershare_cli.runs.baselines import Baselines
            from adaptershare_cli.store.workspace import Workspace

            baselines = Baselines(Workspace(self.workspace, writing=False))
            summary = [artefact_summary(artefact, baselines) for artefact in artefacts]
        self.screen.finish({"command": self.command, "artefacts": summary})
        for artefact in artefacts:
            self.screen.path(str(artefact.path))


def settings_from(cls: type, options: Mapping[str, Any]) -> Any:
    """An instance of a settings class from the options that were set; others are left for other classes."""
    return cls(**{item.name: options[item.name] for item in fields(cls) if item.name in options})


def folders(task_dir: str | None) -> tuple[Path, ...]:
    """The folders that --task-dir names."""
    return tuple(Path(part.strip()) for part in (task_dir or "").split(",") if part.strip())
