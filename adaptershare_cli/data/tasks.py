"""The tasks that `--tasks` selects from: those that come with the program and a user's own in `--task-dir`.

Nothing heavy is imported here (no torch, datasets or Arrow), so that help and completion stay quick.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptershare_cli.data.definition import (
    NAME,
    SourceSpec,
    SplitSpec,
    TaskDefinition,
    near_names,
    parse_definition,
)
from adaptershare_cli.errors import UserError

__all__ = [
    "SourceSpec",
    "SplitSpec",
    "TaskDefinition",
    "TaskRegistry",
    "builtin_folder",
    "load_tasks",
    "parse_definition",
]


@dataclass(frozen=True)
class TaskRegistry:
    """All known tasks by name, and the suites (folder name to sorted task names)."""

    tasks: dict[str, TaskDefinition]
    suites: dict[str, list[str]]

    def select(self, spec: str) -> list[TaskDefinition]:
        """The tasks that `spec` names: names, aliases, suites and globs over names, separated by commas.

        The written order is kept, suites and globs expand in sorted order, repeats are dropped. A task's name
        goes before an equal suite name. Raises UserError for an empty or unknown selection.
        """
        tokens = [token for token in (part.strip() for part in spec.split(",")) if token]
        if not tokens:
            raise UserError("no task is selected", "--tasks", self._suites_line())
        chosen = dict.fromkeys(name for token in tokens for name in self._expand(token))
        return [self.tasks[name] for name in chosen]

    def _expand(self, token: str) -> list[str]:
        if token in self.tasks:
            return [token]
        for task in self.tasks.values():
            if token in task.aliases:
                return [task.name]
        if token in self.suites:
            return self.suites[token]
        if any(sign in token for sign in "*?["):
            found = sorted(name for name in self.tasks if fnmatch.fnmatchcase(name, token))
            if found:
                return found
            raise UserError(f"no task's name matches `{token}`", "--tasks", self._suites_line())
        known = [*self.tasks, *self.suites, *(alias for task in self.tasks.values() for alias in task.aliases)]
        raise UserError(f"unknown task `{token}`", "--tasks", near_names(token, known) + self._suites_line())

    def _suites_line(self) -> str:
        lines = [f"{suite} ({', '.join(names)})" for suite, names in sorted(self.suites.items())]
        return "Suites: " + "; ".join(lines) + "." if lines else "No tasks are installed: give --task-dir FOLDER."


def builtin_folder() -> Path:
    """The folder of the suites that come with the program: inside a wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    packed = package / "_tasks"
    return packed if packed.is_dir() else package.parent / "tasks"


def load_tasks(task_dirs: Sequence[Path] = ()) -> TaskRegistry:
    """Parse the built-in definitions and those in `task_dirs`.

    A folder of `task_dirs` holds YAML files or sub-folders of them, one deep; the folder that holds a file names
    its suite. Raises UserError for a folder without definitions, a faulty definition, and for a name or alias
    that two definitions claim.
    """
    found: dict[Path, str] = {}
    for file in _yaml_files(builtin_folder()):
        found.setdefault(file.resolve(), file.parent.name)
    for folder in task_dirs:
        if not folder.is_dir():
            raise UserError(f"the task folder `{folder}` is not a folder", "--task-dir", "Give an existing folder.")
        files = _yaml_files(folder)
        if not files:
            fix = "Put one NAME.yaml a task into it, or into its sub-folders."
            raise UserError(f"`{folder}` holds no task definition", "--task-dir", fix)
        for file in files:
            found.setdefault(file.resolve(), file.resolve().parent.name)
    tasks: dict[str, TaskDefinition] = {}
    for file, suite in found.items():
        task = parse_definition(file, suite)
        if task.name in tasks:
            both = f"{tasks[task.name].path} and {task.path}"
            raise UserError(f"two definitions of the task `{task.name}`", both, "Rename one of the two files.")
        tasks[task.name] = task
    _check_aliases(tasks)
    suites: dict[str, list[str]] = {}
    for name in sorted(tasks):
        suites.setdefault(tasks[name].suite, []).append(name)
    return TaskRegistry(tasks, suites)


def _check_aliases(tasks: dict[str, TaskDefinition]) -> None:
    owners: dict[str, TaskDefinition] = {}
    for task in tasks.values():
        for alias in task.aliases:
            if not NAME.fullmatch(alias):
                raise UserError(f"`{alias}` cannot be an alias", str(task.path), "It takes the signs of a task's name.")
            other = tasks.get(alias) or owners.get(alias)
            if other:
                both = f"{other.path} and {task.path}"
                raise UserError(f"`{alias}` means two tasks, {other.name} and {task.name}", both, "Rename one.")
            owners[alias] = task


def _yaml_files(folder: Path) -> list[Path]:
    """The YAML files in a folder and in its sub-folders (one deep), hidden ones left out."""
    files = [*folder.glob("*.y*ml"), *folder.glob("*/*.y*ml")] if folder.is_dir() else []
    visible = [file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts)]
    return sorted(file for file in visible if file.suffix in (".yaml", ".yml") and file.is_file())
