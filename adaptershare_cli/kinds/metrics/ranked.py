"""Metrics of probabilities: how well they put the rows with a label before the others, whatever the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class RankedMetric(Metric):
    """A metric of one label's probabilities against all others; of all labels the mean over those that have a value."""

    of, from_outputs, of_one_label = "float64", True, True
    number: int | None = None  # of the label; None for all

    def __init__(self) -> None:
        self.of_labels: dict[int | None, RankedMetric] = {None: self}  # an `evaluate` module is made for each metric

    def of_label(self, number: int | None) -> Metric:
        """See the base class."""
        if number not in self.of_labels:
            self.of_labels[number] = type(self)()
            self.of_labels[number].number = number
        return self.of_labels[number]

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """Of probabilities (N, labels) and the numbers of the right labels (N,)."""
        labels = range(predictions.shape[1]) if self.number is None else (self.number,)
        values = [self.of_rows(references == label, predictions[:, label]) for label in labels]
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    def of_rows(self, there: np.ndarray, scores: np.ndarray) -> float:
        """The metric of one label: whether each row has it (N,), and its probabilities (N,); nan where undefined."""
        raise NotImplementedError


class AUROC(RankedMetric):
    """Area under the ROC curve: how often a row with the label has a higher probability than one without.

    Ties count half. Undefined where all rows have the label, or none.
    """

    name = "auroc"

    def of_rows(self, there: np.ndarray, scores: np.ndarray) -> float:
        """See the base class."""
        from sklearn.metrics import roc_auc_score

        return roc_auc_score(there, scores) if 0 < there.sum() < len(there) else math.nan


class AveragePrecision(RankedMetric):
    """Precision at the rank of each row with the label, averaged (scikit-learn's average precision).

    Undefined where no row has the label.
    """

    name = "average_precision"

    def of_rows(self, there: np.ndarray, scores: np.ndarray) -> float:
        """See the base class."""
        from sklearn.metrics import average_precision_score

        return average_precision_score(there, scores) if there.any() else math.nan
