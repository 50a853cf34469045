"""Metrics as local `evaluate` modules."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cache

import datasets
import evaluate
import numpy as np

from adaptershare_cli.kinds.metrics.base import Metric


class Module(evaluate.Metric):
    """The module of one metric: a value, or None where it is undefined (never 0)."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.metric.of)
        feature = datasets.Sequence(value) if self.metric.in_lists else value
        return evaluate.MetricInfo(
            description=type(self.metric).__doc__ or "",
            citation="",
            inputs_description="predictions and references of equal length",
            features=datasets.Features({"predictions": feature, "references": feature}),
        )

    def _compute(self, *, predictions: Sequence, references: Sequence) -> dict[str, float | None]:
        read = list if self.metric.in_lists else np.asarray
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant inputs: the value is nan, which becomes None
            value = float(self.metric.value(read(predictions), read(references)))
        return {"value": value if math.isfinite(value) else None}


@cache
def module_of(metric: Metric) -> Module:
    """The metric's module, made once."""
    return Module(metric)
