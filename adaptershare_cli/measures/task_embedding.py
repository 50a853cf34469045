"""The measure `task-embedding`: cosines of the task embeddings that HyperFormer learnt.

    value[i, j] = z_i . z_j / (|z_i| |z_j|)

Generators read these vectors alone to write a task's adapters, so near vectors mean near adapters. Embeddings start
as independent draws from N(0, 1): two of e values have a cosine of 0 with a standard deviation of 1 / sqrt(e) (0.125
for 64), and little training leaves it there. Source: the embeddings are those of Karimi Mahabadi et al. 2021 (ACL).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import measure

if TYPE_CHECKING:
    import numpy as np


@measure(
    "task-embedding",
    "cosine of the task embeddings that a run of HyperFormer learnt",
    code_version=1,
    settings=SeededMeasureSettings,
    needs=RunTable("embeddings"),
    range=(-1, 1),
    unit="cosine",
)
def task_embedding(embeddings: RunTables, scope: Scope, settings: SeededMeasureSettings) -> Measurement:
    """Cosines of the embeddings of each seed's run (`schemas.EMBEDDINGS`)."""
    import numpy as np

    from adaptershare_cli.statistics.summary import value_table

    tasks, rows = scope.tasks, []
    for seed, table in embeddings.by_seed.items():
        values = cosines(np.stack(table.set_index("task")["embedding"].loc[list(tasks)].tolist()))
        rows += [
            {"seed": seed, "source": tasks[i], "target": tasks[j], "value": values[i, j]}
            for i, j in np.ndindex(values.shape)
            if i < j
        ]
    return Measurement(value_table(rows))


def cosines(embeddings: np.ndarray) -> np.ndarray:
    """Cosines (T, T) between the rows of `embeddings` (T, e), with ones on the diagonal; NaN for a row of zeros."""
    import numpy as np

    rows = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.full_like(rows, np.nan), where=norms > 0)
    between = (unit @ unit.T).clip(-1, 1)
    np.fill_diagonal(between, np.where(norms[:, 0] > 0, 1.0, np.nan))
    return between
