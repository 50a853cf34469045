"""Spans of words, read from one label a word by the rules of conlleval (the default mode of seqeval).

A label is `O` (no span), or a prefix and the span's type: B-PER, I-PER, E-PER, S-PER (BIO, BIO2, IOE, BIOES).
Of two neighbours, the second begins a span where its prefix is B or S, or where the first is O, or has the prefix E or
S, or another type. A span goes on until the next word begins one, or is O: so an I- after O begins a span of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

OUTSIDE = "O"
Span = tuple[str, int, int]  # type, first word, last word


def is_span_metric(metric: str) -> bool:
    """Whether a metric is of spans, so that all labels must name spans."""
    return metric.startswith("span_")


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
