"""The JSON schema of task definitions, by which editors complete and check them as they are written.

`python -m adaptershare_cli.data.schema > tasks/schema.json` writes it anew; a test tells when that is due.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from adaptershare_cli.data.readers import OPTIONS, READERS
from adaptershare_cli.data.task_file import ColumnsBlock, FilesBlock, SplitBlock, TaskFile, TextByRole, Written
from adaptershare_cli.kinds import KINDS, of_one_label
from adaptershare_cli.kinds.base import EXTRAS, Kind
from adaptershare_cli.kinds.metrics import own

_DRAFT = "http://json-schema.org/draft-07/schema#"  # the one that editors' YAML extensions know best


class _WithoutNull(GenerateJsonSchema):
    """A key may be left out, but never be null; and its name needs no title."""

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        found = super().default_schema(schema)
        return {key: value for key, value in found.items() if key != "default" or isinstance(value, bool)}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def definition_schema() -> dict[str, Any]:
    """The schema of a definition: each key by itself, and which keys go with a kind of task and with a reader."""
    schema = TaskFile.model_json_schema(schema_generator=_WithoutNull)
    schema["anyOf"] = [{"required": [source]} for source in ("hub", "files", "embedded")]
    schema["allOf"] = [_where("kind", [name], _rules_of(kind)) for name, kind in KINDS.items()]
    schema["$defs"][FilesBlock.__name__]["allOf"] = [
        *(_where("reader", _without(option), {"properties": {option: False}}) for option in OPTIONS),
        *(_where("reader", [name], _rules_of_splits(reader.splits)) for name, reader in READERS.items()),
    ]
    return {"$schema": _DRAFT, **schema}


def _where(key: str, values: list[str], rules: dict[str, Any]) -> dict[str, Any]:
    """Rules for a mapping in which a key has one of these values."""
    return {"if": {"properties": {key: {"enum": values}}, "required": [key]}, "then": rules}


def _rules_of(kind: Kind) -> dict[str, Any]:
    traits = {"labels": kind.labelled, "range": kind.ranged}
    needed = [key for key, has in traits.items() if has]
    traits["positive"] = of_one_label(kind.metric_names)
    refused: dict[str, Any] = {key: False for key, has in traits.items() if not has}
    rows = "words" if "text" in kind.listed else "texts"
    readers = [name for name, reader in READERS.items() if rows in reader.rows]
    block: dict[str, Any] = {"columns": {"properties": _refused(ColumnsBlock, [*kind.roles, *EXTRAS])}}
    if kind.ordered:
        refused["labels"] = {"type": ["array", "object"]}
    if not kind.labelled:
        block["label_map"] = False
    files = {"properties": {"reader": {"enum": readers}, **block}}
    blocks = {"hub": {"properties": block}, "files": files, "embedded": files}
    of_own_file = {"pattern": rf"{re.escape(own.SIGN)}\w+$"}
    metrics = {"items": {"anyOf": [{"enum": list(kind.metric_names)}, of_own_file]}}
    return {"required": needed, "properties": {**refused, "metrics": metrics, **blocks}}


def _without(option: str) -> list[str]:
    """The readers that do not take an option."""
    return [name for name, reader in READERS.items() if option not in reader.options]


def _rules_of_splits(form: str) -> dict[str, Any]:
    """What a split's mapping may hold in each form of `Reader.splits`."""
    more = {
        "file": [],
        "file per role": list(TextByRole.model_fields),
        "key in file": ["key"],
        "sheet in file": ["sheet"],
    }
    split = {"properties": _refused(SplitBlock, ["path", "optional", *more.get(form, [])])}
    return {"properties": {"splits": {"additionalProperties": split}}}


def _refused(block: type[Written], known: Iterable[str]) -> dict[str, Any]:
    """A schema for all keys of a mapping but those `known`: none of them may be there."""
    return {key: False for key in block.model_fields if key not in known}


if __name__ == "__main__":
    print(json.dumps(definition_schema(), indent=2, ensure_ascii=False))
