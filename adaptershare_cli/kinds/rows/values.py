"""What sources may write for a label, and what is kept of it. Nothing heavy is imported here."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.rows.texts import folded, label_fault, text_fault, told

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)

_MOST_KNOWN = 10_000  # texts of labels that are remembered
_COMMA_NUMBER = re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?([eE][+-]?\d+)?\s*", re.ASCII)


class Wrong(NamedTuple):
    """A row's first fault; `word` is the place in its sentence of the word that has it."""

    role: str
    value: Any
    reason: str
    word: int = 0


@dataclass(frozen=True)
class Allowed:
    """What a definition lets the labels of a split be.

    `labels` are their names, () where they are collected from this very split; with `from_train` they were, or are,
    collected from train. `label_map` gives names for what the source writes, `metrics` may ask something of labels, and
    scores lie within `range`; with the `decimal` mark "," points part their thousands. With `normalise` case, white
    space and Unicode form of labels do not count; how they were written, and as what they were `taken`, is counted.
    """

    labels: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    from_train: bool = False
    metrics: tuple[Metric, ...] = ()
    range: tuple[float, float] | None = None
    decimal: str = ""
    normalise: bool = False
    taken: Counter[tuple[str, str]] = field(default_factory=Counter, compare=False)


class LabelNames:
    """Reads labels that have names; with `new_ones` those that train never has are let through."""

    def __init__(self, allowed: Allowed, new_ones: bool = False) -> None:
        labels = allowed.labels
        self.names, self.labels, self.metrics = allowed.label_map, frozenset(labels), allowed.metrics
        self.alike = {folded(label): label for label in labels}
        self.new_ones = new_ones
        self.known: dict[str, tuple[Any, str]] = {}  # what texts were found to be: they repeat
        self.normalise, self.taken = allowed.normalise, allowed.taken
        self.alike_names = {folded(name): label for name, label in self.names.items()} if self.normalise else {}
        seen = "that train has" if allowed.from_train else ""
        self.no_label = f"is not one of the labels {seen}".rstrip() + f" ({told(labels)})"

    def __call__(self, value: Any) -> tuple[Any, str]:
        """A label's name, or what cannot be one and why."""
        if self.normalise or not isinstance(value, str):
            return self._read(value)
        if (known := self.known.get(value)) is None:
            known = self._read(value)
            if len(self.known) < _MOST_KNOWN:
                self.known[value] = known
        return known

    def _read(self, value: Any) -> tuple[Any, str]:
        if isinstance(value, bool):
            value = "true" if value else "false"  # as JSON writes them
        elif isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = str(int(value))  # as columns of whole numbers with gaps are written
        elif isinstance(value, int):
            value = str(value)
        reason = "is neither text nor a whole number" if isinstance(value, float | Decimal) else text_fault(value)
        if reason:
            return value, reason
        label = self.names.get(value.strip(), value.strip())
        if label in self.labels:
            return label, ""
        if self.normalise and label == value.strip():
            label = self.alike_names.get(folded(label), label)
        near = self.alike.get(folded(label))
        if self.normalise and near:
            self.taken[value.strip(), near] += 1
            return near, ""
        if not self.labels or (self.new_ones and not near):
            faults = (metric.label_fault(label) for metric in self.metrics)
            return label, label_fault(label) or next(filter(None, faults), "")
        return value, self.no_label + (f", but `{near}` in all but case, white space or Unicode form" if near else "")


def read_number(value: Any, bounds: tuple[float, float] | None, decimal: str = "") -> tuple[Any, str]:
    """A finite number within bounds, or what is none and why."""
    if decimal == "," and isinstance(value, str):
        if not _COMMA_NUMBER.fullmatch(value):
            return value, "is not a number with a decimal comma"
        number, reason = read_number(value.replace(".", "").replace(",", "."), bounds)
        return (value if reason else number), reason
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        finite = value.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity")
        return value, "is not a number" if finite else "is not a finite number"
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        is_number = isinstance(value, float | int | str) and not isinstance(value, bool)
        return value, "is not a finite number" if is_number else "is not a number"
    low, high = bounds or (-math.inf, math.inf)
    return (number, "") if low <= number <= high else (value, f"is outside the range {low:g} to {high:g}")
