"""Spans and their scores, against hand-made cases and the rules of conlleval written out pair by pair."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from adaptershare_cli.kinds import METRICS
from adaptershare_cli.kinds.metrics.spans import is_span_label, spans

LABEL = st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))])
SENTENCE = st.lists(LABEL, max_size=9)
# conlleval's conditions between neighbours of one type: does the first end there, does the second begin there?
ENDS = {"BB", "BS", "BO", "IB", "IS", "IO", "EB", "EI", "EE", "ES", "EO", "SB", "SI", "SE", "SS", "SO"}
BEGINS = {"BB", "BS", "IB", "IS", "EB", "EI", "EE", "ES", "SB", "SI", "SE", "SS", "OB", "OI", "OE", "OS"}


def by_pairs(labels: list[str]) -> list[tuple[str, int, int]]:
    """The spans by those conditions, and at each change of type."""
    found, begun = [], 0
    neighbours = list(zip(["O", *labels], [*labels, "O"], strict=True))
    for place, (before, label) in enumerate(neighbours):
        pair, other = before[0] + label[0], before[2:] != label[2:]
        if pair in ENDS or (before != "O" and other):
            found.append((before[2:], begun, place - 1))
        if pair in BEGINS or (label != "O" and other):
            begun = place
    return found


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("O I-PER I-PER O", [("PER", 1, 2)]),  # BIO1, or an invalid beginning, counts
        ("I-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-PER I-LOC", [("PER", 0, 0), ("LOC", 1, 1)]),  # another type begins another span
        ("I-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("B-PER I-PER E-PER S-PER", [("PER", 0, 2), ("PER", 3, 3)]),  # BIOES
        ("S-PER I-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("E-PER E-PER", [("PER", 0, 0), ("PER", 1, 1)]),  # IOE: each ends one
        ("I-PER E-PER I-PER", [("PER", 0, 1), ("PER", 2, 2)]),
        ("B-PER E-PER", [("PER", 0, 1)]),
        ("O E-PER", [("PER", 1, 1)]),
        ("B-a-b I-a-b", [("a-b", 0, 1)]),  # the type is what follows the first hyphen
        ("B-a.b I-a.c", [("a.b", 0, 0), ("a.c", 1, 1)]),
        ("B I O I", [("", 0, 1), ("", 3, 3)]),  # spans without a type
    ],
)
def test_spans(labels: str, expected: list[tuple[str, int, int]]) -> None:
    assert spans(labels.split()) == expected


@given(SENTENCE)
def test_the_rules_are_those_of_conlleval(labels: list[str]) -> None:
    assert spans(labels) == by_pairs(labels)


@given(SENTENCE)
def test_the_rules_are_those_of_seqeval(labels: list[str]) -> None:
    assert spans(labels) == get_entities(labels)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.integers(1, 4)), max_size=6), st.booleans())
def test_what_bio_and_bioes_write_is_read(pieces: list[tuple[str, int]], ends: bool) -> None:
    labels: list[str] = []
    wanted = []
    for kind, size in pieces:
        if not kind:
            labels += ["O"] * size
            continue
        wanted.append((kind, len(labels), len(labels) + size - 1))
        prefixes = ["B", *["I"] * (size - 1)]
        if ends:
            prefixes = ["S"] if size == 1 else ["B", *["I"] * (size - 2), "E"]
        labels += [f"{prefix}-{kind}" for prefix in prefixes]
    assert spans(labels) == wanted


@pytest.mark.parametrize("label", ["B-", "NN", "o", "B_PER", "U-PER", "L-PER", "OO", "", "PER-B"])
def test_labels_that_name_no_span(label: str) -> None:
    assert not is_span_label(label)
    with pytest.raises(ValueError, match="no label of spans"):
        spans(["O", label])


# ---- scores ----

GOLD = ["O O O B-MISC I-MISC I-MISC O".split(), "B-PER I-PER O".split()]
SHIFTED = ["O O B-MISC I-MISC I-MISC I-MISC O".split(), "B-PER I-PER O".split()]


@pytest.mark.parametrize(
    ("predicted", "gold", "precision", "recall", "f1"),
    [
        (GOLD, GOLD, 1.0, 1.0, 1.0),
        (SHIFTED, GOLD, 0.5, 0.5, 0.5),  # one border is wrong: that span does not count
        ([["O"] * 7, ["B-PER", "I-PER", "O"]], GOLD, 1.0, 0.5, 2 / 3),
        ([["O"] * 7, ["B-PER", "B-PER", "O"]], GOLD, 0.0, 0.0, 0.0),  # one span read as two
        ([["O"] * 7, ["B-ORG", "I-ORG", "O"]], GOLD, 0.0, 0.0, 0.0),
        ([["O"] * 7, ["I-PER", "I-PER", "O"]], GOLD, 1.0, 0.5, 2 / 3),  # the prefix of the first word does not count
        ([["O"] * 7, ["O"] * 3], GOLD, None, 0.0, 0.0),
        (GOLD, [["O"] * 7, ["O"] * 3], 0.0, None, 0.0),
        ([["O"]], [["O"]], None, None, None),
        ([["B-a"], ["B-a"]], [["B-a"], ["O"]], 0.5, 1.0, 2 / 3),  # a span belongs to its sentence
        ([["B-a", "I-a", "E-a"]], [["B-a", "I-a", "I-a"]], 1.0, 1.0, 1.0),
    ],
)
def test_scores(
    predicted: list[list[str]], gold: list[list[str]], precision: float, recall: float, f1: float | None
) -> None:
    for name, expected in (("span_precision", precision), ("span_recall", recall), ("span_f1", f1)):
        found = METRICS[name].compute(predicted, gold)
        assert found == (None if expected is None else pytest.approx(expected)), name


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=8), min_size=1, max_size=6))
def test_f1_is_the_harmonic_mean(sentences: list[list[tuple[str, str]]]) -> None:
    predicted = [[guess for guess, _ in sentence] for sentence in sentences]
    gold = [[label for _, label in sentence] for sentence in sentences]
    precision, recall, f1 = (METRICS[f"span_{name}"].compute(predicted, gold) for name in ("precision", "recall", "f1"))
    if precision and recall:
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert not f1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=8), min_size=1, max_size=6))
def test_scores_are_those_of_seqeval(sentences: list[list[tuple[str, str]]]) -> None:
    predicted = [[guess for guess, _ in sentence] for sentence in sentences]
    gold = [[label for _, label in sentence] for sentence in sentences]
    for name, theirs in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        found = METRICS[f"span_{name}"].compute(predicted, gold)
        if found is not None:  # where nothing is to be divided, seqeval warns and gives 0
            assert found == pytest.approx(theirs(gold, predicted), rel=1e-12), name
