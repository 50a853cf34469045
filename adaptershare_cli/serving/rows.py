"""Rows without labels as tasks are asked them. No torch here: rows are checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.values import Allowed, Wrong

Row = Mapping[str, Any]  # by role


@dataclass(frozen=True)
class Call:
    """Rows, all with values for the same roles, and the tasks that are to answer each of them."""

    tasks: tuple[str, ...]
    rows: Sequence[Row]

    @cached_property
    def asks(self) -> frozenset[str]:
        """The tasks as a set."""
        return frozenset(self.tasks)


@dataclass(frozen=True)
class Question:
    """What `tasks` are to say of `size` rows: a call for each set of tasks that read the same of them."""

    tasks: tuple[str, ...]
    size: int
    calls: Sequence[Call]
    top_k: int | None = None

    @cached_property
    def characters(self) -> int:
        """Those of all that is read."""
        return sum(_characters(value) for call in self.calls for row in call.rows for value in row.values())


def _characters(value: str | list[str] | None) -> int:
    return sum(map(len, value)) if value else 0


class RowCheck:
    """Whether a task can answer rows, which have no label."""

    def __init__(self, info: TaskInfo) -> None:
        self.info, self.kind = info, KINDS[info.kind]
        self.check = self.kind.row_check(Allowed(info.labels, range=info.range))

    def __call__(self, row: Row) -> tuple[dict[str, Any], Wrong | None]:
        """The row as it is kept, with a label that passes for one, and its first fault."""
        checked = {**row, "label": self.kind.blank_label(self.info, row)}
        return checked, self.check(checked)
