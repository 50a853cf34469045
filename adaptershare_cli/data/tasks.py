"""The tasks that `--tasks` selects from: those that come with the program and a user's own in `--task-dir`.

Nothing heavy is imported here (no torch, datasets or Arrow), so that help and completion stay quick.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from adaptershare_cli.data.definition import TaskDefinition, parse_definition
from adaptershare_cli.data.files import is_folder
from adaptershare_cli.data.names import name_fault, near_names
from adaptershare_cli.errors import UserError

OWN_FILES = "`adaptershare init FILES` makes tasks, which --task-dir FOLDER names."


@dataclass(frozen=True)
class TaskRegistry:
    """All known tasks by name, and the suites (folder name to sorted task names).

    `faults` holds, by name or alias, the error of each one that cannot be used; it is raised when that is asked for.
    """

    tasks: dict[str, TaskDefinition]
    suites: dict[str, list[str]]
    faults: dict[str, UserError] = field(default_factory=dict)

    def select(self, spec: str) -> list[TaskDefinition]:
        """The tasks that `spec` names: names, aliases, suites and globs over names, separated by commas.

        The written order is kept, suites and globs expand in sorted order, repeats are dropped. A task's name
        goes before an equal suite name. Raises UserError for an empty or unknown selection, and for a task whose
        definition is faulty.
        """
        tokens = [token for token in (part.strip() for part in spec.split(",")) if token]
        if not tokens:
            raise UserError("no task is selected", "--tasks", self._suites_line())
        chosen = {name: token for token in tokens for name in self._expand(token)}
        for name, token in chosen.items():
            if error := self.faults.get(name):
                leave = f" To go on without it, name the other tasks instead of `{token}`." if name != token else ""
                raise UserError(error.what, error.where, error.fix + leave)
        return [self.tasks[name] for name in chosen]

    def _expand(self, token: str) -> list[str]:
        if token in self.tasks or token in self.faults:
            return [token]
        for task in self.tasks.values():
            if token in task.aliases:
                return [task.name]
        if token in self.suites:
            return self.suites[token]
        names = sorted({*self.tasks, *self.faults})
        if any(sign in token for sign in "*?["):
            found = [name for name in names if fnmatch.fnmatchcase(name, token)]
            if found:
                return found
            raise UserError(f"no task's name matches `{token}`", "--tasks", self._suites_line())
        known = [*names, *self.suites, *(alias for task in self.tasks.values() for alias in task.aliases)]
        fix = f"{near_names(token, known)}{self._suites_line()} Of your own files {OWN_FILES}"
        raise UserError(f"unknown task `{token}`", "--tasks", fix)

    def _suites_line(self) -> str:
        marked = {
            suite: [f"{name} (faulty)" if name in self.faults else name for name in names]
            for suite, names in sorted(self.suites.items())
        }
        lines = [f"{suite} ({', '.join(names)})" for suite, names in marked.items()]
        return "Suites: " + "; ".join(lines) + "." if lines else "No tasks are installed: give --task-dir FOLDER."


def builtin_folder() -> Path:
    """The folder of the suites that come with the program: inside a wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    packed = package / "_tasks"
    return packed if packed.is_dir() else package.parent / "tasks"


def load_tasks(task_dirs: Sequence[Path] = ()) -> TaskRegistry:
    """Parse the built-in definitions and those in `task_dirs`.

    A folder of `task_dirs` holds YAML files or sub-folders of them, one deep; the folder that holds a file names
    its suite. A definition that is faulty, and a name or alias that two of them claim, stand in `faults` and leave
    the others usable. Raises UserError for a folder without definitions.
    """
    builtin = {file.resolve(): file.parent.name for file in _yaml_files(builtin_folder())}
    found = dict(builtin)
    for folder in task_dirs:
        if not is_folder(folder):
            raise UserError(f"the task folder `{folder}` is not a folder", "--task-dir", "Give an existing folder.")
        files = _yaml_files(folder)
        if not files:
            fix = f"Put one NAME.yaml a task into it, or into its sub-folders; {OWN_FILES}"
            raise UserError(f"`{folder}` holds no task definition", "--task-dir", fix)
        for file in files:
            found.setdefault(file.resolve(), file.resolve().parent.name)
    tasks: dict[str, TaskDefinition] = {}
    faults: dict[str, UserError] = {}
    suites: dict[str, set[str]] = {}
    owners: dict[str, Path] = {}  # names that file systems may take for one are one
    for file, suite in found.items():
        suites.setdefault(suite, set()).add(file.stem)
        other = owners.setdefault(file.stem.lower(), file)
        try:
            if other != file:
                what = f"two definitions of the task `{file.stem}`"
                raise UserError(what, f"{other} and {file}", "Rename one of the two files.")
            tasks[file.stem] = (_parse_builtin if file in builtin else parse_definition)(file, suite)
        except UserError as error:
            faults[file.stem] = error
    for name in faults:
        tasks.pop(name, None)
    _check_aliases(tasks, faults)
    return TaskRegistry(tasks, {suite: sorted(names) for suite, names in suites.items()}, faults)


@cache  # what comes with the program does not change while it runs
def _parse_builtin(file: Path, suite: str) -> TaskDefinition:
    return parse_definition(file, suite)


def _check_aliases(tasks: dict[str, TaskDefinition], faults: dict[str, UserError]) -> None:
    """Move tasks whose alias cannot be one from `tasks` to `faults`; an alias that two claim is a fault of its own."""
    owners: dict[str, TaskDefinition] = {}
    for task in list(tasks.values()):
        for alias in task.aliases:
            other = tasks.get(alias) or owners.setdefault(alias, task)
            fault = name_fault(alias)
            if fault:
                error = UserError(f"`{alias}` cannot be an alias: {fault}", str(task.path), "Rename it.")
            elif other is not task:
                what = f"`{alias}` means two tasks, {other.name} and {task.name}"
                error = UserError(what, f"{other.path} and {task.path}", "Rename one.")
                if alias not in tasks:
                    faults[alias] = error
            else:
                continue
            faults[task.name] = error
            tasks.pop(task.name, None)


def _yaml_files(folder: Path) -> list[Path]:
    """The YAML files in a folder and in its sub-folders (one deep), hidden ones left out."""
    files = [*folder.glob("*.y*ml"), *folder.glob("*/*.y*ml")] if folder.is_dir() else []
    visible = [file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts)]
    return sorted(file for file in visible if file.suffix in (".yaml", ".yml") and file.is_file())
