"""YAML files read within bounds, and their mappings as typed values whose errors name file and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from adaptershare_cli.errors import UserError

_LARGEST = 2**20  # bytes
_DEEPEST = 8  # a definition needs four levels
_MESSAGE = 500  # characters


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
    """The mapping of texts, lists and mappings that a YAML file holds; `keys` are told where it holds none.

    Nothing else is constructed, whatever tags it has. Raises UserError, with the line, for a file that is no YAML,
    holds an alias, or is too large or too deep.
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
        raise UserError(_cut(what), place, "Correct that line.") from error
    if not isinstance(values, dict):
        fix = f"It begins with `{keys[0]}: …` and goes on with {', '.join(keys[1:])}."
        raise UserError("a task definition is a mapping of keys to values", str(file), fix)
    return values


def _cut(message: str) -> str:
    """A message that a file's own words cannot make endless."""
    return message if len(message) <= _MESSAGE else message[:_MESSAGE] + "…"


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


class Block:
    """One mapping of a definition: checks its keys and gives typed values, naming file and key in errors."""

    def __init__(self, file: Path, prefix: str, values: Any, allowed: Iterable[str]) -> None:
        self.file, self.prefix, self.values = file, prefix, values
        if not isinstance(values, dict):
            self.fail(prefix, "must be a mapping of keys to values")
        known = list(allowed)
        for key in values:
            if key not in known:
                fix = f"{near_names(key, known)}Known: {', '.join(known)}."
                raise self.error(f"unknown key `{self.name(key)}`", fix)

    def name(self, key: str) -> str:
        return f"{self.prefix}.{key}" if self.prefix and key != self.prefix else key

    def error(self, what: str, fix: str = "") -> UserError:
        return UserError(_cut(what), str(self.file), fix)

    def fail(self, key: str, what: str, fix: str = "") -> Any:
        raise self.error(f"`{self.name(key)}` {what}", fix or "Correct the definition.")

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str, default: str | None = None) -> str:
        if key not in self.values:
            return self.fail(key, "is missing") if default is None else default
        value = self.values[key]
        if not isinstance(value, str) or not value.strip():
            self.fail(key, "must be one piece of text")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        if key not in self.values:
            return self.fail(key, "is missing") if default is None else default
        value = self.values[key]
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one.strip() for one in value):
            self.fail(key, "must be a list of texts", f"Write it so: {key}: [first, second].")
        if len(set(value)) < len(value):
            self.fail(key, "names something twice")
        return tuple(value)

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        return self._known(key, self.text(key, default), known)

    def choices(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._known(key, value, known) for value in self.texts(key))

    def _known(self, key: str, value: str, known: Sequence[str]) -> str:
        if value not in known:
            self.fail(key, f"cannot be `{value}`", f"{near_names(value, known)}Known: {', '.join(known)}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, str(default).lower())
        if not isinstance(value, str) or value.lower() not in ("true", "false"):
            self.fail(key, "must be true or false")
        return value.lower() == "true"

    def block(self, key: str, allowed: Iterable[str]) -> Block:
        return Block(self.file, self.name(key), self.values[key], allowed)


def near_names(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the known names most like `word`, with a space after it; "" if none is alike."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(f'`{by_lower[name]}`' for name in near)}? " if near else ""
