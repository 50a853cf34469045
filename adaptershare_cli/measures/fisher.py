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
from typing import Any

import numpy as np
import torch

from adaptershare_cli import schemas
from adaptershare_cli.data.batches import Rows
from adaptershare_cli.measures.base import Cost, Found, Inputs, sample_rows, values_frame
from adaptershare_cli.observe.gradients import CHUNK_ROWS, row_gradients
from adaptershare_cli.settings import FisherSettings


def correlate(inputs: Inputs, settings: FisherSettings) -> Found:
    """Similarities of Fisher diagonals, a seed at a time."""
    values = []
    rows = {task: sample_rows(inputs.rows[task], task, settings.samples) for task in inputs.tasks}
    for seed in inputs.seeds:
        model, found = inputs.model(seed), []
        for task in inputs.tasks:
            inputs.progress(f"squared gradients of {len(rows[task])} rows of {task}, seed {seed}")
            found.append(fisher_diagonal(model, task, rows[task], inputs.pad_token))
        layers = [np.stack(of_layer) for of_layer in zip(*found, strict=True)]
        for layer, diagonals in enumerate([np.concatenate(layers, axis=1), *layers], start=schemas.ALL_LAYERS):
            for i, j in itertools.combinations(range(len(inputs.tasks)), 2):
                value = similarity(diagonals[i], diagonals[j], settings.fisher_similarity)
                pair = {"source": inputs.tasks[i], "target": inputs.tasks[j]}
                values.append({"seed": seed, "layer": layer, **pair, "value": value})
    passed = sum(map(len, rows.values())) * len(inputs.seeds)
    return Found(values_frame(values), Cost(passed, passed))


def fisher_diagonal(
    model: Any, task: str, rows: Rows, pad_token: int, chunk_rows: int = CHUNK_ROWS
) -> list[np.ndarray]:
    """For each layer the mean squared gradient (P,) of the rows on the task's adapter, scaled to mean 1.

    A chunk of rows at a time, so that no more than `chunk_rows` gradients are held. A layer without any gradient
    stays zero.
    """
    squares = [[] for _ in model.bank.plan.layers]  # type: list[list[torch.Tensor]]
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
    found = [torch.cat(parts).cpu().numpy() / len(rows) for parts in squares]
    return [diagonal / diagonal.mean() if diagonal.any() else diagonal for diagonal in found]


def similarity(first: np.ndarray, second: np.ndarray, how: str) -> float:
    """Cosine of two diagonals, for `task2vec` each divided by their sum; nan where one is zero."""
    if how == "task2vec":
        total = first + second
        first, second = (np.divide(side, total, out=np.zeros_like(side), where=total > 0) for side in (first, second))
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / length) if length > 0 else float("nan")
