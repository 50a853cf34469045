"""The value of a metric as it is recorded: a finite number, or None."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Value = Callable[[Any, Any], float]  # of predictions and references; nan where the metric is undefined


def finite_value(value: Value, of: str, in_lists: bool, predictions: Sequence, references: Sequence) -> float | None:
    """The metric of columns of equal length, None where it is undefined (see `Metric` for `of` and `in_lists`)."""
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references: lengths must match")
    read = list if in_lists else lambda column: np.asarray(column).astype(of, casting="same_kind")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant inputs: the value is nan, which becomes None
        found = float(value(read(predictions), read(references)))
    return found if math.isfinite(found) else None
