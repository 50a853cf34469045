"""Metrics of how far off predictions are: of scores, and of labels that have an order, by their ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class NegMAE(Metric):
    """Minus the mean absolute error, in the unit of the scores, or in ranks."""

    name, of = "neg_mae", "float64"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return -float(abs(predictions - references).mean())


class NegRMSE(Metric):
    """Minus the root of the mean squared error, in the unit of the scores, or in ranks."""

    name, of = "neg_rmse", "float64"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return -math.sqrt(((predictions - references) ** 2).mean())


class QuadraticKappa(Metric):
    """Cohen's kappa with quadratic weights, of ranks: 1 for all right, 0 for chance.

    Undefined where predictions and references all have one and the same label.
    """

    name = "qwk"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class; ranks that do not occur keep their places, so that distances are those of the task."""
        from sklearn.metrics import cohen_kappa_score

        ranks = range(int(max(predictions.max(), references.max())) + 1)
        if len(ranks) < 2 or len({*predictions.tolist(), *references.tolist()}) < 2:
            return math.nan
        return cohen_kappa_score(references, predictions, labels=list(ranks), weights="quadratic")
