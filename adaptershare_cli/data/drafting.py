"""Definitions for files that have none: which files belong to one task, and what its definition says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptershare_cli.data.guessing import SPLIT_WORDS, Guess
from adaptershare_cli.data.names import name_fault
from adaptershare_cli.data.sniffing import Sniffed
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import GROUP, WEIGHT

ROLES = ("text", "text_pair", "label")
SHARE = "20%"  # of train, where a task has one file
_WORD = "|".join(SPLIT_WORDS)
_ENDS = re.compile(
    rf"^(?:(?P<name>.*[^-_. ])[-_. ]+)?(?P<split>{_WORD})$|^(?P<first>{_WORD})[-_. ]+(?P<rest>.+)$", re.I
)
_PACKED = (".gz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class Place:
    """Where a split lies: its files, and of a workbook with several sheets that one."""

    paths: tuple[Path, ...]
    sheet: str = ""

    def __str__(self) -> str:
        names = ", ".join(path.name for path in self.paths)
        return f"{names}, sheet {self.sheet}" if self.sheet else names


@dataclass(frozen=True)
class Files:
    """The places of one task by split; one with train alone has a share of it as `dev`."""

    name: str
    splits: dict[str, Place]

    @property
    def folder(self) -> Path:
        """The folder that all files are in, or in a folder of."""
        parents = [path.resolve().parent for place in self.splits.values() for path in place.paths]
        shared = parents[0]
        while not all(parent.is_relative_to(shared) for parent in parents):
            shared = shared.parent
        return shared


def group_files(paths: Sequence[Path], name: str = "") -> list[Files]:
    """The files by task: those whose names differ in `train`, `dev` or `test` alone belong together.

    A file with such a word alone for a name is of the task that its folder is called by. With a `name` all are of that
    task, and a split may have several. Raises UserError for two files of one split without one, a task without train,
    and names that no task can have.
    """
    tasks: dict[str, dict[str, list[Path]]] = {}
    for path in paths:
        task, split = _task_and_split(path)
        found = tasks.setdefault(name or task, {}).setdefault(split, [])
        found.append(path)
        if len(found) > 1 and not name:
            fix = "Give --name to make them one task with several files, or rename one."
            raise UserError(f"two files are {split} of the task `{task}`", ", ".join(map(str, found)), fix)
    for task, splits in tasks.items():
        first = str(next(iter(splits.values()))[0])
        if fault := name_fault(task):
            raise UserError(f"`{task}` cannot be a task's name: {fault}", first, "Give --name.")
        if "train" not in splits:
            if len(splits) > 1:
                raise UserError(f"the task `{task}` has no file to train on", first, "Name it.")
            splits["train"] = splits.pop(next(iter(splits)))
    return [
        Files(task, _in_order({split: Place(tuple(sorted(found))) for split, found in splits.items()}))
        for task, splits in tasks.items()
    ]


def by_sheet(files: Files, sheets: Sequence[str]) -> Files:
    """The task of a workbook whose sheets are called train, dev or test: each is a split. Else as it was."""
    found = {SPLIT_WORDS.get(sheet.strip().lower(), ""): sheet for sheet in sheets}
    if len(files.splits) > 1 or "" in found or "train" not in found or len(found) < max(2, len(sheets)):
        return files
    paths = files.splits["train"].paths
    return Files(files.name, _in_order({split: Place(paths, sheet) for split, sheet in found.items()}))


def _in_order(splits: dict[str, Place]) -> dict[str, Place]:
    return {name: splits[name] for name in ("train", "dev", "test") if name in splits}


def _task_and_split(path: Path) -> tuple[str, str]:
    stem = path.name
    while Path(stem).suffix.lower() in _PACKED:
        stem = Path(stem).stem
    stem = Path(stem).stem
    found = _ENDS.match(stem)
    if found is None:
        return _task_name(stem), "train"
    name = found["name"] or found["rest"] or path.resolve().parent.name
    return _task_name(name), SPLIT_WORDS[(found["split"] or found["first"]).lower()]


def _task_name(words: str) -> str:
    """A name that a task can have, from words of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words).strip("-._").lower() or words


def draft(files: Files, table: Sniffed, guess: Guess, root: Path, schema: Path) -> str:
    """The text of the definition of a task whose train file is `table`; its paths begin at `root`."""
    places = {**files.splits, **dict.fromkeys(guess.split_values)}
    scored = [split for split in ("dev", "test") if split in places] or ["dev"]
    lines = [f"# yaml-language-server: $schema={schema.as_uri()}", *_task_lines(guess)]
    lines += [f"report_on: [{', '.join(scored)}]", "files:", f"  reader: {table.reader}"]
    for key, value in (
        ("encoding", table.encoding),
        ("comment", table.comment),
        ("delimiter", table.delimiter),
        ("decimal", guess.decimal),
    ):
        lines += [f"  {key}: {json.dumps(value)}"] if value else []
    if table.skip_rows:
        lines.append(f"  skip_rows: {table.skip_rows}                  # above the names of the columns")
    if table.sheet and not any(place.sheet for place in files.splits.values()):
        lines.append(f"  sheet: {_yaml(table.sheet)}")
    if not table.header:
        lines.append("  header: false                 # the first line is a row, and columns have numbers")
    if table.quoting:
        lines.append(f"  quoting: {table.quoting}")
    if guess.missing:
        lines.append(f"  missing: [{', '.join(map(_yaml, guess.missing))}]")
    if guess.drop:
        lines.append("  drop: missing                 # rows that lack a value are left out, counted and kept")
    lines.append("  splits:")
    for split, place in files.splits.items():
        lines.append(f"    {split}: {_place(place, root)}")
    if len(places) == 1:
        lines.append(f'    dev: "{SHARE}"                  # of train; all rows of one text on one side')
    lines.append("  columns:")
    lines += [f"    {role}: {_yaml(column)}" for role in (*ROLES, GROUP, WEIGHT) if (column := getattr(guess, role))]
    if guess.split_values:
        values = ", ".join(f"{split}: [{', '.join(map(_yaml, of))}]" for split, of in guess.split_values.items())
        lines.append(f"  split_column: {{name: {_yaml(guess.split_column)}, values: {{{values}}}}}")
    return "\n".join(lines) + "\n"


def _task_lines(guess: Guess) -> list[str]:
    """Kind, labels or range, and metrics."""
    labels = "{normalise: true}     # or a list: {names: [first, second], normalise: true}"
    labels = labels if guess.normalise else "from-train              # or a list: [first, second]"
    if guess.metrics:
        metrics = f"metrics: [{', '.join(guess.metrics)}]   # the first is the main one"
        return [f"kind: {guess.kind}", f"labels: {labels}", metrics]
    if guess.range is None:
        return [
            f"kind: {guess.kind}",
            f"labels: {labels}",
            "metrics: [accuracy, macro_f1]   # the first is the main one; also f1 (with positive:), matthews",
        ]
    return [
        f"kind: {guess.kind}",
        f"range: [{guess.range[0]:g}, {guess.range[1]:g}]   # the lowest and the highest score that can be",
        "metrics: [pearson, spearman]    # the first is the main one",
    ]


def _place(place: Place, root: Path) -> str:
    paths = [_yaml(path.resolve().relative_to(root.resolve()).as_posix()) for path in place.paths]
    path = paths[0] if len(paths) == 1 else f"[{', '.join(paths)}]"
    return f"{{path: {path}, sheet: {_yaml(place.sheet)}}}" if place.sheet else path


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's texts are YAML's, too


def sample_rows(table: Sniffed, guess: Guess, count: int = 3) -> list[dict[str, Any]]:
    """The first rows by role."""
    roles = {role: getattr(guess, role) for role in ROLES if getattr(guess, role)}
    return [{role: row[table.columns.index(column)] for role, column in roles.items()} for row in table.rows[:count]]
