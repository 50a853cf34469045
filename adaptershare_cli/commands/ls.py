"""`ls`: the runs of a workspace at a glance, newest first. Reads what they say of themselves, and no other bytes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from statistics import fmean
from typing import Any

from rich.table import Table
from rich.text import Text

from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.choose import all_runs, matches
from adaptershare_cli.runs.results import main_scores
from adaptershare_cli.screen import Screen
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.disk import folder_bytes
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace

SHOWN_TASKS = 6
_AGES = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Listed:
    """A run as it is listed; of one that cannot be read only what its folder says, and the `fault`."""

    run: Artefact
    record: RunRecord | None
    score: float | None  # mean over its tasks of their main metrics
    bytes: int
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        record = self.record
        return {
            "name": self.run.label,
            "path": str(self.run.path),
            "method": record.method if record else None,
            "tasks": list(record.tasks) if record else None,
            "seed": record.seed if record else None,
            "score": self.score,
            "bytes": self.bytes,
            "made": datetime.fromtimestamp(self.run.made / 1e9, UTC).isoformat(timespec="seconds"),
            "fault": self.fault,
        }


def list_runs(
    workspace: Workspace, words: Sequence[str] = (), methods: str | None = None, tasks: str | None = None
) -> list[Listed]:
    """The runs that any of the `words` names (all without), newest first.

    `methods` are names or globs, comma-separated, of which one must fit; of those of `tasks` each must fit a task of
    the run. A run that cannot be read is listed where only words are given, or nothing.
    """
    runs, faults = all_runs(workspace)
    named = [run for run in reversed(runs) if not words or any(matches(run, word) for word in words)]
    listed = [_listed(run, faults.get(run.path)) for run in named]
    return [found for found in listed if _fits(found, _parts(methods), _parts(tasks))]


def _listed(run: Artefact, fault: UserError | None) -> Listed:
    size = folder_bytes(run.path)
    try:
        if fault is not None:
            raise fault
        scores = main_scores(run)
        return Listed(run, RunRecord.of(run), fmean(scores.values()) if scores else None, size)
    except UserError as error:
        return Listed(run, None, None, size, error.what.partition(" is damaged: ")[2] or error.what)


def _parts(spec: str | None) -> list[str]:
    return [word for part in (spec or "").split(",") if (word := part.strip())]


def _fits(found: Listed, methods: Sequence[str], tasks: Sequence[str]) -> bool:
    if found.record is None:
        return not methods and not tasks
    method, own = found.record.method, found.record.tasks
    return (not methods or _any_fits([method], methods)) and all(_any_fits(own, [word]) for word in tasks)


def _any_fits(names: Iterable[str], words: Iterable[str]) -> bool:
    return any(fnmatchcase(name, word) for name in names for word in words)


def print_runs(screen: Screen, listed: Sequence[Listed]) -> None:
    """A line a run, and one that sums up."""
    table = Table()
    for column in ("run", "method", "seed", "tasks", "score", "size", "age"):
        table.add_column(column, justify="right" if column in ("seed", "score", "size", "age") else "left",
                         overflow="fold")  # fmt: skip
    now = time.time()
    for found in listed:
        record, label = found.record, Text(found.run.label)
        end = [size_text(found.bytes), age_text(now - found.run.made / 1e9)]
        if record is None:
            table.add_row(label, Text("damaged", style="red"), "", Text(found.fault), "", *end)
            continue
        score = "" if found.score is None else f"{100 * found.score:.1f}"
        table.add_row(label, record.method, str(record.seed), Text(_tasks_text(record.tasks)), score, *end)
    if listed:
        screen.table(table)
    runs = "1 run" if len(listed) == 1 else f"{len(listed)} runs"
    screen.line(f"{runs}; {size_text(sum(found.bytes for found in listed))}")


def _tasks_text(tasks: Sequence[str]) -> str:
    more = len(tasks) - SHOWN_TASKS
    return ", ".join(tasks) if more <= 1 else f"{', '.join(tasks[:SHOWN_TASKS])} and {more} more"


def age_text(seconds: float) -> str:
    """How long ago, in the largest unit of which there are two, or else the next smaller one."""
    for unit, size in _AGES:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "now"


def size_text(count: float) -> str:
    """Bytes in a unit that a person reads, in powers of 1000."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes any count")
