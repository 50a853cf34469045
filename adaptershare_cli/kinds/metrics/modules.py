"""Metrics as local `evaluate` modules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import datasets
import evaluate

from adaptershare_cli.kinds.metrics.values import Value, finite_value


class Module(evaluate.Metric):
    """The module of one metric (see `Metric` for `of` and `in_lists`): a value, or None where undefined, never 0."""

    def __init__(self, value: Value, of: str, in_lists: bool, description: str) -> None:
        self.value, self.of, self.in_lists, self.text = value, of, in_lists, description
        super().__init__(keep_in_memory=True)

    def _build_data_dir(self) -> str:
        """The library's name for its folder, which is not made: all is kept in memory, and it would lie in HOME."""
        return self._data_dir_root

    def _info(self) -> evaluate.MetricInfo:
        one = datasets.Value(self.of)
        feature = datasets.Sequence(one) if self.in_lists else one
        return evaluate.MetricInfo(
            description=self.text,
            citation="",
            inputs_description="predictions and references of equal length",
            features=datasets.Features({"predictions": feature, "references": feature}),
        )

    def compute(self, *, predictions: Sequence, references: Sequence, **options: Any) -> dict[str, float | None]:
        """What the library's own gives 4 ms later: it writes the rows into memory, hashes them and reads them back."""
        return self._compute(predictions=predictions, references=references)

    def _compute(self, *, predictions: Sequence, references: Sequence) -> dict[str, float | None]:
        return {"value": finite_value(self.value, self.of, self.in_lists, predictions, references)}


@cache
def module_of(value: Value, of: str, in_lists: bool, description: str) -> Module:
    """The module of a metric, made once."""
    return Module(value, of, in_lists, description)
