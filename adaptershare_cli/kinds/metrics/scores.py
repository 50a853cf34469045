"""Metrics of scores, one number a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class Pearson(Metric):
    """Pearson correlation of scores; undefined where one side is constant."""

    name, of = "pearson", "float64"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from scipy.stats import pearsonr

        return pearsonr(predictions, references).statistic if len(references) > 1 else math.nan


class Spearman(Metric):
    """Spearman rank correlation of scores; undefined where one side is constant."""

    name, of = "spearman", "float64"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from scipy.stats import spearmanr

        return spearmanr(predictions, references).statistic if len(references) > 1 else math.nan
