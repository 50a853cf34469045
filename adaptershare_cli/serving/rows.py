"""Rows without labels as tasks are asked them. No torch here: rows are checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.values import Allowed, Wrong

Row = Mapping[str, Any]  # by role


class RowCheck:
    """Whether a task can answer rows, which have no label."""

    def __init__(self, info: TaskInfo) -> None:
        self.info, self.kind = info, KINDS[info.kind]
        self.check = self.kind.row_check(Allowed(info.labels, range=info.range))

    def __call__(self, row: Row) -> tuple[dict[str, Any], Wrong | None]:
        """The row as it is kept, with a label that passes for one, and its first fault."""
        checked = {**row, "label": self.kind.blank_label(self.info, row)}
        return checked, self.check(checked)
