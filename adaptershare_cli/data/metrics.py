"""Metrics as local `evaluate` modules: nothing is downloaded to score. An undefined metric is None, never 0."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy import stats
from sklearn import metrics as sk

from adaptershare_cli.data.spans import Span, spans

METRIC_NAMES = (
    "accuracy", "f1", "macro_f1", "matthews", "pearson", "span_f1", "span_precision", "span_recall", "spearman",
)  # fmt: skip


class _Metric(evaluate.Metric):
    """Shared shape of the metrics below: one list of predictions, one of references, one value or None."""

    feature: Any = datasets.Value("int64")
    read: Callable[[Sequence], Any] = staticmethod(np.asarray)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            inputs_description="predictions and references of equal length",
            features=datasets.Features({"predictions": self.feature, "references": self.feature}),
        )

    def _compute(self, *, predictions: Sequence, references: Sequence) -> dict[str, float | None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant inputs: the value is nan, which becomes None
            value = float(self.value(self.read(predictions), self.read(references)))
        return {"value": value if math.isfinite(value) else None}

    def value(self, predictions: Any, references: Any) -> float:
        """The metric, or nan where it is undefined."""
        raise NotImplementedError


class Accuracy(_Metric):
    """Share of rows (of a tagging: of words) whose label is predicted."""

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

    feature = datasets.Value("float64")

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return stats.pearsonr(predictions, references).statistic if len(references) > 1 else math.nan


class Spearman(_Metric):
    """Spearman rank correlation of scores; undefined where one side is constant."""

    feature = datasets.Value("float64")

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return stats.spearmanr(predictions, references).statistic if len(references) > 1 else math.nan


class SpanF1(_Metric):
    """F1 of spans over all sentences (micro): right are type, first and last word. Undefined where there is no span.

    Predictions and references are a list of label names a sentence. Rules: `data.spans`, those of conlleval and of
    seqeval's default mode.
    """

    feature = datasets.Sequence(datasets.Value("string"))
    read = list

    def value(self, predictions: list[list[str]], references: list[list[str]]) -> float:
        """See the class."""
        found, wanted = _all_spans(predictions), _all_spans(references)
        return self.ratio(len(found & wanted), len(found), len(wanted))

    def ratio(self, right: int, found: int, wanted: int) -> float:
        """The metric from the numbers of spans."""
        return 2 * right / (found + wanted) if found + wanted else math.nan


class SpanPrecision(SpanF1):
    """Share of the predicted spans that are right; undefined where none is predicted."""

    def ratio(self, right: int, found: int, wanted: int) -> float:
        """See the class."""
        return right / found if found else math.nan


class SpanRecall(SpanF1):
    """Share of the spans that are found; undefined where there is none."""

    def ratio(self, right: int, found: int, wanted: int) -> float:
        """See the class."""
        return right / wanted if wanted else math.nan


def _all_spans(sentences: list[list[str]]) -> set[tuple[int, Span]]:
    return {(number, span) for number, labels in enumerate(sentences) for span in spans(labels)}


_CLASSES: dict[str, type[_Metric]] = {
    "accuracy": Accuracy, "f1": F1, "macro_f1": MacroF1, "matthews": Matthews, "pearson": Pearson,
    "span_f1": SpanF1, "span_precision": SpanPrecision, "span_recall": SpanRecall, "spearman": Spearman,
}  # fmt: skip


@cache
def _metric(name: str) -> _Metric:
    return _CLASSES[name](keep_in_memory=True)


def compute_metric(name: str, predictions: Any, references: Any) -> float | None:
    """Score label indices (scores of a regression, for spans lists of label names) of equal length; None: undefined."""
    if len(references) == 0:
        return None
    return _metric(name).compute(predictions=predictions, references=references)["value"]
