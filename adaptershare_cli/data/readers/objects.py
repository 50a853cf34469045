"""Rows that are JSON objects, whatever file they stand in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.readers.rows import (
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_name,
    fault_in,
    rows_of_one_file,
)
from adaptershare_cli.data.source_spec import SourceSpec

Objects = Iterator[tuple[int, str, dict[str, Any]] | RowFault]  # each one's number, text and object, or its fault
_ABSENT = object()


def rows_of_objects(file: DataFile, spec: SourceSpec, present: Sequence[str], objects: Objects) -> UncheckedRows:
    """The rows of a file's objects, of which the first have the keys that are `present`."""
    inside = [str(name) for _, name in spec.columns if name not in present and _first(str(name)) in present]
    known = [*present, *(name for name in inside if "." in name)]
    columns = {role: known[index] for role, index in columns_by_name(known, spec, str(file.path)).items()}
    if spec.pair_if_present:  # its key may come late, or not in every row
        columns = {role: columns.get(role, str(name)) for role, name in spec.columns}
    needed = [name for role, name in columns.items() if role != "text_pair" or not spec.pair_if_present]

    def rows() -> Iterator[UncheckedRow | RowFault]:
        for position, item in enumerate(objects):
            if isinstance(item, RowFault):
                yield item
                continue
            number, text, value = item
            absent = next((name for name in needed if _at(value, name) is _ABSENT), "")
            if absent:
                yield fault_in(file, number, text, f"has no key `{absent}`", absent)
            else:
                found = [_at(value, name) for name in columns.values()]
                yield UncheckedRow(number, position, [None if one is _ABSENT else one for one in found])

    return rows_of_one_file(columns, file, rows())


def _first(name: str) -> str:
    return name.split(".")[0]


def _at(value: Any, name: str) -> Any:
    """What stands under a key, or, as in `review.body`, under keys within keys; `_ABSENT` where nothing does."""
    if name in value:
        return value[name]
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value
