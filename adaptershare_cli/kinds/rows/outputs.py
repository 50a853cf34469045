"""What heads put out, as probabilities, and how much each answer counts in the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def label_weights(weights: tuple[float, ...], logits: torch.Tensor) -> torch.Tensor | None:
    """The weights of a task's labels (labels,), beside logits; None where all count the same."""
    import torch

    return torch.tensor(weights, dtype=logits.dtype, device=logits.device) if weights else None


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax of the head's outputs (A, outputs), in float64."""
    raised = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
