"""The measure `fisher`: do two tasks' losses depend on the same adapter parameters?

F[l, i] is the diagonal of task i's empirical Fisher information on its tuned adapter in layer l: each parameter's
squared gradient, of each row's loss with its true label, averaged over the rows. It is scaled to mean 1 in each
layer, so that neither a task's level of loss nor a layer's depth decides. Then

    cosine    value[l, i, j] = cosine of F[l, i] and F[l, j]                                      (TaskEmb)
    task2vec  value[l, i, j] = cosine of F[l, i] / (F[l, i] + F[l, j]) and F[l, j] / (F[l, i] + F[l, j])

and value[-1, i, j] is the same over all layers' parameters together. The default is Task2Vec's: Fisher values span
orders of magnitude, the same parameters being large for all tasks, so a plain cosine is decided by these few and close
to 1 for all pairs; dividing by the sum gives each parameter one voice. The single-task adapters of a seed start from
the same weights, so parameters correspond.

Sources: Achille et al. 2019, "Task2Vec", section 3.1; Vu et al. 2020 (TaskEmb).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adaptershare_cli.measures.base import Cost, Measurement, Scope, sample_rows
from adaptershare_cli.measures.needs import SingleTaskModels, TunedModels
from adaptershare_cli.measures.settings import TunedSettings, samples
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import numpy as np
    import torch

    from adaptershare_cli.data.batches import Rows
    from adaptershare_cli.model.heads import MultiTaskModel


@dataclass(frozen=True)
class FisherSettings(TunedSettings):
    """Similarity of diagonal Fisher embeddings."""

    samples: int = samples()
    fisher_similarity: Literal["task2vec", "cosine"] = option(
        "task2vec", "Of fisher: cosine after dividing both by their sum (Task2Vec), or plain cosine (TaskEmb)."
    )


@measure(
    "fisher",
    "similarity of single-task adapters' diagonal Fisher information",
    code_version=1,
    settings=FisherSettings,
    needs=SingleTaskModels(),
    range=(0, 1),
    unit="cosine",
)
def fisher(models: TunedModels, scope: Scope, settings: FisherSettings) -> Measurement:
    """Similarities of Fisher diagonals, a seed at a time."""
    import numpy as np

    from adaptershare_cli import schemas
    from adaptershare_cli.statistics.summary import value_table

    values = []
    rows = {task: sample_rows(models.rows[task], task, settings.samples) for task in scope.tasks}
    for seed in scope.seeds:
        model, of_tasks = models.tuned(seed), []
        for task in scope.tasks:
            scope.progress(f"squared gradients of {len(rows[task])} rows of {task}, seed {seed}")
            of_tasks.append(fisher_diagonal(model, task, rows[task], models.pad_token))
        layers = [np.stack(of_layer) for of_layer in zip(*of_tasks, strict=True)]
        for layer, diagonals in enumerate([np.concatenate(layers, axis=1), *layers], start=schemas.ALL_LAYERS):
            for i, j in itertools.combinations(range(len(scope.tasks)), 2):
                value = similarity(diagonals[i], diagonals[j], settings.fisher_similarity)
                pair = {"source": scope.tasks[i], "target": scope.tasks[j]}
                values.append({"seed": seed, "layer": layer, **pair, "value": value})
    passed = sum(map(len, rows.values())) * len(scope.seeds)
    return Measurement(value_table(values), Cost(passed, passed))


def fisher_diagonal(
    model: MultiTaskModel, task: str, rows: Rows, pad_token: int, chunk_rows: int | None = None
) -> list[np.ndarray]:
    """For each layer the mean squared gradient (P,) of the rows on the task's adapter, scaled to mean 1.

    A chunk of rows at a time, so that no more than `chunk_rows` gradients are held. A layer without any gradient
    stays zero.
    """
    import torch

    from adaptershare_cli.observe.gradients import CHUNK_ROWS, row_gradients

    chunk_rows = chunk_rows or CHUNK_ROWS
    squares: list[list[torch.Tensor]] = [[] for _ in model.bank.plan.layers]
    order = rows.by_length()
    for start in range(0, len(order), chunk_rows):
        part = {task: rows.take(order[start : start + chunk_rows])}
        place = [0] * len(squares)
        for layer, gradients in row_gradients(model, part, pad_token, chunk_rows):
            square = gradients.double().square().sum(0)
            if start:
                squares[layer][place[layer]] += square
            else:
                squares[layer].append(square)
            place[layer] += 1
    means = [torch.cat(parts).cpu().numpy() / len(rows) for parts in squares]
    return [diagonal / diagonal.mean() if diagonal.any() else diagonal for diagonal in means]


def similarity(first: np.ndarray, second: np.ndarray, how: str) -> float:
    """Cosine of two diagonals, for `task2vec` each divided by their sum; nan where one is zero."""
    import numpy as np

    if how == "task2vec":
        total = first + second
        first, second = (np.divide(side, total, out=np.zeros_like(side), where=total > 0) for side in (first, second))
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / length) if length > 0 else float("nan")
