"""JSON: one list of objects, alone in its file or under keys of an object."""

from __future__ import annotations

from typing import Any

from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.names import near_names
from adaptershare_cli.data.readers.json_text import whole_json
from adaptershare_cli.data.readers.objects import Objects, rows_of_objects
from adaptershare_cli.data.readers.rows import FilesByRole, UncheckedRows, fault_in
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import excerpt

LARGEST = 256 * 2**20  # bytes; the whole file is held at once
_HEAD = 1000


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The objects of the list, counted in it from 1 (JSON may put all on one line)."""
    file = files[""]
    content = whole_json(file, LARGEST, "Give the whole JSON file; for one object a line write `reader: jsonl`.")
    items = records_of(content, spec.records, str(file.path))
    present = list(dict.fromkeys(key for value in items[:_HEAD] if isinstance(value, dict) for key in value))
    if not present:
        what = "the file holds no objects" if items else "the file holds no rows"
        raise UserError(what, str(file.path), "The reader `json` takes a list of objects.")
    return rows_of_objects(file, spec, present, _objects(file, items))


def _objects(file: DataFile, items: list[Any]) -> Objects:
    for number, value in enumerate(items, 1):
        if isinstance(value, dict):
            yield number, excerpt(value), value
        else:
            yield fault_in(file, number, excerpt(value), "is not a JSON object ({...})")


def records_of(content: Any, records: str, where: str) -> list[Any]:
    """The list under the keys that `records` names, parted by points ("": the content itself, or its only list).

    Raises UserError where there is none.
    """
    value = content
    for key in records.split(".") if records else ():
        if not isinstance(value, dict) or key not in value:
            there = list(value) if isinstance(value, dict) else []
            fix = f"{near_names(key, there)}Keys there: {', '.join(there) or 'none'}."
            raise UserError(f"`records: {records}` leads nowhere: there is no key `{key}`", where, fix)
        value = value[key]
    lists = [name for name, one in value.items() if isinstance(one, list)] if isinstance(value, dict) else []
    if not isinstance(value, list) and len(lists) == 1 and not records:
        return list(value[lists[0]])
    if not isinstance(value, list):
        fix = f"Name one with `records`: {', '.join(lists)}." if lists else "Give a list of objects."
        raise UserError("the file is no list of objects, and which of its lists is meant is not said", where, fix)
    return value
