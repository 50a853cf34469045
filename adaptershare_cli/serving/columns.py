"""From rows of any columns to rows that tasks can answer: which column each task reads for what, and what is no row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.data.names import near_names, shortened
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.whole_rows import WholeRow
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.texts import excerpt
from adaptershare_cli.serving.rows import Row, RowCheck

OPTION = "--column"
PAIR = "text_pair"


@dataclass(frozen=True)
class Reading:
    """Tasks that read the same columns (`columns`, by role)."""

    tasks: tuple[str, ...]
    columns: Mapping[str, str]

    def row(self, values: Mapping[str, Any]) -> Row:
        """What the tasks read of a row."""
        return {role: values.get(name) for role, name in self.columns.items()}


@dataclass(frozen=True)
class Named:
    """What the user said of columns: by task ("" for all) and role the column."""

    columns: Mapping[tuple[str, str], str]

    @classmethod
    def parse(cls, text: str | None, tasks: Collection[str]) -> Named:
        """`[TASK.]ROLE=COLUMN`, comma-separated. Raises UserError for what is none."""
        return cls.of_pairs([part.partition("=")[::2] for part in filter(None, (text or "").split(","))], tasks)

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]], tasks: Collection[str]) -> Named:
        """Pairs of `[TASK.]ROLE` and COLUMN. Raises UserError for what is none."""
        found: dict[tuple[str, str], str] = {}
        roles = sorted({role for kind in KINDS.values() for role in kind.roles if role != "label"})
        for left, column in pairs:
            task, _, role = left.strip().rpartition(".")
            if not column or role not in roles or (task and task not in tasks):
                fix = f"For example {OPTION} text=body, or for one task {OPTION} TASK.text=body."
                part = f"{left}={column}" if column else left
                what = f"{part!r} is not [TASK.]ROLE=COLUMN with a ROLE of {', '.join(roles)} and a task of the call"
                raise UserError(what, OPTION, fix)
            found[task, role] = column
        return cls(found)

    def of(self, task: str, role: str) -> str | None:
        """The column that was named for a role of a task."""
        return self.columns.get((task, role), self.columns.get(("", role)))


def readings(
    infos: Mapping[str, TaskInfo],
    present: Sequence[str],
    pairs: Mapping[str, bool | None],
    named: Named,
    defined: Mapping[str, Sequence[Mapping[str, str]]],
    where: str,
) -> list[Reading]:
    """Which of the columns `present` each task reads.

    That which the user named; else those of the first source in the task's definition whose columns are all there
    (`defined`, by task the columns by role of each source); else one with the role's own name. `pairs` tells which
    tasks read pairs of texts, as far as that is known. Raises UserError where a column is missing, or a second text is
    named for a task of single ones.
    """
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for task, info in infos.items():
        columns: dict[str, str] = {}
        if pairs[task] is False and (task, PAIR) in named.columns:
            raise UserError(f"The task {task} reads single texts, no pairs", f"{OPTION} {task}.{PAIR}")
        single = {"label", PAIR} if pairs[task] is False else {"label"}
        roles = [role for role in KINDS[info.kind].roles if role not in single]
        sources = [[source.get(role) for role in roles] for source in defined.get(task, ())]
        usual = next((source for source in sources if all(name in present for name in source)), roles)
        for role, name in zip(roles, usual, strict=True):
            wanted = named.of(task, role)
            column = str(name) if wanted is None else wanted
            if column in present:
                columns[role] = column
            elif wanted is not None or role != PAIR or pairs[task]:
                written = [source[roles.index(role)] for source in sources]
                tried = [column] if wanted is not None else [*dict.fromkeys(filter(None, [*written, role]))]
                raise _missing(task, role, tried, present, where, not sources)
        groups.setdefault(tuple(columns.items()), []).append(task)
    return [Reading(tuple(tasks), dict(columns)) for columns, tasks in groups.items()]


def _missing(
    task: str, role: str, tried: Sequence[str], present: Sequence[str], where: str, undefined: bool
) -> UserError:
    """The error; `undefined`: no definition of the task is known that would name its columns."""
    one = " and no ".join(f"`{name}`" for name in tried)
    why = " (it reads pairs of texts)" if role == PAIR else ""
    definition = ", or the folder of the task's definition with --task-dir" if undefined else ""
    fix = f"{near_names(tried[0], present)}Columns there: {', '.join(present)}. "
    fix += f"Name one with {OPTION} {role}=COLUMN{definition}."
    return UserError(f"There is no column {one} for the {role} of the task {task}{why}", where, shortened(fix))


class Questions:
    """The tasks of a call with the columns that they read: checks rows before any is answered."""

    def __init__(self, infos: Mapping[str, TaskInfo], asked: Sequence[Reading], file: str) -> None:
        self.infos, self.readings, self.file = infos, asked, file
        # Tasks of one kind find the same faults in texts.
        self.checks = [
            (reading, RowCheck(info))
            for reading in asked
            for info in {infos[task].kind: infos[task] for task in reading.tasks}.values()
        ]

    def fault(self, row: WholeRow) -> RowFault | None:
        """Why a row cannot be answered by all tasks; None where it can."""
        for reading, check in self.checks:
            if wrong := check(reading.row(row.values))[1]:
                column = reading.columns.get(wrong.role, "")
                return RowFault(self.file, row.line, column, excerpt(wrong.value), wrong.reason)
        return None
