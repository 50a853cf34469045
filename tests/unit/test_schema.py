"""The JSON schema of definitions: the program writes it, all built-in tasks fit it, and faults do not."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adaptershare_cli.data.schema import definition_schema
from adaptershare_cli.data.task_file import (
    ColumnsBlock,
    FilesBlock,
    HubBlock,
    LabelsBlock,
    SplitBlock,
    SplitColumn,
    TaskFile,
    TextByRole,
)
from adaptershare_cli.data.tasks import builtin_folder
from adaptershare_cli.kinds import KINDS

SCHEMA = definition_schema()
ODD = json.loads(Path(__file__).with_name("fingerprints.json").read_text(encoding="utf-8"))["odd definitions"]
BUILTIN = sorted(builtin_folder().glob("*/*.yaml"))
TYPES: dict[str, Any] = {"string": str, "boolean": bool, "number": (int, float), "object": dict, "array": list}
MINE: dict[str, Any] = {
    "kind": "classification",
    "labels": ["no", "yes"],
    "metrics": ["accuracy"],
    "report_on": ["dev"],
    "files": {"reader": "csv", "splits": {"train": "train.csv", "dev": "dev.csv"}},
}


def accepts(schema: Any, value: Any) -> bool:
    """Whether a value is as a schema says, for the words of JSON Schema that ours has (a test looks for others)."""
    if isinstance(schema, bool):
        return schema
    types = schema.get("type", list(TYPES))
    types = types if isinstance(types, list) else [types]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not any(is_number if name == "number" else isinstance(value, TYPES[name]) for name in types):
        return False
    checks = [
        "$ref" not in schema or accepts(SCHEMA["$defs"][schema["$ref"].split("/")[-1]], value),
        "enum" not in schema or value in schema["enum"],
        "const" not in schema or value == schema["const"],
        "anyOf" not in schema or any(accepts(part, value) for part in schema["anyOf"]),
        all(accepts(part, value) for part in schema.get("allOf", ())),
        "if" not in schema or not accepts(schema["if"], value) or accepts(schema["then"], value),
    ]
    if isinstance(value, str):
        checks.append(bool(re.search(schema.get("pattern", ""), value)))
    if isinstance(value, list):
        checks.append(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)))
        checks.append(not schema.get("uniqueItems") or all(one not in value[:at] for at, one in enumerate(value)))
        checks += [accepts(schema.get("items", True), one) for one in value]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        checks += [key in value for key in schema.get("required", ())]
        checks += [accepts(known.get(key, others), one) for key, one in value.items()]
    return all(checks)


def words(schema: Any) -> set[str]:
    """All words of JSON Schema in a schema, without the names of keys that stand below `properties` and `$defs`."""
    if isinstance(schema, list):
        return set().union(*map(words, schema))
    if not isinstance(schema, dict):
        return set()
    below = [part for key, part in schema.items() if key not in ("enum", "required", "default", "type", "description")]
    inner = [p for key in ("properties", "$defs") if key in schema for p in schema[key].values()]
    outer = [part for part in below if part is not schema.get("properties") and part is not schema.get("$defs")]
    return set(schema) | set().union(set(), *map(words, inner + outer))


def as_an_editor_reads(value: Any) -> Any:
    """Texts of a definition as YAML 1.2 reads them without quotes: true and false, and numbers."""
    if isinstance(value, dict):
        return {key: as_an_editor_reads(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_an_editor_reads(one) for one in value]
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return float(value)
    except ValueError:
        return value


def test_the_file_is_what_the_program_writes() -> None:
    """If not: python -m adaptershare_cli.data.schema > tasks/schema.json."""
    assert json.loads((builtin_folder() / "schema.json").read_text(encoding="utf-8")) == SCHEMA


def test_the_check_here_knows_every_word() -> None:
    said = {"$schema", "$defs", "title", "description", "default", "properties", "then"}
    checked = {"type", "$ref", "enum", "const", "anyOf", "allOf", "if", "pattern", "required", "additionalProperties"}
    of_lists = {"items", "minItems", "maxItems", "uniqueItems"}
    assert words(SCHEMA) <= said | checked | of_lists


@pytest.mark.parametrize("model", [TaskFile, LabelsBlock, HubBlock, FilesBlock, SplitBlock, ColumnsBlock, SplitColumn])
def test_every_key_is_explained(model: Any) -> None:
    schema = SCHEMA if model is TaskFile else SCHEMA["$defs"][model.__name__]
    assert set(schema["properties"]) == set(model.model_fields)
    assert schema["additionalProperties"] is False and schema["description"]
    for key, said in schema["properties"].items():
        assert said.get("description", "").endswith("."), key
        assert "null" not in json.dumps(said)


def test_every_role_of_every_kind_can_be_written() -> None:
    assert set(TextByRole.model_fields) == {role for kind in KINDS.values() for role in kind.roles}


@pytest.mark.parametrize("file", BUILTIN, ids=lambda file: file.stem)
def test_tasks_that_come_with_the_program(file: Path) -> None:
    assert accepts(SCHEMA, yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("case", ODD, ids=lambda case: case["what"])
def test_odd_definitions_that_the_program_takes(case: dict[str, Any]) -> None:
    assert accepts(SCHEMA, as_an_editor_reads(case["definition"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"lables": ["a"]},
        {"kind": "parsing"},
        {"kind": None},
        {"labels": None},
        {"labels": ["a"]},
        {"labels": {"normalize": True}},
        {"labels": ["a", "a"]},
        {"labels": "train"},
        {"labels": ["a", " "]},
        {"metrics": ["pearson"]},
        {"metrics": []},
        {"metrics": "accuracy"},
        {"report_on": None},
        {"range": [0, 5]},
        {"kind": "regression", "labels": None, "metrics": ["pearson"]},
        {"kind": "regression", "labels": None, "metrics": ["pearson"], "range": [0, 1, 2]},
        {"kind": "regression", "labels": None, "metrics": ["pearson"], "range": [0, 5], "files.label_map": {"a": "b"}},
        {"kind": "tagging", "files.reader": "clinc"},
        {"kind": "tagging", "files.columns": {"text_pair": "a"}},
        {"files": None},
        {"hub": {"splits": {"train": "a", "dev": "b"}}},
        {"files.reader": "cvs"},
        {"files.reader": None},
        {"files.reader": "conll"},
        {"files.colums": {}},
        {"files.columns": {"txt": "a"}},
        {"files.header": "maybe"},
        {"files.quoting": "some"},
        {"files.reader": "jsonl", "files.header": False},
        {"files.reader": "clinc", "files.columns": {"text": "a"}},
        {"files.splits": {"dev": "a"}},
        {"files.splits.dev": {"path": "a", "optinal": True}},
        {"files.splits.dev": {"path": "a", "key": "b"}},
        {"files.splits.dev": {"text": "a", "label": "b"}},
        {"files.splits.dev": ["a", "a"]},
        {"files.split_column": {"values": {"train": "a"}}},
        {"files.reader": "lines", "files.split_column": "part"},
    ],
    ids=str,
)
def test_faults_that_an_editor_shows(changes: dict[str, Any]) -> None:
    definition = copy.deepcopy(MINE)
    assert accepts(SCHEMA, definition)
    for place, value in changes.items():
        *above, last = place.split(".")
        block = definition
        for key in above:
            block = block[key]
        if value is None:
            del block[last]
        else:
            block[last] = value
    assert not accepts(SCHEMA, definition)
