"""Metrics as local `evaluate` modules: nothing is downloaded to score. An undefined metric is None, never 0."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy import stats
from sklearn import metrics as sk

METRIC_NAMES = ("accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman")


class _Metric(evaluate.Metric):
    """Shared shape of the metrics below: one list of predictions, one of references, one value or None."""

    dtype = "int64"

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            inputs_description="predictions and references of equal length",
            features=datasets.Features(
                {"predictions": datasets.Value(self.dtype), "references": datasets.Value(self.dtype)}
            ),
        )

    def _compute(self, *, predictions: Sequence, references: Sequence) -> dict[str, float | None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant inputs: the value is nan, which becomes None
            value = float(self.value(np.asarray(predictions), np.asarray(references)))
        return {"value": value if math.isfinite(value) else None}

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """The metric, or nan where it is undefined."""
        raise NotImplementedError


class Accuracy(_Metric):
    """Share of rows whose label is predicted."""

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return float((predictions == references).mean())


class F1(_Metric):
    """F1 of the second label (index 1) of a two-label task; undefined if no row has it or is given it."""

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return sk.f1_score(references, predictions, pos_label=1, average="binary", zero_division=np.nan)


class MacroF1(_Metric):
    """Mean F1 over the labels that occur in the references or the predictions."""

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return sk.f1_score(references, predictions, average="macro", zero_division=0)


class Matthews(_Metric):
    """Matthews correlation; undefined where the references hold one label only, 0 for a constant prediction."""

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class; scikit-learn would say 0 where nothing could be measured."""
        if len(np.unique(references)) < 2:
            return math.nan
        return sk.matthews_corrcoef(references, predictions)


class Pearson(_Metric):
    """Pearson correlation of scores; undefined where one side is constant."""

    dtype = "float64"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return stats.pearsonr(predictions, references).statistic if len(references) > 1 else math.nan


class Spearman(_Metric):
    """Spearman rank correlation of scores; undefined where one side is constant."""

    dtype = "float64"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return stats.spearmanr(predictions, references).statistic if len(references) > 1 else math.nan


_CLASSES: dict[str, type[_Metric]] = {
    "accuracy": Accuracy, "f1": F1, "macro_f1": MacroF1, "matthews": Matthews, "pearson": Pearson,
    "spearman": Spearman,
}  # fmt: skip


@cache
def _metric(name: str) -> _Metric:
    return _CLASSES[name](keep_in_memory=True)


def compute_metric(name: str, predictions: Any, references: Any) -> float | None:
    """Score label indices (or scores, for a regression) of equal length; None where the metric is undefined."""
    if len(references) == 0:
        return None
    return _metric(name).compute(predictions=predictions, references=references)["value"]
