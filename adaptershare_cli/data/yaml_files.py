"""YAML files read within bounds: no tag makes anything but text, lists and mappings, and no file fills the memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from adaptershare_cli.data.names import shortened
from adaptershare_cli.errors import UserError

_LARGEST = 2**20  # bytes
_DEEPEST = 8  # a definition needs four levels


class _Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """Every scalar stays text, so `no`, `0` and `2024-01-01` are labels as written; a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key.value}` twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def load_yaml(file: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The mapping of texts, lists and mappings that a YAML file holds, whatever tags it has.

    Raises UserError, with the line, for a file that is not YAML, holds an alias, or is too large or too deep; and,
    with the `keys` that it should have, for one that is not a mapping.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            fix = "Collect many labels with `labels: from-train`."
            raise UserError(f"the task definition is larger than {_LARGEST // 2**20} MiB", str(file), fix)
        text = data.decode("utf-8-sig")
        _check_events(text)
        values = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise UserError("the task definition cannot be read", str(file), f"{error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError("the task definition is not UTF-8", str(file), "Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or str(error)
        what = f"the task definition is not valid YAML: {problem}"
        raise UserError(shortened(what), place, "Correct that line.") from error
    if not isinstance(values, dict):
        fix = f"It begins with `{keys[0]}: …` and goes on with {', '.join(keys[1:])}."
        raise UserError("a task definition is a mapping of keys to values", str(file), fix)
    return values


def _check_events(text: str) -> None:
    """Raise YAMLError for aliases (a few of them can stand for any size) and for nesting, before values are made."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        problem = "an alias (*name) is not taken: write it out" if isinstance(event, yaml.AliasEvent) else ""
        if depth > _DEEPEST:
            problem = "it is too deeply nested"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]
