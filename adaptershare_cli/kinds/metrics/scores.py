"""Metrics of scores, one number a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


_ROUNDING = 1e-5  # of a score; what differs by less differs by how the processor adds


class Correlation(Metric):
    """A correlation of scores, to which constant predictions tell nothing."""

    of = "float64"

    def degenerate(self, answers: Mapping[tuple[str, str], int]) -> str:
        """Predictions that are the same but for rounding."""
        labels = {label for label, _ in answers}
        predictions = [float(prediction) for _, prediction in answers]
        low, high = min(predictions), max(predictions)
        constant = high - low <= _ROUNDING * max(1.0, abs(low))
        return f"always {low:.4g}" if constant and len(labels) > 1 else ""


class Pearson(Correlation):
    """Pearson correlation of scores; undefined where one side is constant."""

    name = "pearson"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from scipy.stats import pearsonr

        return pearsonr(predictions, references).statistic if len(references) > 1 else math.nan


class Spearman(Correlation):
    """Spearman rank correlation of scores; undefined where one side is constant."""

    name = "spearman"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from scipy.stats import spearmanr

        return spearmanr(predictions, references).statistic if len(references) > 1 else math.nan
