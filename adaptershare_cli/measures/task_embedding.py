"""The measure `task-embedding`: cosines of the task embeddings that HyperFormer learnt.

    value[i, j] = z_i . z_j / (|z_i| |z_j|)

Generators read these vectors alone to write a task's adapters, so near vectors mean near adapters. Embeddings start
as independent draws from N(0, 1): two of e values have a cosine of 0 with a standard deviation of 1 / sqrt(e) (0.125
for 64), and little training leaves it there. Source: the embeddings are those of Karimi Mahabadi et al. 2021 (ACL).
"""

from __future__ import annotations

import numpy as np

from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.settings import SeededMeasureSettings


def correlate(inputs: Inputs, settings: SeededMeasureSettings) -> Found:
    """Cosines of the embeddings of each seed's run (`inputs.tables`: `schemas.EMBEDDINGS`)."""
    tasks, rows = inputs.tasks, []
    for seed, table in inputs.tables.items():
        values = cosines(np.stack(table.set_index("task")["embedding"].loc[list(tasks)].tolist()))
        rows += [
            {"seed": seed, "source": tasks[i], "target": tasks[j], "value": values[i, j]}
            for i, j in np.ndindex(values.shape)
            if i < j
        ]
    return Found(values_frame(rows))


def cosines(embeddings: np.ndarray) -> np.ndarray:
    """Cosines (T, T) between the rows of `embeddings` (T, e), with ones on the diagonal; NaN for a row of zeros."""
    rows = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.full_like(rows, np.nan), where=norms > 0)
    found = (unit @ unit.T).clip(-1, 1)
    np.fill_diagonal(found, np.where(norms[:, 0] > 0, 1.0, np.nan))
    return found
