"""Regression: of a text, or a pair of texts, a score within a range."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from adaptershare_cli.kinds.base import Kind, TaskInfo
from adaptershare_cli.kinds.metrics.distances import NegMAE, NegRMSE
from adaptershare_cli.kinds.metrics.scores import Pearson, Spearman
from adaptershare_cli.kinds.rows.values import Allowed, read_number

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from adaptershare_cli.kinds.rows.answers import Answers, Targets

Numbers = TypeVar("Numbers", "np.ndarray", "torch.Tensor")


class Regression(Kind):
    """Squared error on the score moved from its range to [-1, 1], so that it is of the size of a cross-entropy."""

    name, summary = "regression", "a number"
    metrics = (Pearson(), Spearman(), NegMAE(), NegRMSE())
    labelled, ranged, ranks_labels = False, True, False
    output_note = "the output -1..1 stands for the range in it"

    def label_type(self) -> pa.DataType:
        """The score."""
        import pyarrow as pa

        return pa.float64()

    def target_type(self) -> pa.DataType:
        """The score."""
        return self.label_type()

    def label_reader(self, allowed: Allowed) -> Callable[[Any], tuple[Any, str]]:
        """Finite numbers within the range."""
        return partial(read_number, bounds=allowed.range, decimal=allowed.decimal)

    def targets(self, info: TaskInfo, labels: Sequence[float]) -> list[float]:
        """The scores as they are."""
        return list(labels)

    def strata(self, table: pa.Table) -> list[int]:
        """Which of `SCORE_BINS` equally filled bins a score lies in."""
        from adaptershare_cli.kinds.rows.answers import score_bins

        return score_bins(table["label"].to_numpy()).tolist()

    def outputs(self, info: TaskInfo) -> int:
        """The score alone."""
        return 1

    def row_losses(self, info: TaskInfo, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Squared error on the scaled score."""
        return (logits.squeeze(-1) - scaled(info, targets.labels).to(logits.dtype)) ** 2

    def predicted(self, info: TaskInfo, outputs: np.ndarray, answers: Answers) -> np.ndarray:
        """Scores on the task's own scale (N,)."""
        return unscaled(info, outputs[:, 0].astype("float64"))

    def label_text(self, info: TaskInfo, label: Any) -> str:
        """The score as text that loses nothing."""
        return repr(float(label))

    def label_values(self, info: TaskInfo, texts: Sequence[str]) -> np.ndarray:
        """The scores."""
        import numpy as np

        return np.array([float(text) for text in texts])

    def constant_outputs(self, info: TaskInfo, train: Answers) -> np.ndarray:
        """The mean score."""
        import numpy as np

        return np.array([scaled(info, train.labels.mean())], dtype=np.float32)

    def shown_label(self, info: TaskInfo, label: Any) -> str:
        """The score with four digits."""
        return f"{float(label):.4g}"

    def blank_label(self, info: TaskInfo, row: Mapping[str, Any]) -> float:
        """The lowest score."""
        assert info.range is not None
        return info.range[0]

    def answer_fields(self, info: TaskInfo, top_k: int | None) -> dict[str, pa.DataType]:
        """The score."""
        import pyarrow as pa

        return {"score": pa.float64()}

    def row_answers(
        self, info: TaskInfo, rows: Sequence[int], answers: Answers, outputs: np.ndarray, top_k: int | None
    ) -> Iterator[dict[str, Any]]:
        """The score of each row on the task's own scale; it may lie a little outside the range."""
        return ({"score": score} for score in self.predicted(info, outputs, answers).tolist())


def scaled(info: TaskInfo, scores: Numbers) -> Numbers:
    """Scores moved from the task's range to [-1, 1]."""
    middle, half = _range(info)
    return (scores - middle) / half


def unscaled(info: TaskInfo, outputs: Numbers) -> Numbers:
    """The inverse of `scaled`."""
    middle, half = _range(info)
    return outputs * half + middle


def _range(info: TaskInfo) -> tuple[float, float]:
    """Middle and half width of the range."""
    assert info.range is not None
    low, high = info.range
    return (low + high) / 2, (high - low) / 2


KIND = Regression()
