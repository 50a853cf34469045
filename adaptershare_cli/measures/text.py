"""The measure `text`: do two tasks' inputs look alike to the encoder before any training?

    value[i, j] = cosine of m_i and m_j,   m_i the mean over train rows of their pooled states, no adapters, no labels

It sees inputs only, so it says how much of any other measure is input alone. Source: TextEmb in Vu et al. 2020.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from adaptershare_cli.data.batches import Rows, ordered_batches
from adaptershare_cli.measures.base import Cost, Found, Inputs, sample_rows, values_frame
from adaptershare_cli.settings import TextSettings

BATCH_ROWS = 64


def correlate(inputs: Inputs, settings: TextSettings) -> Found:
    """Cosines of the tasks' mean embeddings."""
    rows = {task: sample_rows(inputs.rows[task], task, settings.samples) for task in inputs.tasks}
    means = np.stack([_mean(inputs, task, rows[task]) for task in inputs.tasks])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, -1, 1)
    values = [
        {"source": inputs.tasks[i], "target": inputs.tasks[j], "value": cosine[i, j]}
        for i, j in itertools.combinations(range(len(inputs.tasks)), 2)
    ]
    return Found(values_frame(values), Cost(sum(map(len, rows.values()))))


@torch.inference_mode()
def _mean(inputs: Inputs, task: str, rows: Rows) -> np.ndarray:
    inputs.progress(f"embeddings of {len(rows)} rows of {task}")
    batches = ordered_batches(task, rows, BATCH_ROWS, inputs.pad_token)
    return sum(inputs.encode(batch.inputs).double().sum(0).cpu().numpy() for batch in batches) / len(rows)
