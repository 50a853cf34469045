"""CLINC150's layout: one JSON object whose keys hold lists of [text, intent]."""

from __future__ import annotations

from collections.abc import Iterator

from adaptershare_cli.data.names import near_names
from adaptershare_cli.data.readers.json_text import whole_json
from adaptershare_cli.data.readers.rows import (
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    fault_in,
    rows_of_one_file,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import excerpt

_LARGEST = 64 * 2**20  # bytes; the whole file is held at once


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The rows of the list that the split's key names, counted in that list (JSON may put all on one line)."""
    file = files[""]
    content = whole_json(file, _LARGEST, "Give the whole JSON file.")
    if not isinstance(content, dict) or not isinstance(content.get(split.key), list):
        keys = [key for key, value in content.items() if isinstance(value, list)] if isinstance(content, dict) else []
        fix = near_names(split.key, keys) + f"Lists there: {', '.join(keys) or 'none'}."
        raise UserError(f"the file has no list under the key `{split.key}`", str(file.path), fix)

    def rows() -> Iterator[UncheckedRow | RowFault]:
        for position, item in enumerate(content[split.key]):
            if isinstance(item, list) and len(item) == 2:
                yield UncheckedRow(position + 1, position, item)
            else:
                yield fault_in(file, position + 1, excerpt(item), "is not a pair [text, intent]")

    return rows_of_one_file({"text": "text", "label": "intent"}, file, rows())
