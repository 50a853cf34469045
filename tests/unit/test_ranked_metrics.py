"""Metrics of probabilities and of distances against definitions written out, and where they are undefined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from adaptershare_cli.kinds import KINDS, METRICS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.answers import Answers
from adaptershare_cli.kinds.rows.outputs import probabilities

RANDOM = np.random.default_rng(0)
OUTPUTS = RANDOM.normal(size=(30, 3)).round(1).astype(np.float32)  # rounded, so that there are ties
LABELS = RANDOM.integers(0, 3, 30)


def auroc(there: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a row with the label and one without that are in order; ties count half."""
    pairs = itertools.product(scores[there], scores[~there])
    return float(np.mean([1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs]))


def average_precision(there: np.ndarray, scores: np.ndarray) -> float:
    """The mean over rows with the label of the precision among all rows of at least their score."""
    return float(np.mean([there[scores >= score].mean() for score in scores[there]]))


@pytest.mark.parametrize(("name", "formula"), [("auroc", auroc), ("average_precision", average_precision)])
def test_metrics_of_probabilities(name: str, formula) -> None:
    shares = probabilities(OUTPUTS)
    each = [formula(label == LABELS, shares[:, label]) for label in range(3)]
    assert METRICS[name].compute(shares, LABELS) == pytest.approx(np.mean(each))
    assert METRICS[name].of_label(1).compute(shares, LABELS) == pytest.approx(each[1])
    assert METRICS[name].of_label(1) is METRICS[name].of_label(1)
    info = TaskInfo("task", "classification", ("a", "b", "c"), None, ("accuracy", name), positive="c")
    found = KINDS["classification"].scores(info, OUTPUTS, Answers(LABELS))
    assert found[name] == pytest.approx(each[2])


def test_metrics_of_probabilities_where_labels_or_scores_are_all_alike() -> None:
    shares = probabilities(OUTPUTS)
    one = np.zeros(30, dtype=np.int64)
    assert METRICS["auroc"].compute(shares, one) is None
    assert METRICS["average_precision"].of_label(2).compute(shares, one) is None
    tied = np.full((30, 3), 1 / 3)
    assert METRICS["auroc"].compute(tied, LABELS) == 0.5
    frequency = np.bincount(LABELS)[1] / 30
    assert METRICS["average_precision"].of_label(1).compute(tied, LABELS) == pytest.approx(frequency)


def kappa(predictions: np.ndarray, references: np.ndarray) -> float:
    """One minus the mean squared distance, in parts of that between all predictions and all references."""
    chance = np.mean([(p - r) ** 2 for p, r in itertools.product(predictions, references)])
    return 1 - float(((predictions - references) ** 2).mean() / chance)


def test_quadratic_kappa_is_one_minus_squared_distance_over_that_of_chance() -> None:
    predictions = RANDOM.choice([0, 1, 4], 25)  # ranks 2 and 3 do not occur, and still keep their places
    references = RANDOM.choice([0, 1, 4], 25)
    assert METRICS["qwk"].compute(predictions, references) == pytest.approx(kappa(predictions, references))
    assert METRICS["qwk"].compute(references, references) == pytest.approx(1)
    assert METRICS["qwk"].compute([1] * 3, [0, 1, 2]) == pytest.approx(0)
    assert METRICS["qwk"].compute([1, 1], [1, 1]) is None and METRICS["qwk"].compute([0], [0]) is None


def test_errors_are_negative_so_that_more_is_better() -> None:
    predictions, references = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 1.0])
    assert METRICS["neg_mae"].compute(predictions, references) == pytest.approx(-4 / 3)
    assert METRICS["neg_rmse"].compute(predictions, references) == pytest.approx(-np.sqrt(10 / 3))
    assert METRICS["neg_mae"].compute(references, references) == 0.0


def test_ordinal_predicts_the_nearest_label() -> None:
    info = TaskInfo("grade", "ordinal", ("bad", "ok", "good"), None, ("qwk", "neg_mae", "accuracy"))
    kind, outputs = KINDS["ordinal"], np.array([[-9.0], [-0.6], [-0.4], [0.49], [0.51], [7.0]], dtype=np.float32)
    answers = Answers(np.array([0, 1, 1, 1, 2, 2]))
    assert kind.predicted(info, outputs, answers).tolist() == [0, 0, 1, 1, 2, 2]
    scores = kind.scores(info, outputs, answers)
    assert scores["neg_mae"] == pytest.approx(-1 / 6) and scores["accuracy"] == pytest.approx(5 / 6)
    rows = list(kind.row_answers(info, range(6), answers, outputs, None))
    assert [row["label"] for row in rows] == ["bad", "bad", "ok", "ok", "good", "good"]
    assert rows[2]["rank"] == pytest.approx(0.6) and kind.answer_fields(info, None).keys() == rows[0].keys()
    assert kind.errors(np.array([0, 2]), np.array([2, 1])).tolist() == [2.0, 1.0]
