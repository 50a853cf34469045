"""Held-out copies of one text are one of the sample: laws of standard errors, lengths, evidence and halves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.observe.gradients import row_index
from adaptershare_cli.sharing.differentiation import weigh_evidence
from adaptershare_cli.sharing.interference import RowIndex, block_means, interference, squared_lengths, standard_errors
from tests.core import INFOS, build_method, random_parts, random_rows

NAMES = ("first", "second", "score")


def heldout(sizes: list[int], seed: int) -> dict[str, Rows]:
    """Held-out rows of two labels, three labels, and scores; all texts differ."""
    return {name: random_rows(INFOS[name], size, seed) for name, size in zip(NAMES, sizes, strict=True)}


def random_gram(count: int, seed: int) -> np.ndarray:
    """Inner products of random rows."""
    rows = np.random.default_rng(seed).normal(size=(count, 7)) + 0.3
    return rows @ rows.T


def copied(rows: dict[str, Rows], copies: dict[str, np.ndarray]) -> tuple[dict[str, Rows], np.ndarray]:
    """The rows with each as often as `copies` (n,) say, and which of all rows each copy is of."""
    starts = np.cumsum([0, *map(len, rows.values())])
    taken = {name: np.repeat(np.arange(len(one)), copies[name]) for name, one in rows.items()}
    whole = np.concatenate([start + found for start, found in zip(starts, taken.values(), strict=False)])
    return {name: one.take(taken[name]) for name, one in rows.items()}, whole


@settings(max_examples=25)
@given(st.lists(st.integers(2, 20), min_size=3, max_size=3), st.integers(2, 4), st.integers(0, 99))
def test_rows_that_all_stand_k_times_are_as_sure_as_once(sizes: list[int], copies: int, seed: int) -> None:
    rows = heldout(sizes, seed)
    more, of = copied(rows, {name: np.full(len(one), copies) for name, one in rows.items()})
    index, many = row_index(rows), row_index(more)
    assert many.stratum is not None and index.stratum is not None
    np.testing.assert_array_equal(many.half, index.half[of])
    np.testing.assert_array_equal(many.stratum, index.stratum[of])
    gram = random_gram(len(index.task), seed)
    wide = gram[np.ix_(of, of)]
    np.testing.assert_allclose(standard_errors(wide, many), standard_errors(gram, index), rtol=1e-8)
    np.testing.assert_allclose(squared_lengths(wide, many), squared_lengths(gram, index), rtol=1e-8, atol=1e-12)
    once, found = (interference(g, i) for g, i in ((gram, index), (wide, many)))
    for name in ("cosine", "error", "agreement"):
        np.testing.assert_allclose(getattr(found, name), getattr(once, name), rtol=1e-8, atol=1e-12)
    p_value, expected = (weigh_evidence(g, i, -0.2).p_value for g, i in ((wide, many), (gram, index)))
    np.testing.assert_allclose(p_value, expected, rtol=1e-6)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 12), min_size=3, max_size=3), st.data(), st.integers(0, 99))
def test_copies_stay_in_one_half_and_stratum(sizes: list[int], data: st.DataObject, seed: int) -> None:
    rows = heldout(sizes, seed)
    counts = {
        name: np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(one), max_size=len(one))))
        for name, one in rows.items()
    }
    more, of = copied(rows, counts)
    order = {name: np.random.default_rng(seed).permutation(len(one)) for name, one in more.items()}
    starts = np.cumsum([0, *map(len, more.values())])
    of = np.concatenate([of[start + order[name]] for start, name in zip(starts, order, strict=False)])
    index = row_index({name: one.take(order[name]) for name, one in more.items()})
    assert index.cluster is not None and index.stratum is not None
    for task in range(index.tasks):
        own = index.rows(task)
        clusters = {int(row): index.cluster[own][of[own] == row] for row in np.unique(of[own])}
        assert len({int(found[0]) for found in clusters.values()}) == len(clusters)
        for row, found in clusters.items():
            assert len(set(found)) == len(set(index.half[own][of[own] == row])) == 1
            assert len(set(index.stratum[own][of[own] == row])) == 1
        for stratum in np.unique(index.stratum[own]):
            there = index.stratum[own] == stratum
            first, second = ((index.half[own][there] == side).sum() for side in (0, 1))
            largest = max((of[own][there] == row).sum() for row in np.unique(of[own][there]))
            assert abs(int(first) - int(second)) <= largest


def test_copies_with_another_label_are_another_cluster() -> None:
    rows = random_rows(INFOS["first"], 6, 1).take(np.array([0, 0, 1, 1, 2, 3]))
    rows.answers.labels[:] = [0, 1, 0, 0, 1, 1]
    assert len(set(row_index({"first": rows}).cluster)) == 5  # type: ignore[arg-type]


def clustered(seed: int, sizes: tuple[list[int], list[int]]) -> tuple[np.ndarray, RowIndex]:
    """Two tasks' rows around their means, each repeated as `sizes` say."""
    generator = np.random.default_rng(seed)
    means = np.array([[1.0, 0.0, 0.0] + [0.0] * 20, [0.3, 0.9, 0.0] + [0.0] * 20])
    draws = [mean + generator.normal(size=(len(own), 23)) for mean, own in zip(means, sizes, strict=True)]
    rows = np.concatenate([np.repeat(drawn, own, 0) for drawn, own in zip(draws, sizes, strict=True)])
    task = np.repeat([0, 1], [sum(own) for own in sizes])
    cluster = np.concatenate([np.repeat(np.arange(len(own)), own) for own in sizes])
    return rows @ rows.T, RowIndex(task, cluster % 2, 2, cluster=cluster)


def test_standard_errors_and_lengths_are_those_of_repeated_samples_with_copies() -> None:
    sizes = ([1] * 10 + [2] * 8 + [4] * 6, [3] * 12 + [1] * 12)
    found, errors, lengths, without = [], [], [], []
    for seed in range(300):
        gram, index = clustered(seed, sizes)
        found.append(block_means(gram, index)[0, 1])
        errors.append(standard_errors(gram, index)[0, 1])
        lengths.append(squared_lengths(gram, index))
        without.append(standard_errors(gram, RowIndex(index.task, index.half, 2))[0, 1])
    spread = np.std(found)
    assert 0.9 < np.sqrt(np.mean(np.square(errors))) / spread < 1.2
    assert np.sqrt(np.mean(np.square(without))) / spread < 0.8
    np.testing.assert_allclose(np.mean(lengths, 0), [1.0, 0.9], rtol=0.1)


def test_one_text_alone_is_no_sample() -> None:
    index = RowIndex(np.array([0, 0, 0, 1, 1]), np.zeros(5), 2, cluster=np.array([0, 0, 0, 1, 2]))
    gram = random_gram(5, 1)
    assert np.isnan(standard_errors(gram, index)).all()
    assert np.isnan(squared_lengths(gram, index)).tolist() == [True, False]
    assert np.isnan(weigh_evidence(gram, index, -0.2).p_value).all()


def test_strata_of_a_single_text_are_taken_together() -> None:
    index = RowIndex(np.zeros(6), np.zeros(6), 1, np.array([5, 5, 5, 2, 2, 9]), np.array([0, 1, 2, 3, 3, 4]))
    assert index.same_stratum(0).sum(1).tolist() == [3, 3, 3, 3, 3, 3]
    assert index.same_stratum(0)[3].tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("rule", ["threshold", "significance"])
def test_a_check_on_copies_says_what_one_on_the_rows_says(encoder: Path, rule: str) -> None:
    """Halves, errors, p values and decisions of a method that splits, with every held-out row three times."""

    def checked(copies: int) -> list[dict[str, Any]]:
        parts = random_parts(NAMES)
        options: dict[str, Any] = {"rule": rule, "max_interference": -0.99}
        method, _ = build_method(encoder, "adaptershare", parts, double=True, **options)
        method.heldout = {name: one.take(np.repeat(np.arange(11), copies)) for name, one in method.heldout.items()}
        method.split = lambda *arguments: None
        method.check("main", 1, None)
        return method.context.records["interference"]

    once, often = checked(1), checked(3)
    assert len(once) == len(often) > 0
    for row, other in zip(once, often, strict=True):
        for name, value in row.items():
            assert other[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), name
    assert any(row["cosine_error"] for row in once)
