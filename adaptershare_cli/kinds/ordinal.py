"""Ordinal: of a text, or a pair of texts, one label of a list whose labels have an order, such as grades.

The labels' ranks are learnt as scores, evenly spaced, and the nearest rank is predicted (Taghipour and Ng 2016, "A
Neural Approach to Automated Essay Scoring", do so for essays' grades). The squared error is what the quadratic kappa
counts, and a head of one output serves any number of labels. Ranks are taken as equally far apart; where they are not,
a classification assumes less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.classification import Classification
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.metrics.distances import NegMAE, NegRMSE, QuadraticKappa
from adaptershare_cli.kinds.metrics.labels import Accuracy, MacroF1

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from adaptershare_cli.kinds.rows.answers import Answers, Targets


class Ordinal(Classification):
    """Squared error on the label's rank, moved to [-1, 1]; rows are those of a classification."""

    name, summary = "ordinal", "a label of a list in order"
    metrics: tuple[Metric, ...] = (QuadraticKappa(), NegMAE(), NegRMSE(), Accuracy(), MacroF1())
    ordered, ranks_labels = True, False
    output_note = (
        "the output -1..1 stands for the first to the last of them: the nearest of the evenly spaced labels is meant"
    )

    def outputs(self, info: TaskInfo) -> int:
        """The rank alone."""
        return 1

    def row_losses(self, info: TaskInfo, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Squared error on the scaled rank."""
        from adaptershare_cli.kinds.rows.outputs import label_weights

        right = targets.labels.to(logits.dtype) * (2 / _highest(info)) - 1
        losses = (logits.squeeze(-1) - right) ** 2
        weights = label_weights(info.weights, logits)
        return losses if weights is None else losses * weights[targets.labels.long()]

    def ranks(self, info: TaskInfo, outputs: np.ndarray) -> np.ndarray:
        """Where outputs (N, 1) stand on the scale of ranks (N,), 0 the first label; they may lie a little outside."""
        return (outputs[:, 0].astype("float64") + 1) / 2 * _highest(info)

    def predicted(self, info: TaskInfo, outputs: np.ndarray, answers: Answers) -> np.ndarray:
        """The number of the nearest label (N,); half-way the higher one."""
        import numpy as np

        return np.clip(np.floor(self.ranks(info, outputs) + 0.5), 0, _highest(info)).astype(np.int64)

    def constant_outputs(self, info: TaskInfo, train: Answers) -> np.ndarray:
        """That of the commonest label."""
        import numpy as np

        rank = np.bincount(train.labels).argmax()
        return np.array([2 * rank / _highest(info) - 1], dtype=np.float32)

    def errors(self, labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """How many ranks each prediction is off."""
        return abs(labels - predicted).astype("float64")

    def answer_fields(self, info: TaskInfo, top_k: int | None) -> dict[str, pa.DataType]:
        """The label, and where the output stands on the scale of ranks."""
        import pyarrow as pa

        return {"label": pa.string(), "rank": pa.float64()}

    def row_answers(
        self, info: TaskInfo, rows: Sequence[int], answers: Answers, outputs: np.ndarray, top_k: int | None
    ) -> Iterator[dict[str, Any]]:
        """Of each row; rank 0 is the first label."""
        labels = self.predicted(info, outputs, answers).tolist()
        for label, rank in zip(labels, self.ranks(info, outputs).tolist(), strict=True):
            yield {"label": info.labels[label], "rank": rank}


def _highest(info: TaskInfo) -> int:
    """The rank of the last label."""
    return len(info.labels) - 1


KIND = Ordinal()
