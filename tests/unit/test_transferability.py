"""How much features say about labels: each formula against an explicit or published form, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from adaptershare_cli.statistics.transferability import centred, h_score, log_evidence, neighbour_means, transrate


def drawn(count: int = 40, width: int = 6, outputs: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, and classes that depend on them."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, width))
    return features, (features[:, :outputs] + random.normal(size=(count, outputs))).argmax(axis=1)


def columns_of(classes: np.ndarray) -> np.ndarray:
    return (classes[:, None] == np.unique(classes)[None]).astype(float)


class TestLogEvidence:
    @pytest.mark.parametrize("shape", [(40, 6), (12, 30)], ids=["more answers", "more features"])
    def test_is_the_highest_marginal_likelihood_of_the_model(self, shape):
        """y ~ N(0, z z' / alpha + 1 / beta), with alpha and beta searched for by a general optimiser."""
        random = np.random.default_rng(1)
        z = random.normal(size=shape)
        y = z @ random.normal(size=shape[1]) + 2 * random.normal(size=shape[0])

        def negative(logs: np.ndarray) -> float:
            alpha, beta = np.exp(logs)
            return -multivariate_normal(np.zeros(len(y)), z @ z.T / alpha + np.eye(len(y)) / beta).logpdf(y) / len(y)

        best = minimize(negative, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
        assert log_evidence(z, y) == pytest.approx(-best.fun, abs=1e-4)

    def test_equals_the_published_iteration(self):
        """Algorithm 1 of You et al. 2021 as it is written there, with matrices instead of singular values."""
        z, classes = drawn()
        found = []
        for column in columns_of(classes).T:
            alpha = beta = 1.0
            for _ in range(200):
                a = alpha * np.eye(z.shape[1]) + beta * z.T @ z
                m = beta * np.linalg.solve(a, z.T @ column)
                eigen = np.linalg.eigvalsh(beta * z.T @ z)
                gamma = (eigen / (alpha + eigen)).sum()
                alpha = gamma / (m @ m + 1e-5)
                beta = (len(z) - gamma) / (((column - z @ m) ** 2).sum() + 1e-5)
            a = alpha * np.eye(z.shape[1]) + beta * z.T @ z
            m = beta * np.linalg.solve(a, z.T @ column)
            evidence = (
                len(z) / 2 * np.log(beta) + z.shape[1] / 2 * np.log(alpha) - len(z) / 2 * np.log(2 * np.pi)
                - beta / 2 * ((column - z @ m) ** 2).sum() - alpha / 2 * m @ m - np.linalg.slogdet(a)[1] / 2
            )  # fmt: skip
            found.append(evidence / len(z))
        assert log_evidence(z, columns_of(classes)) == pytest.approx(np.mean(found), abs=1e-4)

    def test_features_that_know_more_have_more(self):
        z, classes = drawn(count=200)
        noise = np.random.default_rng(2).normal(size=z.shape)
        columns = centred(columns_of(classes))
        assert log_evidence(centred(z), columns) > log_evidence(centred(noise), columns)


class TestHScore:
    def test_of_classes_is_the_spread_of_their_means(self):
        z, classes = drawn(count=400)
        moved = centred(z)
        means = np.stack([moved[classes == c].mean(axis=0) for c in classes])
        spread = LedoitWolf(assume_centered=True).fit(moved).covariance_
        expected = np.trace(np.linalg.inv(spread) @ (means.T @ means / len(z)))
        assert h_score(z, columns_of(classes)) == pytest.approx(expected)

    def test_of_a_score_is_its_squared_correlation_with_the_best_line(self):
        random = np.random.default_rng(3)
        z = random.normal(size=(20000, 4)) * [1, 2, 2, 1]  # the more answers, the less their covariance is shrunk
        y = z @ [1.0, 1.0, 0.1, 0.0] + random.normal(size=20000)
        line = centred(z) @ np.linalg.lstsq(centred(z), centred(y[:, None]), rcond=None)[0]
        assert h_score(z, y) == pytest.approx(np.corrcoef(line[:, 0], y)[0, 1] ** 2, rel=0.01)


class TestTransRate:
    def test_against_the_published_lines(self):
        z, classes = drawn(count=50, width=5)

        def coding_rate(part: np.ndarray) -> float:
            inner = np.eye(part.shape[1]) + part.T @ part / (len(part) * 1e-4)
            return np.linalg.slogdet(inner)[1] / 2

        moved = z - z.mean(axis=0)
        expected = coding_rate(moved) - np.mean([coding_rate(moved[classes == c]) for c in range(3)])
        assert transrate(z, classes) == pytest.approx(expected)
        wide = np.hstack([z, np.zeros((50, 100))])  # more features than answers: the smaller determinant is taken
        assert transrate(wide, classes) == pytest.approx(expected)


class TestNeighbours:
    def test_against_scikit_learn(self):
        z, classes = drawn(count=60)
        columns = columns_of(classes)
        nearest = NearestNeighbors(n_neighbors=6).fit(z).kneighbors(z, return_distance=False)[:, 1:]
        found = neighbour_means(z, columns, 5, np.arange(60))
        np.testing.assert_allclose(found, columns[nearest].mean(axis=1))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 15), st.integers(0, 5))
    def test_never_asks_its_own_group(self, groups, count, seed):
        groups = np.array(groups)
        z = np.random.default_rng(seed).normal(size=(len(groups), 2))
        found = neighbour_means(z, (groups[:, None] == np.arange(4)).astype(float), count, groups)
        for answer, group in enumerate(groups):
            if (groups == group).all():
                assert np.isnan(found[answer]).all()
            else:
                assert found[answer, group] == 0 and found[answer].sum() == pytest.approx(1)

    def test_parts_make_no_difference(self, monkeypatch):
        z, classes = drawn(count=30)
        whole = neighbour_means(z, columns_of(classes), 4, np.arange(30))
        monkeypatch.setattr("adaptershare_cli.statistics.transferability._DISTANCES", 70)
        np.testing.assert_array_equal(neighbour_means(z, columns_of(classes), 4, np.arange(30)), whole)
