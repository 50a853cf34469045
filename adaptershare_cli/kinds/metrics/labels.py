"""Metrics of labels, one a row or a word, by their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np


class Accuracy(Metric):
    """Share of rows (of a tagging: of words) whose label is predicted."""

    name = "accuracy"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        return float((predictions == references).mean())


class F1(Metric):
    """F1 of the second label (index 1) of a two-label task; undefined if no row has it or is given it."""

    name = "f1"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from sklearn.metrics import f1_score

        return f1_score(references, predictions, pos_label=1, average="binary", zero_division=math.nan)

    def labels_fault(self, labels: Sequence[str]) -> tuple[str, str] | None:
        """It is of the second of two labels."""
        if len(labels) == 2:
            return None
        return f"the metric `{self.name}` needs two labels, here are {len(labels)}", "Use macro_f1."


class MacroF1(Metric):
    """Mean F1 over the labels that occur in the references or the predictions."""

    name = "macro_f1"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class."""
        from sklearn.metrics import f1_score

        return f1_score(references, predictions, average="macro", zero_division=0)


class Matthews(Metric):
    """Matthews correlation; undefined where the references hold one label only, 0 for a constant prediction."""

    name = "matthews"

    def value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """See the class; scikit-learn would say 0 where nothing could be measured."""
        from sklearn.metrics import matthews_corrcoef

        if len(set(references.tolist())) < 2:
            return math.nan
        return matthews_corrcoef(references, predictions)
