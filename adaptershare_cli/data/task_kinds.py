"""What a definition needs to know of each kind of task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adaptershare_cli.data.spans import is_span_label, is_span_metric
from adaptershare_cli.errors import UserError


@dataclass(frozen=True)
class TaskKind:
    """One kind of task."""

    name: str
    metrics: tuple[str, ...]
    roles: tuple[str, ...]  # of columns; text_pair may always be absent
    labelled: bool  # it has labels; else a range of numbers
    listed: tuple[str, ...] = ()  # roles whose values may be lists


KINDS = {
    kind.name: kind
    for kind in (
        TaskKind("classification", ("accuracy", "f1", "macro_f1", "matthews"), ("text", "text_pair", "label"), True),
        TaskKind("regression", ("pearson", "spearman"), ("text", "text_pair", "label"), False),
        TaskKind(
            "tagging", ("span_f1", "span_precision", "span_recall", "accuracy", "macro_f1"), ("text", "label"), True,
            ("text", "label"),
        ),
    )
}  # fmt: skip


def check_metrics(metrics: Sequence[str], labels: Sequence[str], where: str) -> None:
    """Raise UserError for `f1` (of the second label) without exactly two labels, or spans of labels that name none."""
    if "f1" in metrics and len(labels) != 2:
        raise UserError(f"the metric `f1` needs two labels, here are {len(labels)}", where, "Use macro_f1.")
    spans = next((metric for metric in metrics if is_span_metric(metric)), "")
    if spans and (wrong := [label for label in labels if not is_span_label(label)]):
        what = f"the metric `{spans}` needs labels of spans (O, and B-, I-, E-, S- before a name), not {wrong[0]!r}"
        raise UserError(what, where, "Use accuracy, or translate the labels with a label_map.")
