"""Definitions for files that have none: which files belong to one task, and what its definition says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptershare_cli.data.guessing import Guess
from adaptershare_cli.data.names import name_fault
from adaptershare_cli.data.sniffing import Sniffed
from adaptershare_cli.errors import UserError

ROLES = ("text", "text_pair", "label")
SHARE = "20%"  # of train, where a task has one file
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
_WORD = "|".join(_SPLITS)
_ENDS = re.compile(
    rf"^(?:(?P<name>.*[^-_. ])[-_. ]+)?(?P<split>{_WORD})$|^(?P<first>{_WORD})[-_. ]+(?P<rest>.+)$", re.I
)
_PACKED = (".gz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class Files:
    """The files of one task by split; one with a train file alone has a share of it as `dev`."""

    name: str
    splits: dict[str, Path]

    @property
    def folder(self) -> Path:
        """The folder that all of them are in, or in a folder of."""
        parents = [path.resolve().parent for path in self.splits.values()]
        shared = parents[0]
        while not all(parent.is_relative_to(shared) for parent in parents):
            shared = shared.parent
        return shared


def group_files(paths: Sequence[Path], name: str = "") -> list[Files]:
    """The files by task: those whose names differ in `train`, `dev` or `test` alone belong together.

    A file with such a word alone for a name is of the task that its folder is called by. With a `name` all are of that
    task. Raises UserError for two files of one split, a task without train, and names that no task can have.
    """
    tasks: dict[str, dict[str, Path]] = {}
    for path in paths:
        task, split = _task_and_split(path)
        splits = tasks.setdefault(name or task, {})
        if split in splits:
            fix = "Name them apart, or give them in two calls with --name."
            raise UserError(f"two files are {split} of the task `{name or task}`", f"{splits[split]}, {path}", fix)
        splits[split] = path
    for task, splits in tasks.items():
        if fault := name_fault(task):
            raise UserError(
                f"`{task}` cannot be a task's name: {fault}", str(next(iter(splits.values()))), "Give --name."
            )
        if "train" not in splits:
            if len(splits) > 1:
                raise UserError(f"the task `{task}` has no file to train on", str([*splits.values()][0]), "Name it.")
            splits["train"] = splits.pop(next(iter(splits)))
    order = ("train", "dev", "test")
    return [Files(task, {name: splits[name] for name in order if name in splits}) for task, splits in tasks.items()]


def _task_and_split(path: Path) -> tuple[str, str]:
    stem = path.name
    while Path(stem).suffix.lower() in _PACKED:
        stem = Path(stem).stem
    stem = Path(stem).stem
    found = _ENDS.match(stem)
    if found is None:
        return _task_name(stem), "train"
    name = found["name"] or found["rest"] or path.resolve().parent.name
    return _task_name(name), _SPLITS[(found["split"] or found["first"]).lower()]


def _task_name(words: str) -> str:
    """A name that a task can have, from words of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words).strip("-._").lower() or words


def draft(files: Files, table: Sniffed, guess: Guess, root: Path, schema: Path) -> str:
    """The text of the definition of a task whose train file is `table`; its paths begin at `root`."""
    scored = [split for split in files.splits if split != "train"] or ["dev"]
    lines = [f"# yaml-language-server: $schema={schema.as_uri()}", *_task_lines(guess)]
    lines += [f"report_on: [{', '.join(scored)}]", "files:", f"  reader: {table.reader}"]
    for key, value in (("encoding", table.encoding), ("delimiter", table.delimiter), ("decimal", guess.decimal)):
        lines += [f"  {key}: {json.dumps(value)}"] if value else []
    if not table.header:
        lines.append("  header: false                 # the first line is a row, and columns have numbers")
    if table.reader == "tsv" and _quoted(table):
        lines.append("  quoting: standard")
    lines.append("  splits:")
    for split, path in files.splits.items():
        lines.append(f"    {split}: {_yaml(path.resolve().relative_to(root.resolve()).as_posix())}")
    if len(files.splits) == 1:
        lines.append(f'    dev: "{SHARE}"                  # of train; all rows of one text on one side')
    lines.append("  columns:")
    lines += [f"    {role}: {_yaml(column)}" for role in ROLES if (column := getattr(guess, role))]
    return "\n".join(lines) + "\n"


def _task_lines(guess: Guess) -> list[str]:
    """Kind, labels or range, and metrics."""
    if guess.range is None:
        return [
            f"kind: {guess.kind}",
            "labels: from-train              # or a list: [first, second]",
            "metrics: [accuracy, macro_f1]   # the first is the main one; also f1 (with positive:), matthews",
        ]
    return [
        f"kind: {guess.kind}",
        f"range: [{guess.range[0]:g}, {guess.range[1]:g}]   # the lowest and the highest score that can be",
        "metrics: [pearson, spearman]    # the first is the main one",
    ]


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's texts are YAML's, too


def _quoted(table: Sniffed) -> bool:
    """Whether fields of a file stood in quotes, as spreadsheets write them: values hold what a plain line cannot."""
    return any(isinstance(value, str) and ("\n" in value or "\t" in value) for row in table.rows for value in row)


def sample_rows(table: Sniffed, guess: Guess, count: int = 3) -> list[dict[str, Any]]:
    """The first rows by role."""
    roles = {role: getattr(guess, role) for role in ROLES if getattr(guess, role)}
    return [{role: row[table.columns.index(column)] for role, column in roles.items()} for row in table.rows[:count]]
