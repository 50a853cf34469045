"""Metrics against hand-written formulas, and where they are undefined."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from adaptershare_cli.kinds import KINDS, METRICS, metric_title
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.metrics.modules import module_of

LABELLED = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)
OF_ONE = {name for name, metric in METRICS.items() if metric.of_one_label}
FEW = settings(max_examples=25, deadline=None)  # scikit-learn takes some ms a value


def columns(rows: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and references."""
    predictions, references = zip(*rows, strict=True)
    return np.array(predictions), np.array(references)


# ------------------------------------------------------------------------------------------------------ classification


@FEW
@given(LABELLED)
def test_accuracy_and_macro_f1(rows: list[tuple[int, int]]) -> None:
    predictions, references = columns(rows)
    right = sum(p == r for p, r in rows)
    assert METRICS["accuracy"].compute(predictions, references) == pytest.approx(right / len(rows))
    each = []
    for label in set(predictions.tolist()) | set(references.tolist()):
        hits = sum(p == r == label for p, r in rows)
        each.append(2 * hits / (sum(p == label for p, _ in rows) + sum(r == label for _, r in rows)))
    assert METRICS["macro_f1"].compute(predictions, references) == pytest.approx(sum(each) / len(each))


@FEW
@given(LABELLED, st.integers(0, 3))
def test_f1_is_that_of_the_positive_label_wherever_it_stands(rows: list[tuple[int, int]], positive: int) -> None:
    predictions, references = (column == positive for column in columns(rows))
    found = METRICS["f1"].of_label(positive).compute(*columns(rows))
    total = int(predictions.sum() + references.sum())
    if total == 0:
        assert found is None
    else:
        assert found == pytest.approx(2 * int((predictions & references).sum()) / total)


@FEW
@given(LABELLED)
def test_f1_of_no_label_is_the_mean_over_all(rows: list[tuple[int, int]]) -> None:
    assert METRICS["f1"].of_label(None).compute(*columns(rows)) == METRICS["macro_f1"].compute(*columns(rows))


def test_f1_of_a_label_that_is_never_found_is_zero_whatever_the_order() -> None:
    spam = TaskInfo("mail", "classification", ("spam", "ham"), None, ("f1",), positive="spam")
    ham = replace(spam, labels=("ham", "spam"))
    for info in (spam, ham):
        references = [info.labels.index(label) for label in ("spam", "ham", "ham", "ham")]
        metric = KINDS["classification"].metric_of(info, "f1")
        assert metric.compute([info.labels.index("ham")] * 4, references) == 0.0
        assert metric is KINDS["classification"].metric_of(info, "f1")  # its module is made once


def test_titles_say_what_a_metric_is_of() -> None:
    assert metric_title("f1", "spam") == "f1 (spam)"
    assert metric_title("f1", "") == "f1 (macro)"
    assert metric_title("f1", None) == "f1 (second label)"  # recorded before definitions could say it
    assert {metric_title(name, "x") for name in METRICS if name not in OF_ONE} == {*METRICS} - OF_ONE


@FEW
@given(LABELLED)
def test_matthews(rows: list[tuple[int, int]]) -> None:
    predictions, references = columns(rows)
    found = METRICS["matthews"].compute(predictions, references)
    if len(set(references.tolist())) < 2:
        assert found is None
        return
    # The correlation of the two one-hot matrices, centred; 0 for a constant prediction.
    given, gold = np.eye(4)[predictions], np.eye(4)[references]
    given, gold = given - given.mean(0), gold - gold.mean(0)
    size = np.sqrt((given**2).sum() * (gold**2).sum())
    expected = (given * gold).sum() / size if size > 1e-12 else 0.0
    assert found == pytest.approx(expected, abs=1e-9)


def test_hand_values() -> None:
    predictions, references = [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]  # 2 true, 1 false positives; 1 false, 1 true negative
    assert METRICS["accuracy"].compute(predictions, references) == pytest.approx(3 / 5)
    assert METRICS["f1"].of_label(1).compute(predictions, references) == pytest.approx(2 / 3)
    assert METRICS["macro_f1"].compute(predictions, references) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert METRICS["matthews"].compute(predictions, references) == pytest.approx(1 / 6)
    assert METRICS["matthews"].compute(predictions, references) == pytest.approx(
        sk.matthews_corrcoef(references, predictions)
    )
    assert METRICS["f1"].of_label(1).compute([0, 1], [1, 0]) == 0.0
    assert METRICS["matthews"].compute([1, 0], [0, 1]) == pytest.approx(-1)


# ---------------------------------------------------------------------------------------------------------- regression


@FEW
@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=30))
def test_correlations(rows: list[tuple[int, int]]) -> None:
    predictions, references = (column / 8 for column in columns(rows))
    constant = len(set(predictions.tolist())) == 1 or len(set(references.tolist())) == 1
    ranked = [stats.rankdata(column) for column in (predictions, references)]
    for name, pair in (("pearson", (predictions, references)), ("spearman", ranked)):
        found = METRICS[name].compute(predictions, references)
        if constant:
            assert found is None
        else:
            assert found == pytest.approx(np.corrcoef(*pair)[0, 1], abs=1e-9)


def test_correlation_hand_values() -> None:
    references = [0.0, 1.0, 2.0, 5.0]
    assert METRICS["pearson"].compute([1.0, 3.0, 5.0, 11.0], references) == pytest.approx(1)
    assert METRICS["spearman"].compute([0.1, 0.2, 9.0, 10.0], references) == pytest.approx(1)
    assert METRICS["spearman"].compute([4.0, 3.0, 2.0, 1.0], references) == pytest.approx(-1)
    assert METRICS["pearson"].compute([2.0, 2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]) == pytest.approx(0)


# ----------------------------------------------------------------------------------------------------------- undefined


@pytest.mark.parametrize(
    ("name", "predictions", "references"),
    [
        ("matthews", [0, 1, 0], [1, 1, 1]),
        ("pearson", [0.5, 0.5, 0.5], [1.0, 2.0, 3.0]),
        ("pearson", [1.0, 2.0, 3.0], [0.5, 0.5, 0.5]),
        ("spearman", [0.5, 0.5], [1.0, 2.0]),
        ("pearson", [1.0], [1.0]),
        ("spearman", [1.0], [1.0]),
        ("pearson", [float("nan"), 1.0, 2.0], [1.0, 2.0, 3.0]),
    ],
)
def test_what_is_undefined_is_none(name: str, predictions: list, references: list) -> None:
    assert METRICS[name].compute(predictions, references) is None


def test_f1_of_a_label_that_nobody_has_is_none() -> None:
    assert METRICS["f1"].of_label(1).compute([0, 0, 0], [0, 0, 0]) is None


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_have_no_score(name: str) -> None:
    assert METRICS[name].compute(np.array([]), np.array([])) is None


def test_what_is_zero_is_not_undefined() -> None:
    assert METRICS["matthews"].compute([1, 1, 1], [0, 1, 0]) == 0.0
    assert METRICS["f1"].of_label(1).compute([0, 0], [0, 1]) == 0.0
    assert METRICS["accuracy"].compute([0, 0], [1, 1]) == 0.0
    assert METRICS["macro_f1"].compute([0, 0], [1, 1]) == 0.0


def test_one_value_does_not_depend_on_those_before() -> None:
    first = METRICS["accuracy"].compute([0, 1, 1], [0, 1, 0])
    with pytest.raises(ValueError, match="length|match"):
        METRICS["accuracy"].compute([0, 1], [0, 1, 0])
    assert METRICS["accuracy"].compute([1], [1]) == 1.0
    assert METRICS["accuracy"].compute([0, 1, 1], [0, 1, 0]) == first == pytest.approx(2 / 3)


# The library's own way knows no columns of probabilities.
@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.from_outputs])
def test_values_are_those_of_the_librarys_own_way(name: str) -> None:
    metric = METRICS[name]
    both: tuple = ([0, 1, 1, 0, 2], [0, 1, 0, 0, 1])
    if metric.of == "float64":
        both = (np.float32([0.1, 0.7, 0.3, 0.2, 0.9]), [0.3, 1.0, 0.2, 0.1, 5.0])
    elif metric.in_lists:
        both = ([["B-a", "O"], ["B-b"]], [["B-a", "O"], ["B-c"]])
    module = module_of(metric.value, metric.of, metric.in_lists, "")
    theirs = evaluate.Metric.compute(module, predictions=both[0], references=both[1])
    assert theirs["value"] is not None and metric.compute(*both) == theirs["value"]


# ---------------------------------------------------------------------------------------------------------- degenerate


@pytest.mark.parametrize("name", METRICS)
def test_constant_predictions_tell_nothing(name: str) -> None:
    constant = {("1", "2"): 3, ("2", "2"): 7}
    assert METRICS[name].degenerate(constant) == "always 2"
    assert METRICS[name].degenerate({("2", "2"): 7}) == ""  # there is nothing to tell
    assert METRICS[name].degenerate({("1", "1"): 3, ("2", "2"): 7}) == ""


def test_an_accuracy_that_the_most_frequent_label_alone_would_have() -> None:
    rows = {("ham", "ham"): 80, ("ham", "spam"): 10, ("spam", "spam"): 10}
    assert METRICS["accuracy"].degenerate(rows) == "no better than always ham"
    assert METRICS["accuracy"].degenerate({**rows, ("spam", "spam"): 11}) == ""
    assert METRICS["f1"].degenerate(rows) == METRICS["matthews"].degenerate(rows) == ""  # they may be high there


def test_scores_that_differ_by_rounding_are_constant() -> None:
    rows = {("1.0", "2.5000001"): 1, ("2.0", "2.5"): 1, ("3.0", "2.5000002"): 1}
    assert METRICS["pearson"].degenerate(rows) == "always 2.5"
    assert METRICS["spearman"].degenerate({**rows, ("4.0", "2.501"): 1}) == ""


# ---------------------------------------------------------------------------------------------------------- no network

OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"network: {arguments}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from adaptershare_cli.kinds import METRICS
for name in sorted(METRICS):
    if name.startswith("span_"):
        print(METRICS[name].compute([["B-a", "O"], ["B-b"]], [["B-a", "O"], ["B-c"]]))
    elif METRICS[name].from_outputs:
        print(METRICS[name].compute([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]], [0, 1, 0, 0]))
    else:
        print(METRICS[name].compute([0, 1, 1, 0], [0, 1, 0, 0]))
"""


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    home = tmp_path / "hub"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HOME": str(tmp_path)}
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    macro = (2 / 3 + 4 / 5) / 2
    correlation = 1 / np.sqrt(3)
    expected = [0.75, 1, 1, macro, macro, correlation, -0.25, -0.5, correlation, 0.5, 0.5, 0.5, 0.5, correlation]
    assert [float(value) for value in run.stdout.split()] == pytest.approx(expected)
