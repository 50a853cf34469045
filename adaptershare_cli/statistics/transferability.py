"""How much features say about labels, by formulas that train nothing: LogME, H-score, TransRate, nearest neighbours.

Features z are (A, H), a row an answer. Labels come as *columns* y (A, K): a column of zeros and ones for each class, or
the scores themselves. Higher is better for all of them.
"""

from __future__ import annotations

import numpy as np

_PRECISION = 1e-6  # LogME: relative change of alpha and beta at which its fixed point is reached
_ITERATIONS = 500
_DISTANCES = 20_000_000  # distances held at a time (160 MB)


def centred(values: np.ndarray) -> np.ndarray:
    """The values less the mean of their columns, float64."""
    values = np.asarray(values, dtype=np.float64)
    return values - values.mean(axis=0, keepdims=True)


def log_evidence(features: np.ndarray, columns: np.ndarray) -> float:
    """LogME: the log of the evidence p(y | z) of a Bayesian linear model, an answer, averaged over the columns.

    y = z w + noise with w ~ N(0, 1/alpha) and noise ~ N(0, 1/beta), where alpha and beta are those that make y most
    likely; with the singular values s of z, its left singular vectors u and x = u' y

        gamma = sum s^2 / (s^2 + t),  t = alpha / beta;   alpha = gamma / |w|^2,  beta = (A - gamma) / |y - z w|^2
        log p = (H log alpha + A log beta - sum log(alpha + beta s^2) - beta |y - z w|^2 - alpha |w|^2 - A log 2 pi) / 2

    with a term log alpha for each of the H - rank directions that z lacks. There is no intercept: centre z and y where
    one is wanted. Source: You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
    algorithm 1, with the fixed point of its extended version (You et al. 2022, algorithm 3).
    """
    z = np.asarray(features, dtype=np.float64)
    y = np.asarray(columns, dtype=np.float64).reshape(len(z), -1)
    u, s, _ = np.linalg.svd(z, full_matrices=False)
    squares = s**2
    return float(np.mean([_evidence(u.T @ column, squares, z.shape, float(column @ column)) for column in y.T]))


def _evidence(x: np.ndarray, squares: np.ndarray, shape: tuple[int, int], total: float) -> float:
    """The log evidence of one column: `x` its coordinates along z's singular vectors, `total` its squared length."""
    count, width = shape
    x_squares = x**2
    outside = max(total - x_squares.sum(), 0.0)  # of y, what no direction of z reaches
    alpha = beta = 1.0
    for _ in range(_ITERATIONS):
        ratio = alpha / beta
        gamma = (squares / (squares + ratio)).sum()
        weight = (squares * x_squares / (squares + ratio) ** 2).sum()
        residual = (x_squares / (1 + squares / ratio) ** 2).sum() + outside
        alpha = gamma / (weight + 1e-5)
        beta = (count - gamma) / (residual + 1e-5)
        if abs(alpha / beta - ratio) / ratio <= _PRECISION:
            break
    ratio = alpha / beta
    weight = (squares * x_squares / (squares + ratio) ** 2).sum()
    residual = (x_squares / (1 + squares / ratio) ** 2).sum() + outside
    determinant = np.log(alpha + beta * squares).sum() + (width - len(squares)) * np.log(alpha)
    evidence = width * np.log(alpha) + count * np.log(beta) - determinant - beta * residual - alpha * weight
    return float((evidence - count * np.log(2 * np.pi)) / 2 / count)


def h_score(features: np.ndarray, columns: np.ndarray) -> float:
    """How much of the features' spread the labels explain, each direction measured in its own spread.

        H = tr( C_zz^-1  C_zy C_yy^+ C_yz )

    For classes C_zy C_yy^+ C_yz is the covariance of the class means; for scores H is the sum of the squared canonical
    correlations. C_zz is shrunk (Ledoit & Wolf 2004), as there are hardly more answers than features. Sources: Bao et
    al. 2019, "An Information-Theoretic Approach to Transferability in Task Transfer Learning"; shrunk: Ibrahim et al.
    2022, "Newer is not always better".
    """
    from sklearn.covariance import LedoitWolf

    z, y = centred(features), centred(columns).reshape(len(features), -1)
    spread = LedoitWolf(assume_centered=True).fit(z).covariance_
    between = z.T @ y / len(z)
    explained = between @ np.linalg.pinv(y.T @ y / len(y), hermitian=True) @ between.T
    return float(np.trace(np.linalg.solve(spread, explained)))


def transrate(features: np.ndarray, classes: np.ndarray, distortion: float = 1e-4) -> float:
    """How many nats the features need less when the class is known (TransRate).

        R(z) - mean over classes of R(z of that class),     R(z) = log det(1 + z' z / (A distortion)) / 2

    z is centred over all answers, not within a class, so two classes that lie apart on one line tell nothing.
    `classes` (A,) are whole numbers. Source: Huang et al. 2022, "Frustratingly Easy Transferability Estimation",
    algorithm 1.
    """
    z = centred(features)
    found = np.unique(classes)
    return _coding_rate(z, distortion) - float(np.mean([_coding_rate(z[classes == c], distortion) for c in found]))


def _coding_rate(z: np.ndarray, distortion: float) -> float:
    small = z if len(z) < z.shape[1] else z.T  # the determinant is the same on both sides
    return float(np.linalg.slogdet(np.eye(len(small)) + small @ small.T / (len(z) * distortion))[1] / 2)


def neighbour_means(features: np.ndarray, columns: np.ndarray, count: int, groups: np.ndarray) -> np.ndarray:
    """For each answer the mean (A, K) of the columns of its `count` nearest neighbours by Euclidean distance.

    Answers of its own group (A,), copies of one text among them, do not count as its neighbours. An answer with fewer
    than `count` others has the mean of those; one without any has NaN.
    """
    z, y = np.asarray(features, dtype=np.float64), np.asarray(columns, dtype=np.float64).reshape(len(features), -1)
    lengths = (z**2).sum(axis=1)
    means = np.full(y.shape, np.nan)
    size = max(1, _DISTANCES // len(z))
    for start in range(0, len(z), size):
        part = slice(start, start + size)
        distances = lengths[part, None] + lengths[None, :] - 2 * z[part] @ z.T
        distances[groups[part, None] == groups[None, :]] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
        known = np.isfinite(np.take_along_axis(distances, nearest, axis=1))
        summed = np.where(known[:, :, None], y[nearest], 0.0).sum(axis=1)
        means[part] = np.divide(
            summed, known.sum(axis=1)[:, None], out=np.full(summed.shape, np.nan), where=known.any(axis=1)[:, None]
        )
    return means
