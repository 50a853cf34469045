"""The measure `text`: do two tasks' inputs look alike to the encoder before any training?

    value[i, j] = cosine of m_i and m_j,   m_i the mean over train rows of their pooled states, no adapters, no labels

It sees inputs only, so it says how much of any other measure is input alone. Source: TextEmb in Vu et al. 2020.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Cost, Measurement, Scope, sample_rows
from adaptershare_cli.measures.needs import EncodedRows, PlainEncoder
from adaptershare_cli.measures.settings import MeasureSettings, samples
from adaptershare_cli.measures.spec import measure

if TYPE_CHECKING:
    import numpy as np

    from adaptershare_cli.data.batches import Rows

BATCH_ROWS = 64


@dataclass(frozen=True)
class TextSettings(MeasureSettings):
    """Cosine of mean embeddings."""

    samples: int = samples()


@measure(
    "text",
    "cosine of the mean embeddings of train rows",
    code_version=1,
    settings=TextSettings,
    needs=PlainEncoder(),
    range=(-1, 1),
    unit="cosine",
)
def text(encoded: EncodedRows, scope: Scope, settings: TextSettings) -> Measurement:
    """Cosines of the tasks' mean embeddings."""
    import numpy as np

    from adaptershare_cli.statistics.summary import value_table

    rows = {task: sample_rows(encoded.rows[task], task, settings.samples) for task in scope.tasks}
    means = np.stack([_mean(encoded, scope, task, rows[task]) for task in scope.tasks])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, -1, 1)
    values = [
        {"source": scope.tasks[i], "target": scope.tasks[j], "value": cosine[i, j]}
        for i, j in itertools.combinations(range(len(scope.tasks)), 2)
    ]
    return Measurement(value_table(values), Cost(sum(map(len, rows.values()))))


def _mean(encoded: EncodedRows, scope: Scope, task: str, rows: Rows) -> np.ndarray:
    """The mean (H,) of the rows' pooled states, float64."""
    import numpy as np
    import torch

    from adaptershare_cli.data.batches import ordered_batches

    scope.progress(f"embeddings of {len(rows)} rows of {task}")
    batches = ordered_batches(task, rows, BATCH_ROWS, encoded.pad_token)
    with torch.inference_mode():
        sums = (encoded.encode(batch.inputs).double().sum(0).cpu().numpy() for batch in batches)
        return sum(sums, np.zeros(())) / len(rows)
