"""The checks that every row passes, whichever reader it came from."""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli import schemas
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.files import LONGEST_ROW, TOO_LONG
from adaptershare_cli.data.names import excerpt, folded, is_visible, label_fault
from adaptershare_cli.data.readers.rows import RowFault, UncheckedRows
from adaptershare_cli.data.source_spec import SourceSpec
from adaptershare_cli.data.spans import is_span_label, is_span_metric
from adaptershare_cli.data.words import split_words
from adaptershare_cli.errors import UserError

_CHUNK_ROWS, _CHUNK_SIZE = 5000, 4 * 2**20  # rows and characters that are held before they become Arrow's
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_SHOWN_WORDS = 20
_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


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
        self.size += len(row.get("text_pair") or "")
        self.size += len(row["text"]) if isinstance(row["text"], str) else sum(map(len, row["text"]))
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


class Wrong(NamedTuple):
    """A row's first fault; `word` is the place in its sentence of the word that has it."""

    role: str
    value: Any
    reason: str
    word: int = 0


class RowCheck:
    """Checks raw rows against a definition and makes them a table."""

    def __init__(self, definition: TaskDefinition, spec: SourceSpec, labels: tuple[str, ...]) -> None:
        self.kind = definition.kind
        # Labels of words that train never has are let through: a sentence is not to be lost for one of them.
        self.may_be_new = definition.labels_from_train and definition.kind == "tagging"
        self.spans = any(map(is_span_metric, definition.metrics))
        self.range = definition.range
        self.names = dict(spec.label_map)
        self.labels = frozenset(labels)
        self.alike = {folded(label): label for label in labels}
        self.pair_may_be_absent = spec.pair_if_present
        told = ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
        seen = "that train has" if definition.labels_from_train else ""
        self.no_label = f"is not one of the labels {seen}".rstrip() + f" ({told})"

    def table(self, raw: UncheckedRows, faults: list[RowFault], most: int) -> pa.Table:
        """The rows that can be used, as a table of `schemas.downloaded`; the faults of the others go to `faults`.

        Reading ends once there are more than `most` faults. Where the definition does not ask for a text_pair, a
        column without any value is taken as not there; in a column that has some, each row needs one.
        """
        kept = _Kept(schemas.downloaded(self.kind))
        single = array("q")  # lines of the rows that have no text_pair
        for item in raw.rows:
            if len(faults) > most:
                break
            if isinstance(item, RowFault):
                faults.append(item)
                continue
            line, position, values = item
            row: dict[str, Any] = dict(zip(raw.columns, values, strict=True))
            no_pair = "text_pair" in row and self.pair_may_be_absent and _is_absent(row["text_pair"])
            if no_pair:
                del row["text_pair"]
            wrong = self._check_words(row) if self.kind == "tagging" else self._check(row)
            if wrong:
                place = line + wrong.word if raw.word_per_line else line
                faults.append(
                    RowFault(raw.files[wrong.role], place, raw.columns[wrong.role], excerpt(wrong.value), wrong.reason)
                )
                continue
            if no_pair:
                single.append(line)
            kept.add({**row, "row": position})
            if kept.total > raw.most_characters:
                what = f"the texts take {kept.total // 2**20} MiB, far more than their file"
                raise UserError(what, raw.files["text"], "Is it the right file? Save it as JSONL if it is.")
        return _all_pairs_or_none(kept.table(), raw, single, faults)

    def _check(self, row: dict[str, Any]) -> Wrong | None:
        """A row's first fault, if it has one; its label becomes what is kept."""
        for role in ("text", "text_pair"):
            if role in row and (reason := text_fault(row[role])):
                return Wrong(role, row[role], reason)
        row["label"], reason = self._number(row["label"]) if self.kind == "regression" else self._label(row["label"])
        return Wrong("label", row["label"], reason) if reason else None

    def _check_words(self, row: dict[str, Any]) -> Wrong | None:
        """The same for a sentence: lists, or texts of as many words as labels, each of which passes."""
        for role in ("text", "label"):
            if isinstance(row[role], str):
                row[role] = split_words(row[role])
            if not isinstance(row[role], list):
                return Wrong(role, row[role], text_fault(row[role]).replace("not text", "not a list"))
        words, labels = row["text"], row["label"]
        if not words:
            return Wrong("text", "", "holds no word")
        if len(words) != len(labels):
            value = " ".join(map(excerpt, labels[:_SHOWN_WORDS]))
            return Wrong("label", value, f"has {_count(labels, 'label')} for {_count(words, 'word')}")
        if sum(len(word) for word in words if isinstance(word, str)) > LONGEST_ROW:
            return Wrong("text", words[0], TOO_LONG)
        row["label"] = []
        for place, (word, label) in enumerate(zip(words, labels, strict=True)):
            if reason := text_fault(word):
                return Wrong("text", word, f"{reason} (word {place + 1} of its sentence)", place)
            named, reason = self._label(label)
            if reason:
                return Wrong("label", label, f"{reason} (word {place + 1} of its sentence)", place)
            row["label"].append(named)
        return None

    def _label(self, raw: Any) -> tuple[Any, str]:
        if isinstance(raw, bool):
            raw = "true" if raw else "false"  # as JSON writes them
        elif isinstance(raw, int):
            raw = str(raw)
        reason = "is neither text nor a whole number" if isinstance(raw, float | Decimal) else text_fault(raw)
        if reason:
            return raw, reason
        label = self.names.get(raw.strip(), raw.strip())
        if label in self.labels:
            return label, ""
        near = self.alike.get(folded(label))
        if not self.labels or (self.may_be_new and not near):
            no_span = "is no label of a span (O, or B-, I-, E-, S- before a name)"
            return label, label_fault(label) or (no_span if self.spans and not is_span_label(label) else "")
        return raw, self.no_label + (f", but `{near}` in all but case, white space or Unicode form" if near else "")

    def _number(self, raw: Any) -> tuple[Any, str]:
        if isinstance(raw, str) and not _NUMBER.fullmatch(raw):
            finite = raw.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity")
            return raw, "is not a number" if finite else "is not a finite number"
        try:
            number = math.nan if raw is None or isinstance(raw, bool) else float(raw)
        except (OverflowError, TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            is_number = isinstance(raw, float | int | str) and not isinstance(raw, bool)
            return raw, "is not a finite number" if is_number else "is not a number"
        low, high = self.range or (-math.inf, math.inf)
        return (number, "") if low <= number <= high else (raw, f"is outside the range {low:g} to {high:g}")


def text_fault(raw: Any) -> str:
    """Why a value cannot be a text; "" if it can."""
    if not isinstance(raw, str):
        return "is missing" if raw is None else f"is not text but {_TYPES.get(type(raw), type(raw).__name__)}"
    if len(raw) > LONGEST_ROW:
        return TOO_LONG
    if "\0" in raw:
        return "holds a NUL byte"
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            return "is not valid UTF-8"
    if is_visible(raw):
        return ""
    return "holds no visible character" if raw.strip() else "is empty"


def _count(items: list[Any], name: str) -> str:
    return f"{len(items)} {name}" if len(items) == 1 else f"{len(items)} {name}s"


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _all_pairs_or_none(table: pa.Table, raw: UncheckedRows, single: array, faults: list[RowFault]) -> pa.Table:
    """Without the rows that lack a text_pair where others have one."""
    if not single or len(single) == table.num_rows:
        return table
    file, name = raw.files["text_pair"], raw.columns["text_pair"]
    faults += [RowFault(file, line, name, "", "is missing, while other rows have one") for line in single]
    return table.filter(pc.is_valid(table["text_pair"]))
