"""The measures `gradts` and `gradts-instance`: do two tasks lean on the same attention heads?

With s(x) the head importances of row x under its task's own tuned model (`importance.row_importance`), T_i the mean
of s over the train rows of task i, each layer scaled to sum 1, and I_i(x) the same scaling of one row's s(x):

    gradts           value[i, j] = tau_b(T_i, T_j)
    gradts-instance  value[s, t] = mean over the rows x of s of tau_b(I_s(x), T_t);  each row's tau is kept

where tau_b is Kendall's over all (layer, head), layer after layer. Rows are a sample of `samples` train rows a task,
the same for every seed, in eval mode (the released code takes all rows, with dropout). Source: GradTS (EMNLP 2021),
specs sections 1.3 and 1.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.data.batches import Rows
from adaptershare_cli.measures.base import Cost, Found, Inputs, sample_rows, values_frame
from adaptershare_cli.measures.head_importance import per_layer, row_importance
from adaptershare_cli.settings import GradTSSettings
from adaptershare_cli.statistics.kendall import kendall_tau_b

Matrices = dict[str, np.ndarray]


def correlate(inputs: Inputs, settings: GradTSSettings) -> Found:
    """tau_b between the tasks' head importances, a seed at a time."""
    values = []
    cost = Cost()
    for seed, rows, found in _importances(inputs, settings):
        cost += _passed(rows)
        matrix = task_matrix(found)
        tau = kendall_tau_b(matrix, matrix)
        for i, j in itertools.combinations(range(len(inputs.tasks)), 2):
            values.append({"seed": seed, "source": inputs.tasks[i], "target": inputs.tasks[j], "value": tau[i, j]})
    return Found(values_frame(values), cost)


def correlate_instances(inputs: Inputs, settings: GradTSSettings) -> Found:
    """tau_b of each row of each task with each other task's head importances, and their means, a seed at a time."""
    values, tables = [], []
    cost = Cost()
    for seed, rows, found in _importances(inputs, settings):
        cost += _passed(rows)
        matrix = task_matrix(found)
        for source in inputs.tasks:
            tau = kendall_tau_b(per_layer(found[source]).reshape(len(found[source]), -1), matrix)
            for place, target in enumerate(inputs.tasks):
                if target != source:
                    known = tau[np.isfinite(tau[:, place]), place]
                    mean = known.mean() if len(known) else None
                    values.append({"seed": seed, "source": source, "target": target, "value": mean})
                    tables.append(_instances(seed, source, target, rows[source].row, tau[:, place]))
    return Found(values_frame(values), cost, {"instances": pa.concat_tables(tables)})


def task_matrix(found: Matrices) -> np.ndarray:
    """The tasks' head importances (tasks, layers x heads): the mean over rows, then each layer scaled to sum 1."""
    return np.stack([per_layer(importance.mean(0)).ravel() for importance in found.values()])


def _importances(inputs: Inputs, settings: GradTSSettings) -> Iterator[tuple[int, dict[str, Rows], Matrices]]:
    """For each seed the sampled rows and their importances (N, layers, heads) by task."""
    rows = {task: sample_rows(inputs.rows[task], task, settings.samples) for task in inputs.tasks}
    for seed in inputs.seeds:
        model = inputs.model(seed)
        found = {}
        for task in inputs.tasks:
            inputs.progress(f"head importances of {len(rows[task])} rows of {task}, seed {seed}")
            found[task] = row_importance(
                model, task, rows[task], inputs.pad_token, settings.importance, settings.head_axis
            )
        yield seed, rows, found


def _passed(rows: dict[str, Rows]) -> Cost:
    count = sum(map(len, rows.values()))
    return Cost(count, count)


def _instances(seed: int, source: str, target: str, row: np.ndarray, tau: np.ndarray) -> pa.Table:
    columns = [[seed] * len(row), [source] * len(row), row, [target] * len(row), pa.array(tau, from_pandas=True)]
    return pa.table(dict(zip(schemas.INSTANCES.names, columns, strict=True)), schema=schemas.INSTANCES)
