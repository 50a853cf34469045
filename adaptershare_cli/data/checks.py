"""The checks that every row passes, whichever reader it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.readers.rows import RowFault, UncheckedRows
from adaptershare_cli.data.source_spec import SourceSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import GROUP, ID, TEXT_ROLES, WEIGHT
from adaptershare_cli.kinds.rows.texts import excerpt
from adaptershare_cli.kinds.rows.values import Allowed, Wrong, read_number

DROPPED = "rows that lack a value"
_CHUNK_ROWS, _CHUNK_SIZE = 5000, 4 * 2**20  # rows and characters that are held before they become Arrow's


@dataclass
class _Kept:
    """The rows that passed: small chunks of Python values on their way to a table."""

    schema: pa.Schema
    chunks: list[pa.RecordBatch] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    size: int = 0  # characters in `rows`
    total: int = 0  # characters in all

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append([row.get(name) for name in self.schema.names])
        for role in TEXT_ROLES:
            if value := row.get(role):
                self.size += _length(value)
        if len(self.rows) >= _CHUNK_ROWS or self.size >= _CHUNK_SIZE:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            columns = [list(column) for column in zip(*self.rows, strict=True)]
            arrays = [pa.array(values, kind.type) for values, kind in zip(columns, self.schema, strict=True)]
            self.chunks.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self.total += self.size
        self.rows, self.size = [], 0

    def table(self) -> pa.Table:
        self.flush()
        return pa.Table.from_batches(self.chunks, self.schema)


class RowCheck:
    """Checks the rows of readers against a definition and makes them a table."""

    def __init__(self, definition: TaskDefinition, spec: SourceSpec, labels: tuple[str, ...]) -> None:
        self.kind = KINDS[definition.kind]
        metrics = tuple(self.kind.metric(name) for name in definition.metrics)
        allowed = Allowed(
            labels,
            dict(spec.label_map),
            definition.labels_from_train,
            metrics,
            definition.range,
            spec.decimal,
            definition.normalise,
        )
        self.taken = allowed.taken
        self.check = self.kind.row_check(allowed)
        self.pair_may_be_absent = spec.pair_if_present
        self.missing, self.drops = frozenset(spec.missing), spec.drop == "missing"
        self.dropped: list[RowFault] = []  # rows that lack a value, where these are to be left out

    def table(self, unchecked: UncheckedRows, faults: list[RowFault], most: int) -> pa.Table:
        """The rows that can be used, in the schema of the task's kind; the faults of the others go to `faults`.

        Reading ends once there are more than `most` faults. Where the definition does not ask for a text_pair, a
        column without any value is taken as not there; in a column that has some, each row needs one.
        """
        kept = _Kept(with_extras(self.kind.downloaded_schema(), unchecked.columns))
        single: list[tuple[str, int]] = []  # files and lines of the rows that have no text_pair
        for item in unchecked.rows:
            if len(faults) > most:
                break
            if isinstance(item, RowFault):
                faults.append(item)
                continue
            line, position, values, files = item[0], item[1], item[2], item[3] or unchecked.files
            row: dict[str, Any] = dict(zip(unchecked.columns, values, strict=True))
            if self.missing:
                row = {role: None if self._is_missing(value) else value for role, value in row.items()}
            no_pair = "text_pair" in row and self.pair_may_be_absent and _is_absent(row["text_pair"])
            if no_pair:
                del row["text_pair"]
            if self.drops and (
                lacks := next((role for role in row if role not in (ID, GROUP) and _is_absent(row[role])), "")
            ):
                what = "is missing, so the row is left out"
                self.dropped.append(RowFault(files[lacks], line, unchecked.columns[lacks], "", what))
                unchecked.left_out[DROPPED] += 1
                continue
            if wrong := self.check(row) or _extras_fault(row):
                place = line + wrong.word if unchecked.word_per_line else line
                file, column = files[wrong.role], unchecked.columns[wrong.role]
                faults.append(RowFault(file, place, column, excerpt(wrong.value), wrong.reason))
                continue
            if no_pair:
                single.append((files["text_pair"], line))
            kept.add({**row, "row": position})
            if kept.total > unchecked.most_characters:
                what = f"the texts take {kept.total // 2**20} MiB, far more than their file"
                raise UserError(what, files["text"], "Is it the right file? Save it as JSONL if it is.")
        return _all_pairs_or_none(kept.table(), unchecked, single, faults)

    def _is_missing(self, value: Any) -> bool:
        return isinstance(value, str) and value.strip() in self.missing


def _length(value: str | list[str]) -> int:
    """Characters of a text, or of all texts of a list."""
    return len(value) if isinstance(value, str) else sum(map(len, value))


def _is_absent(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def with_extras(schema: pa.Schema, roles: Iterable[str]) -> pa.Schema:
    """The schema of downloaded rows with what else they say: id, group and weight, if among their roles."""
    extras = {
        ID: pa.field(ID, pa.string()),
        GROUP: pa.field(GROUP, pa.string()),
        WEIGHT: pa.field(WEIGHT, pa.float64(), nullable=False),
    }
    return pa.schema([*schema, *(field for role, field in extras.items() if role in roles)])


def _extras_fault(row: dict[str, Any]) -> Wrong | None:
    """What is wrong with a row's id, group or weight; they become texts, None for none, and a number."""
    for role in (ID, GROUP):
        if role in row:
            value = row[role]
            if isinstance(value, dict | list):
                return Wrong(role, value, "is neither text nor a number")
            row[role] = None if _is_absent(value) else str(value).strip()
    if WEIGHT in row:
        value, reason = read_number(row[WEIGHT], (0, math.inf))
        if reason:
            return Wrong(WEIGHT, value, "is below 0" if reason.startswith("is outside") else reason)
        row[WEIGHT] = value
    return None


def _all_pairs_or_none(
    table: pa.Table, unchecked: UncheckedRows, single: Sequence[tuple[str, int]], faults: list[RowFault]
) -> pa.Table:
    """Without the rows that lack a text_pair where others have one."""
    if not single or len(single) == table.num_rows:
        return table
    name = unchecked.columns["text_pair"]
    faults += [RowFault(file, line, name, "", "is missing, while other rows have one") for file, line in single]
    return table.filter(pc.is_valid(table["text_pair"]))
