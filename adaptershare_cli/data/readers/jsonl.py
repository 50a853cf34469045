"""JSON Lines: one JSON object a line."""

from __future__ import annotations

from itertools import chain
from typing import Any

from adaptershare_cli.data.files import (
    DataFile,
    first_lines,
    read_lines,
    without_blank_lines_at_the_end,
    without_line_end,
)
from adaptershare_cli.data.readers.json_text import json_fault, json_value
from adaptershare_cli.data.readers.objects import Objects, rows_of_objects
from adaptershare_cli.data.readers.rows import FilesByRole, UncheckedRows, fault_in
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import TOO_LONG


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The objects of the split's one file; the first lines show which keys there are."""
    file = files[""]
    present, objects = read_objects(file)
    return rows_of_objects(file, spec, present, objects)


def read_objects(file: DataFile) -> tuple[list[str], Objects]:
    """The keys of the first lines, and each line's number, text and object, or the fault of what is none."""
    lines = without_blank_lines_at_the_end(read_lines(file))
    head = first_lines(lines)
    looked_at = [_object(text) for _, text in head]
    present = list(dict.fromkeys(key for value, reason in looked_at if not reason for key in value))
    if not present:
        wrong = f" (line {head[0][0]} {looked_at[0][1] or 'has no key'})" if head else ""
        fix = "The reader `jsonl` takes one JSON object a line"
        fix += (
            ", not one list of them: that is `reader: json`."
            if head and (head[0][1] or "").lstrip().startswith("[")
            else "."
        )
        raise UserError(f"the file holds no rows{wrong}", str(file.path), fix)

    def objects() -> Objects:
        for number, text in chain(head, lines):
            value, reason = _object(text)
            line = without_line_end(text or "")
            yield fault_in(file, number, line, reason) if reason else (number, line, value)

    return present, objects()


def _object(line: str | None) -> tuple[Any, str]:
    """The JSON object of a line (None if that is too long), or what is wrong with it."""
    if line is None:
        return None, TOO_LONG
    try:
        value = json_value(line)
    except (ValueError, RecursionError) as error:
        return None, json_fault(error) if line.strip() else "is an empty line"
    return value, "" if isinstance(value, dict) else "is not a JSON object ({...})"
