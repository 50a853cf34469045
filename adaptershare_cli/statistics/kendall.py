"""Kendall's tau-b between many vectors at once."""

from __future__ import annotations

import numpy as np

BLOCK_VALUES = 4_000_000  # pair signs held at a time (16 MB)


def kendall_tau_b(vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
    """tau-b (M, R) of each of `vectors` (M, n) with each of `references` (R, n); nan where one of the two is constant.

    With C and D the concordant and discordant of the n0 = n (n - 1) / 2 pairs of places, n1 and n2 those tied in the
    one and the other,

        tau_b = (C - D) / sqrt((n0 - n1) (n0 - n2))

    A vector becomes the signs of its n0 differences; C - D is then a dot product, exact in float32 as it is a whole
    number under 2^24. Equal to `scipy.stats.kendalltau`. Source: Kendall 1945; GradTS (specs section 1.4).
    """
    first, second = np.triu_indices(vectors.shape[1], k=1)
    reference = _signs(references, first, second)
    untied = np.count_nonzero(reference, axis=1)
    found = np.empty((len(vectors), len(references)))
    size = max(1, BLOCK_VALUES // max(1, len(first)))
    for start in range(0, len(vectors), size):
        signs = _signs(vectors[start : start + size], first, second)
        pairs = np.outer(np.count_nonzero(signs, axis=1), untied).astype(float)
        balance = (signs @ reference.T).astype(float)
        found[start : start + size] = np.divide(
            balance, np.sqrt(pairs), out=np.full(pairs.shape, np.nan), where=pairs > 0
        )
    return found


def _signs(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1, 0 or -1 for each pair of places, float32 (so that products use BLAS)."""
    return (vectors[:, first] > vectors[:, second]).astype(np.float32) - (
        vectors[:, first] < vectors[:, second]
    ).astype(np.float32)
