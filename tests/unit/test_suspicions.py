"""Labels that look like no labels: what is told of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from adaptershare_cli.data.suspicions import absent_labels, alike_labels, suspicious_labels
from adaptershare_cli.kinds import KINDS

COLUMNS = ("text", "stars")


def told(kind: str, rows: list[tuple[Any, Any]]) -> list[str]:
    """What is told of rows of a text (or words) and a label (or labels)."""
    texts, labels = zip(*rows, strict=True)
    return suspicious_labels(KINDS[kind], pa.table({"text": list(texts), "label": list(labels)}), COLUMNS)


def test_labels_as_they_should_be() -> None:
    assert told("classification", [("a", "yes"), ("b", "no"), ("c", "no"), ("d", "yes")]) == []
    sentences = [(["The", "river"], ["O", "B"]), (["The", "sea"], ["O", "B"]), (["O", "The"], ["B", "O"])]
    assert told("tagging", sentences) == []


def test_labels_of_one_row_are_named() -> None:
    rows = [("a", label) for label in ("yes", "no", "no", "yes", "maybe")]
    assert told("classification", rows) == ["labels of one row only: maybe"]
    many = [("a", f"{number:02}") for number in range(12)]
    assert told("classification", many) == ["labels of one row only: 00, 01, 02, 03, 04, 05, 06, 07 and 4 more"]
    assert told("tagging", [(["a", "b", "c"], ["O", "O", "X"])]) == ["labels of one word only: X"]


def test_a_header_that_was_taken_for_a_row() -> None:
    rows = [("no", "a"), ("no", "b"), ("yes", "c"), ("yes", "d")]
    for name in ("label", "Stars", "CLASS"):
        (text,) = told("classification", [("review", name), *((text, label) for label, text in rows)])
        assert f"`{name}` of the first row looks like the name of a column" in text
    assert "header" not in str(told("classification", [("a", "label"), ("b", "label"), ("c", "no"), ("d", "no")]))


def test_a_label_of_lines_that_begin_alike() -> None:
    rows = [(["<doc>", "the", "sea"], ["id", "O", "B"]), (["<doc>", "a", "sea"], ["id", "O", "B"])]
    (text,) = told("tagging", rows)
    assert "the label `id` (2 times) is only that of `<doc>` at the beginning of sentences" in text
    assert told("tagging", [*rows, (["sea", "a"], ["id", "O"])]) == []  # of two words


def test_listed_labels_that_train_never_has() -> None:
    train = pa.table({"label": ["yes", "no", "no"]})
    assert absent_labels(KINDS["classification"], train, ["no", "yes"]) == []
    assert absent_labels(KINDS["classification"], train, ["no", "maybe", "yes"]) == [
        "labels that no row of train has: maybe"
    ]
    assert absent_labels(KINDS["regression"], pa.table({"label": [0.5]}), []) == []


def test_labels_that_differ_in_writing_alone_are_named_together() -> None:
    assert alike_labels(["Ham", "Spam", "ham", "other", "spam", "SPAM"]) == [["Ham", "ham"], ["Spam", "spam", "SPAM"]]
