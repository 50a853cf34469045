"""Metrics of labels, one a row or a word, by their numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class Accuracy(Metric):
    """Share of rows (of a tagging: of words) whose label is predicted."""

    name, by_frequency = "accuracy", True

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return float((predictions == references).mean())

    def of_copies(self, predictions: np.ndarray, references: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """See the base class."""
        return ratios(copies @ (predictions == references), copies.sum(axis=1))

    def degenerate(self, answers: Mapping[tuple[str, str], int]) -> str:
        """Also those that are right no more often than the most frequent label alone would be."""
        counts: Counter[str] = Counter()
        for (label, _), count in answers.items():
            counts[label] += count
        right = sum(count for (label, prediction), count in answers.items() if label == prediction)
        label, most = counts.most_common(1)[0]
        no_better = f"no better than always {label}" if right <= most and len(counts) > 1 else ""
        return super().degenerate(answers) or no_better


class MacroF1(Metric):
    """Mean F1 over the labels that occur in the references or the predictions."""

    name = "macro_f1"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from sklearn.metrics import f1_score

        return f1_score(references, predictions, average="macro", zero_division=0)

    def of_copies(self, predictions: np.ndarray, references: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """See the base class."""
        import numpy as np

        right, predicted, actual = _by_label(predictions, references, copies)
        occurs = predicted + actual > 0
        each = np.where(occurs, ratios(2 * right, predicted + actual), 0.0)
        return ratios(each.sum(axis=1), occurs.sum(axis=1))


class F1(MacroF1):
    """F1 of one label against all others, undefined if no row has it or is given it; of all labels as macro_f1."""

    name, of_one_label = "f1", True

    def of_label(self, number: int | None) -> Metric:
        """See the base class."""
        return self if number is None else _f1_of(number)


class _LabelF1(F1):
    """F1 of one label against all others; undefined if no row has it or is given it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from sklearn.metrics import f1_score

        return f1_score(references == self.number, predictions == self.number, zero_division=math.nan)

    def of_copies(self, predictions: np.ndarray, references: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """See the base class."""
        predicted, actual = predictions == self.number, references == self.number
        return ratios(2 * (copies @ (predicted & actual)), copies @ predicted.astype(int) + copies @ actual.astype(int))


@cache
def _f1_of(number: int) -> Metric:
    return _LabelF1(number)  # one for each label: an `evaluate` module is made for each metric


class Matthews(Metric):
    """Matthews correlation; undefined where the references hold one label only, 0 for a constant prediction."""

    name = "matthews"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class; scikit-learn would say 0 where nothing could be measured."""
        from sklearn.metrics import matthews_corrcoef

        if len(set(references.tolist())) < 2:
            return math.nan
        return matthews_corrcoef(references, predictions)

    def of_copies(self, predictions: np.ndarray, references: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """See the base class; the formula of Gorodkin 2004 for any number of labels."""
        import numpy as np

        right, predicted, actual = _by_label(predictions, references, copies)
        rows = copies.sum(axis=1).astype(float)
        above = right.sum(axis=1) * rows - (predicted * actual).sum(axis=1)
        of_predictions, of_references = (rows**2 - (part**2).sum(axis=1) for part in (predicted, actual))
        found = np.where(of_predictions == 0, 0.0, ratios(above, np.sqrt(of_predictions * of_references)))
        return np.where(of_references == 0, np.nan, found)


def ratios(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One divided by the other, nan where that is 0."""
    import numpy as np

    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)


def _by_label(
    predictions: np.ndarray, references: np.ndarray, copies: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of D resamples and K labels how many rows are right, predicted and labelled so, each (D, K)."""
    import numpy as np

    labels = np.union1d(predictions, references)
    predicted, actual = (column[:, None] == labels[None, :] for column in (predictions, references))
    counts = copies.astype(float)  # products of whole numbers are slow, and these are exact
    right, given, wanted = (counts @ part.astype(float) for part in (predicted & actual, predicted, actual))
    return right, given, wanted
