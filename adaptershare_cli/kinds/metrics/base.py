"""What a metric says of itself. It scores as a local `evaluate` module: nothing is downloaded to score.

Nothing heavy is imported here, nor where metrics are defined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class Metric:
    """A score of predictions against references of equal length; higher is better.

    Where less would be better (an error), the score is minus that, and the name begins with `neg_`, as scikit-learn's.

    `of` is the type of one value as Arrow names it, and `in_lists` says that each prediction is a list of such values
    (the labels of a sentence's words, for example).
    """

    name: str
    of: str = "int64"
    in_lists: bool = False
    varied: bool = False  # undefined for predictions that are all the same
    by_frequency: bool = False  # the commonest label alone scores as high as it is common
    from_outputs: bool = False  # predictions are each label's probability (N, labels), not labels
    of_names: bool = False  # it takes labels by their names
    of_one_label: bool = False  # a definition's `positive` says of which; without it, all labels count alike

    @property
    def from_labels(self) -> bool:
        """Whether tables of predictions hold all that it is made of."""
        return not (self.from_outputs or self.of_names)

    def value(self, predictions: Any, references: Any) -> float:
        """The metric, or nan where it is undefined. Both are arrays (N,), or lists of N lists with `in_lists`."""
        raise NotImplementedError

    def of_copies(self, predictions: Any, references: Any, copies: np.ndarray) -> np.ndarray:
        """The metric of D resamples (D,) of N rows, nan where it is undefined.

        `copies` (D, N) are whole numbers: how often each row stands in each resample. This takes one resample after the
        other; a metric that is made of sums over rows has all of them at once.
        """
        import numpy as np

        found = []
        for counts in copies:
            rows = np.repeat(np.arange(len(counts)), counts)
            drawn = ([column[row] for row in rows] for column in (predictions, references))
            value = self.compute(*(drawn if self.in_lists else map(np.asarray, drawn)))
            found.append(math.nan if value is None else value)
        return np.array(found)

    def of_label(self, number: int | None) -> Metric:
        """The metric of the label with that number, where it is `of_one_label`; None for all labels."""
        return self

    def label_fault(self, label: str) -> str:
        """Why one label of a task cannot be scored; "" if it can."""
        return ""

    def labels_fault(self, labels: Sequence[str]) -> tuple[str, str] | None:
        """What about a task's labels keeps them from being scored, and how to mend it; None if nothing does."""
        return None

    def degenerate(self, answers: Mapping[tuple[str, str], int]) -> str:
        """How predictions tell nothing of the rows, in words; "" if they tell something, or there is nothing to tell.

        `answers`: of how many rows (or words) the label and the prediction are these, as tables of predictions have
        them.
        """
        labels, predictions = {label for label, _ in answers}, {prediction for _, prediction in answers}
        return f"always {next(iter(predictions))}" if len(predictions) == 1 < len(labels) else ""

    def compute(self, predictions: Any, references: Any) -> float | None:
        """The metric of N predictions and references; None where it is undefined, and for N = 0."""
        from adaptershare_cli.kinds.metrics.modules import module_of

        if len(references) == 0:
            return None
        module = module_of(self.value, self.of, self.in_lists, type(self).__doc__ or "")
        return module.compute(predictions=predictions, references=references)["value"]

    def values(self, predictions: Any, references: Any) -> dict[str, float | None]:
        """What is recorded of it, by name: as `compute` gives it."""
        return {self.name: self.compute(predictions, references)}

    def of_constant(self, predictions: Any, references: Any) -> float | None:
        """What `compute` gives for predictions that are all the same; `evaluate`, which loads slowly, is not needed."""
        from adaptershare_cli.kinds.metrics.values import finite_value

        if len(references) == 0 or self.varied:
            return None
        return finite_value(self.value, self.of, self.in_lists, predictions, references)
