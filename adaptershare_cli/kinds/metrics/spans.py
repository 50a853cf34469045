"""Spans of words, read from one label a word by the rules of conlleval (the default mode of seqeval), and their scores.

A label is `O` (no span), or a prefix and the span's type: B-PER, I-PER, E-PER, S-PER (BIO, BIO2, IOE, BIOES).
Of two neighbours, the second begins a span where its prefix is B or S, or where the first is O, or has the prefix E or
S, or another type. A span goes on until the next word begins one, or is O: so an I- after O begins a span of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

OUTSIDE = "O"
Span = tuple[str, int, int]  # type, first word, last word


def is_span_label(label: str) -> bool:
    """Whether a label is O, or one of B, I, E and S, alone or before a hyphen and a type."""
    prefix, hyphen, of = label.partition("-")
    return label == OUTSIDE or (prefix in ("B", "I", "E", "S") and bool(of) == bool(hyphen))


def spans(labels: Sequence[str]) -> list[Span]:
    """The spans of one sentence, in order. Raises ValueError for a label that names no span."""
    found: list[Span] = []
    before, begun = OUTSIDE, 0
    for place, label in enumerate((*labels, OUTSIDE)):
        if not is_span_label(label):
            raise ValueError(f"{label!r} is no label of spans")
        if before != OUTSIDE and (label == OUTSIDE or _begins(before, label)):
            found.append((_type(before), begun, place - 1))
        if label != OUTSIDE and _begins(before, label):
            begun = place
        before = label
    return found


def _begins(before: str, label: str) -> bool:
    """Whether a label other than O begins a span."""
    return label[0] in "BS" or before[0] in "OES" or _type(before) != _type(label)


def _type(label: str) -> str:
    return label.partition("-")[2]


class SpanF1(Metric):
    """F1 of spans over all sentences (micro): right are type, first and last word. Undefined where there is no span.

    Predictions and references are a list of label names a sentence.
    """

    name, of, in_lists = "span_f1", "string", True

    def value(self, predictions: list[list[str]], references: list[list[str]]) -> float:
        """See the class."""
        predicted, actual = _all_spans(predictions), _all_spans(references)
        return self.ratio(len(predicted & actual), len(predicted), len(actual))

    def of_copies(self, predictions: list[list[str]], references: list[list[str]], copies: np.ndarray) -> np.ndarray:
        """See the base class."""
        import numpy as np

        sentences = zip(map(spans, predictions), map(spans, references), strict=True)
        counts = [(len({*one} & {*other}), len(one), len(other)) for one, other in sentences]
        return np.array([self.ratio(*found) for found in (copies @ np.array(counts)).tolist()])

    def ratio(self, right: int, predicted: int, actual: int) -> float:
        """The metric from the numbers of spans."""
        return 2 * right / (predicted + actual) if predicted + actual else math.nan

    def label_fault(self, label: str) -> str:
        """A label must name a span, or none."""
        return "" if is_span_label(label) else "is no label of a span (O, or B-, I-, E-, S- before a name)"

    def labels_fault(self, labels: Sequence[str]) -> tuple[str, str] | None:
        """Every label must name a span, or none."""
        wrong = [label for label in labels if not is_span_label(label)]
        if not wrong:
            return None
        needs = "labels of spans (O, and B-, I-, E-, S- before a name)"
        fix = "Use accuracy, or translate the labels with a label_map."
        return f"the metric `{self.name}` needs {needs}, not {wrong[0]!r}", fix


class SpanPrecision(SpanF1):
    """Share of the predicted spans that are right; undefined where none is predicted."""

    name = "span_precision"

    def ratio(self, right: int, predicted: int, actual: int) -> float:
        """See the class."""
        return right / predicted if predicted else math.nan


class SpanRecall(SpanF1):
    """Share of the spans that are found; undefined where there is none."""

    name = "span_recall"

    def ratio(self, right: int, predicted: int, actual: int) -> float:
        """See the class."""
        return right / actual if actual else math.nan


def _all_spans(sentences: list[list[str]]) -> set[tuple[int, Span]]:
    return {(number, span) for number, labels in enumerate(sentences) for span in spans(labels)}
