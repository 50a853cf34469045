"""Metrics that a user wrote: a function in a Python file beside the definition that names it, as `cost.py:cost`.

The file is never fetched from anywhere. It is looked at where the definition is read (does it parse, has it the
function), and run only to score, only where this process has read that definition, and only with the very bytes that
were named then: their hash is part of the metric's name, and so of every key. Nothing heavy is imported here.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.metrics.base import Metric

SIGN = ".py:"
NEGATED = "neg_"  # of one that says GREATER_IS_BETTER = False
_HASH = re.compile(r"@[0-9a-f]{8}")
_PLACES: dict[str, Path] = {}  # where the file of each metric lies that a definition of this process names


class BadMetric(ValueError):
    """Why a file cannot hold a metric, in words that go on after its name."""


def is_own(name: str) -> bool:
    """Whether a metric, as a definition or a record names it, is a user's own."""
    return SIGN in name


def title(name: str) -> str:
    """A metric's name without the hash of its file."""
    return _HASH.sub("", name)


def named(written: str, folder: Path) -> str:
    """The name, with the file's hash, of a metric that a definition in `folder` writes as `cost.py:cost`.

    Raises BadMetric where there is no such file, or it has no such function.
    """
    path, _, function = written.rpartition(":")
    file = folder / path
    try:
        source = file.read_bytes()
        tree = ast.parse(source)
    except OSError as error:
        raise BadMetric(f"cannot be read ({error.strerror}: {file})") from error
    except (SyntaxError, ValueError) as error:
        place = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadMetric(f"is not Python ({error.args[0]}: {file}{place})") from error
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in functions:
        raise BadMetric(f"has no function `{function}` (of {file}: {', '.join(functions) or 'it has none'})")
    less = any(_says_less(node) for node in tree.body)
    name = f"{NEGATED if less else ''}{written}@{hashlib.sha256(source).hexdigest()[:8]}"
    _PLACES[name] = file
    return name


def places() -> dict[str, Path]:
    """Where the files lie of the metrics that definitions of this process name."""
    return dict(_PLACES)


def require_known(task: str, names: Iterable[str]) -> None:
    """Raise UserError where a metric of a task is a user's own that no definition of this process names."""
    for name in names:
        if is_own(name) and name not in _PLACES:
            what = f"the task {task} is scored by {title(name)}, a metric of a user's own, which is not run here"
            fix = "It is run by trainings with --task-dir alone: for this, leave it out of metrics and train anew."
            raise UserError(what, fix=fix)


def learn(known: Mapping[str, Path]) -> None:
    """Take up `places` of the process that this one works for."""
    _PLACES.update(known)


def _says_less(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    value = node.value if isinstance(node, ast.Assign) else None
    return "GREATER_IS_BETTER" in names and isinstance(value, ast.Constant) and value.value is False


@cache
def own_metric(name: str) -> Metric:
    """The metric of that name; it scores where a definition of this process names it."""
    return OwnMetric(name)


class OwnMetric(Metric):
    """A user's function of predictions and references: names of labels (a list a sentence of words), or scores."""

    in_lists = of_names = True

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def is_known(self) -> bool:
        """Whether a definition of this process names it, so that it may be run."""
        return self.name in _PLACES

    def compute(self, predictions: Any, references: Any) -> float | None:
        """The metric, None for no rows or where the function says nan. Raises UserError where it does not work."""
        return next(iter(self.values(predictions, references).values()))

    def of_constant(self, predictions: Any, references: Any) -> float | None:
        """See the base class; None where no definition of this process names it."""
        return self.compute(predictions, references) if self.is_known else None

    def values(self, predictions: Any, references: Any) -> dict[str, float | None]:
        """What the function gives, by name; of a mapping its first value under the metric's own name."""
        if not len(references):
            return {self.name: None}
        found = self._called(list(predictions), list(references))
        by_key = dict(found) if isinstance(found, Mapping) else {"": found}
        if not by_key:
            raise self._wrong("gives an empty dict")
        first, *others = by_key
        keys = {first: self.name, **{key: f"{self.name}[{key}]" for key in others}}
        return {keys[key]: self._number(value) for key, value in by_key.items()}

    def _number(self, value: Any) -> float | None:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self._wrong(f"gives {value!r:.60}, which is no number")
        less, number = self.name.startswith(NEGATED), float(value)
        if math.isfinite(number):
            return -number if less else number
        if less:  # elsewhere what is undefined counts as 0, which would be the best of all here
            raise self._wrong(f"gives {number}; where less is better it needs a number")
        return None

    def _called(self, predictions: list, references: list) -> Any:
        file = self._file()
        try:
            return _function(self.name, file)(predictions, references)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
            line = f", line {frames[-1].lineno}" if frames else ""
            what = f"the metric {title(self.name)} failed: {type(error).__name__}: {str(error)[:200]}"
            fix = "Correct the function; it is given two lists of the same length, predictions and references."
            raise UserError(what, f"{file}{line}", fix) from error

    def _file(self) -> Path:
        if not self.is_known:
            what = f"the metric {title(self.name)} is a user's own, and its definition was not read here"
            fix = "It is scored by trainings with --task-dir alone: for this, leave it out of metrics and train anew."
            raise UserError(what, fix=fix)
        return _PLACES[self.name]

    def _wrong(self, what: str) -> UserError:
        fix = "Let it return a number, or a dict of names to numbers."
        return UserError(f"the metric {title(self.name)} {what}", str(self._file()), fix)


@cache
def _function(name: str, file: Path) -> Callable[[list, list], Any]:
    """The function, from a file that is still what was named; nothing is written beside it."""
    source = file.read_bytes()
    if not name.endswith(hashlib.sha256(source).hexdigest()[:8]):
        what = f"the file of the metric {title(name)} has changed since its definition was read"
        raise UserError(what, str(file), "Give the command once more.")
    scope: dict[str, Any] = {"__name__": f"own_metric_{file.stem}", "__file__": str(file)}
    exec(compile(source, str(file), "exec"), scope)
    return scope[_HASH.sub("", name).rpartition(":")[2]]
