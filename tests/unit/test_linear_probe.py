"""Linear probes: each kind's own loss trained to its end equals scikit-learn's model; folds; cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from adaptershare_cli.training.linear_probe import cross_validate, fit, split
from tests.core import MIXED, info_of, random_rows


def features_of(task: str, count: int = 60, width: int = 5) -> tuple[np.ndarray, object]:
    rows = random_rows(info_of(task), count, 1)
    return np.random.default_rng(0).normal(size=(len(rows.answers), width)), rows


def moved(z: np.ndarray) -> np.ndarray:
    z = z - z.mean(axis=0)
    return z / np.sqrt((z**2).mean())


@pytest.mark.parametrize("task", ["first", "second"])
def test_classes_are_logistic_regression(task: str) -> None:
    z, rows = features_of(task)
    probe = fit(z, info_of(task), rows, np.arange(60), 0.1)
    theirs = LogisticRegression(C=1 / (0.1 * 60), tol=1e-10, max_iter=5000)
    expected = theirs.fit(moved(z), rows.answers.labels).predict_proba(moved(z))
    outputs = np.exp(probe.outputs(z))
    if task == "first":  # two outputs with a penalty each are one with half of it
        theirs.set_params(C=2 / (0.1 * 60))
        expected = theirs.fit(moved(z), rows.answers.labels).predict_proba(moved(z))
    np.testing.assert_allclose(outputs / outputs.sum(axis=1, keepdims=True), expected, atol=1e-3)


def test_scores_are_ridge() -> None:
    z, rows = features_of("score")
    probe = fit(z, info_of("score"), rows, np.arange(60), 0.1)
    wanted = (rows.answers.labels - 2.5) / 2.5
    expected = Ridge(alpha=60 * 0.1 / 2).fit(moved(z), wanted).predict(moved(z))
    np.testing.assert_allclose(probe.outputs(z)[:, 0], expected, atol=1e-3)


def test_words_are_logistic_regression_in_which_each_sentence_counts_once() -> None:
    z, rows = features_of("tags")
    answers = rows.answers
    probe = fit(z, info_of("tags"), rows, np.arange(60), 0.1)
    weight = 1 / np.repeat(answers.per_row, answers.per_row)
    theirs = LogisticRegression(C=1 / (0.1 * 60), tol=1e-10, max_iter=5000)
    expected = theirs.fit(moved(z), answers.labels, sample_weight=weight).predict_proba(moved(z))
    outputs = np.exp(probe.outputs(z))
    np.testing.assert_allclose(outputs / outputs.sum(axis=1, keepdims=True), expected, atol=1e-3)


@pytest.mark.parametrize("task", MIXED)
def test_rows_are_judged_by_probes_that_did_not_see_them(task: str) -> None:
    """Features that hold the row's number alone fit every row that is seen, and say nothing of one that is not."""
    rows, info = random_rows(info_of(task), 40, 1), info_of(task)
    own = np.repeat(np.eye(40), rows.answers.per_row, axis=0)
    folds = split(rows, 3)
    assert sorted(np.concatenate(folds)) == list(range(40))
    found = cross_validate(own, info, rows, folds, 1e-4)
    told = fit(own, info, rows, np.arange(40), 1e-4).outputs(own)
    blind = cross_validate(0 * own, info, rows, folds, 1e-4)
    assert np.ptp(told, axis=0).max() > 0.5 and found.loss > 0.8 * blind.loss


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 3))
def test_folds_part_the_rows_and_keep_texts_together(texts: list[int], seed: int) -> None:
    rows = random_rows(info_of("second"), len(texts), 1)
    rows.content = [f"text {text}" for text in texts]
    folds = split(rows, seed)
    if len(set(texts)) < 2:
        assert folds == []
        return
    assert sorted(np.concatenate(folds)) == list(range(len(texts))) and len(folds) <= 5
    where = {}
    for number, fold in enumerate(folds):
        for row in fold:
            assert where.setdefault(texts[row], number) == number
