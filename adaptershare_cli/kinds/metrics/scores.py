"""Metrics of scores, one number a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


_CONSTANT = 1e-26  # a variance that is this small beside the squares of the values is none
_ROUNDING = 1e-5  # of a score; what differs by less differs by how the processor adds


class Correlation(Metric):
    """A correlation of scores, to which constant predictions tell nothing."""

    of, varied = "float64", True

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

    def of_copies(self, predictions: np.ndarray, references: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """See the base class."""
        return _correlations(predictions[None, :], references[None, :], copies)


class Spearman(Correlation):
    """Spearman rank correlation of scores; undefined where one side is constant."""

    name = "spearman"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from scipy.stats import spearmanr

        return spearmanr(predictions, references).statistic if len(references) > 1 else math.nan

    def of_copies(self, predictions: np.ndarray, references: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """See the base class."""
        return _correlations(_ranks(predictions, copies), _ranks(references, copies), copies)


def _ranks(values: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """The rank (D, N) that each of N values has in each of D resamples, the mean rank where values are equal."""
    import numpy as np

    different, group = np.unique(values, return_inverse=True)
    counts = np.stack([np.bincount(group, weights=row, minlength=len(different)) for row in copies])
    return (counts.cumsum(axis=1) - (counts - 1) / 2)[:, group]


def _correlations(first: np.ndarray, second: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Pearson correlations (D,) of D resamples of N values, given as (D, N) or (1, N); nan where one is constant."""
    import numpy as np

    size = copies.sum(axis=1, keepdims=True)
    one, other = (values - (copies * values).sum(axis=1, keepdims=True) / size for values in (first, second))
    both, *own = ((copies * a * b).sum(axis=1) for a, b in ((one, other), (one, one), (other, other)))
    least = [_CONSTANT * size[:, 0] * np.maximum(1.0, np.abs(values).max()) ** 2 for values in (first, second)]
    known = (own[0] > least[0]) & (own[1] > least[1])
    return np.divide(both, np.sqrt(own[0] * own[1]), out=np.full(len(copies), np.nan), where=known)
