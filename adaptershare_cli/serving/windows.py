"""A stream of rows in windows: as many as are sorted by length together, and never more in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.whole_rows import WholeRow
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.serving.columns import Questions

if TYPE_CHECKING:
    from adaptershare_cli.serving.predictor import Outputs, Predictor, Progress

WINDOW_BATCHES, WINDOW_CHARACTERS = 64, 2**24
TOLD = 5  # faults that an error spells out


class Rejected:
    """The rows that cannot be used, at most `most`; UserError for one more, or (`at_the_end`) once all were read."""

    def __init__(self, most: int, at_the_end: bool = False) -> None:
        self.most, self.at_the_end = most, at_the_end
        self.first: list[RowFault] = []
        self.count = 0

    def add(self, fault: RowFault) -> None:
        """One more."""
        self.count += 1
        if len(self.first) <= max(TOLD, self.most):
            self.first.append(fault)
        if self.count > self.most and not self.at_the_end:
            raise self.error()

    def check(self) -> None:
        """Raise UserError where there are too many."""
        if self.count > self.most:
            raise self.error()

    def error(self) -> UserError:
        """What is wrong with them."""
        count = "A row" if self.count == 1 else f"{self.count} rows"
        more = f"; and {self.count - TOLD} more" if self.count > TOLD else ""
        fix = "Correct them" if self.at_the_end else "Correct it"
        return UserError(
            f"{count} cannot be used ({self.most} may be rejected)",
            "; ".join(fault.sentence() for fault in self.first[:TOLD]) + more,
            f"{fix}, or leave such rows out with --max-rejected {self.count if self.at_the_end else 'N'}.",
        )


def count_good(rows: Iterable[WholeRow | RowFault], questions: Questions, most: int) -> int:
    """How many of the rows can be answered. Raises UserError where more than `most` cannot, or none of several."""
    rejected = Rejected(most, at_the_end=True)
    count = sum(1 for _ in good_rows(rows, questions, rejected))
    rejected.check()
    if rejected.first and not count:
        raise UserError("No row can be used", rejected.first[0].sentence())
    return count


def good_rows(rows: Iterable[WholeRow | RowFault], questions: Questions, rejected: Rejected) -> Iterator[WholeRow]:
    """The rows that can be answered; the others are added to `rejected`."""
    for row in rows:
        fault = row if isinstance(row, RowFault) else questions.fault(row)
        if fault is not None:
            rejected.add(fault)
        elif isinstance(row, WholeRow):
            yield row


def windows(rows: Iterable[WholeRow], size: int) -> Iterator[list[WholeRow]]:
    """The rows in order, at most `size` at once, fewer where they are long."""
    window: list[WholeRow] = []
    characters = 0
    for row in rows:
        window.append(row)
        characters += sum(len(value) for value in row.values.values() if isinstance(value, str | list))
        if len(window) >= size or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def added_fields(infos: Mapping[str, TaskInfo], top_k: int | None, present: Sequence[str]) -> dict[str, pa.DataType]:
    """The columns `TASK.NAME` that predictions add, in order. Raises UserError where one is there already."""
    fields = {
        f"{task}.{name}": of
        for task, info in infos.items()
        for name, of in KINDS[info.kind].answer_fields(info, top_k).items()
    }
    if there := [name for name in fields if name in present]:
        raise UserError(f"The input has a column `{there[0]}` already", fix="Rename it, or leave it out.")
    return fields


def answered(
    predictor: Predictor,
    questions: Questions,
    window: Sequence[WholeRow],
    top_k: int | None = None,
    progress: Progress = lambda inputs: None,
    seen: Callable[[Outputs], None] = lambda outputs: None,
) -> list[WholeRow]:
    """The rows of a window with what every task says of them; `seen` gets each task's outputs."""
    found: dict[str, list[dict[str, Any]]] = {}
    for reading in questions.readings:
        rows = [reading.row(row.values) for row in window]
        for task, outputs in predictor.predict(reading.tasks, rows, progress).items():
            seen(outputs)
            found[task] = outputs.answers(top_k)
    return [
        WholeRow(
            row.line,
            row.values
            | {f"{task}.{name}": value for task in questions.infos for name, value in found[task][number].items()},
        )
        for number, row in enumerate(window)
    ]
