"""How tasks' gradients on one adapter stand to each other. Pure: gradients in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Interference:
    """Pairwise relations of tasks on the adapter of one layer.

    `dot`, `cosine`: (T, T); `norm`, `agreement`: (T,). The interference degree of two tasks is -cosine. A cosine is
    nan (unknown) where one of the gradients is zero or not finite; `agreement` is the cosine between the gradients
    of a task's two held-out halves.
    """

    dot: np.ndarray
    norm: np.ndarray
    cosine: np.ndarray
    agreement: np.ndarray


def interference(gradients: torch.Tensor) -> Interference:
    """Relations between tasks from their gradients (T, 2, P) on the two held-out halves of each.

    g_t = G[t, 1] + G[t, 2]; cosine[s, t] = g_s . g_t / (|g_s| |g_t|). Source: AdapterShare (EMNLP 2022).
    """
    halves = gradients.detach().to(torch.float64).cpu().numpy()
    total = halves.sum(1)
    finite = np.isfinite(halves).all((1, 2))
    total = np.where(finite[:, None], total, np.nan)
    dot = total @ total.T
    norm = np.sqrt(np.diagonal(dot).clip(min=0))
    first, second = halves[:, 0], halves[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        half_norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        agreement = (first * second).sum(1) / half_norms
        cosine = dot / np.outer(norm, norm)
    unknown = ~(finite & (norm > 0))
    cosine[unknown, :] = np.nan
    cosine[:, unknown] = np.nan
    agreement[~np.isfinite(agreement)] = np.nan
    return Interference(dot, norm, np.clip(cosine, -1, 1), np.clip(agreement, -1, 1))
