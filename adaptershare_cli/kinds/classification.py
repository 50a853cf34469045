"""Classification: of a text, or a pair of texts, one label of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adaptershare_cli.kinds.base import Kind, TaskInfo
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.metrics.labels import F1, Accuracy, MacroF1, Matthews
from adaptershare_cli.kinds.metrics.ranked import AUROC, AveragePrecision

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from adaptershare_cli.kinds.rows.answers import Answers, Targets


class Classification(Kind):
    """Cross-entropy over the labels; strata are the labels themselves."""

    name, summary = "classification", "a label for each row"
    weighs_labels = True
    metrics: tuple[Metric, ...] = (Accuracy(), F1(), MacroF1(), Matthews(), AUROC(), AveragePrecision())

    def label_type(self) -> pa.DataType:
        """The label's name."""
        import pyarrow as pa

        return pa.string()

    def target_type(self) -> pa.DataType:
        """The label's number."""
        import pyarrow as pa

        return pa.int64()

    def targets(self, info: TaskInfo, labels: Sequence[str]) -> list[int]:
        """Numbers in the order of the task's labels."""
        number_of = {label: number for number, label in enumerate(info.labels)}
        return [number_of[label] for label in labels]

    def strata(self, table: pa.Table) -> list[str]:
        """The labels."""
        return table["label"].to_pylist()

    def outputs(self, info: TaskInfo) -> int:
        """One a label."""
        return len(info.labels)

    def row_losses(self, info: TaskInfo, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Cross-entropy."""
        from torch.nn.functional import cross_entropy

        from adaptershare_cli.kinds.rows.outputs import label_weights

        weights = label_weights(info.weights, logits)
        return cross_entropy(logits, targets.labels.long(), weights, reduction="none")

    def predicted(self, info: TaskInfo, outputs: np.ndarray, answers: Answers) -> np.ndarray:
        """The number of the label with the highest output (N,)."""
        return outputs.argmax(1)

    def label_text(self, info: TaskInfo, label: Any) -> str:
        """The label's name."""
        return info.labels[int(label)]


KIND = Classification()
