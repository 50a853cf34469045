"""The measures `gradts` and `gradts-instance`: do two tasks lean on the same attention heads?

With s(x) the head importances of row x under its task's own tuned model (`observe.head_importance.row_importance`), T_i
the mean of s over the train rows of task i, each layer scaled to sum 1, and I_i(x) the same scaling of one row's s(x):

    gradts           value[i, j] = tau_b(T_i, T_j)
    gradts-instance  value[s, t] = mean over the rows x of s of tau_b(I_s(x), T_t);  each row's tau is kept

where tau_b is Kendall's over all (layer, head), layer after layer. Rows are a sample of `samples` train rows a task,
the same for every seed, in eval mode (the released code takes all rows, with dropout). Source: GradTS (EMNLP 2021),
specs sections 1.3 and 1.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.base import Cost, Measurement, Scope, sample_rows
from adaptershare_cli.measures.needs import SingleTaskModels, TunedModels
from adaptershare_cli.measures.settings import TunedSettings, samples
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from adaptershare_cli.data.batches import Rows

    Importances = dict[str, np.ndarray]  # of each task's rows: (rows, layers, heads)


@dataclass(frozen=True)
class GradTSSettings(TunedSettings):
    """GradTS: Kendall's tau between matrices of head importance."""

    samples: int = samples()
    importance: Literal["weight-grad", "head-gate"] = option(
        "weight-grad",
        "Of gradts: a head's importance from the gradients of its key and value weights (the paper), or of a gate on "
        "its output (cheaper).",
    )
    head_axis: Literal["output", "input"] = option(
        "output",
        "Of gradts with weight-grad: a head is its rows of the weights, or, as in the released code, columns.",
    )

    def __post_init__(self) -> None:
        if self.importance == "head-gate" and self.head_axis != "output":
            raise UserError("--head-axis belongs to --importance weight-grad", fix="Leave it out.")


@measure(
    "gradts",
    "Kendall's tau between the head importances of single-task models",
    code_version=1,
    settings=GradTSSettings,
    needs=SingleTaskModels(),
    range=(-1, 1),
    unit="Kendall's tau",
)
def gradts(models: TunedModels, scope: Scope, settings: GradTSSettings) -> Measurement:
    """tau_b between the tasks' head importances, a seed at a time."""
    from adaptershare_cli.statistics.kendall import kendall_tau_b
    from adaptershare_cli.statistics.summary import value_table

    values = []
    cost = Cost()
    for seed, rows, importances in _importances(models, scope, settings):
        cost += _passed(rows)
        of_tasks = task_importances(importances)
        tau = kendall_tau_b(of_tasks, of_tasks)
        for i, j in itertools.combinations(range(len(scope.tasks)), 2):
            values.append({"seed": seed, "source": scope.tasks[i], "target": scope.tasks[j], "value": tau[i, j]})
    return Measurement(value_table(values), cost)


@measure(
    "gradts-instance",
    "gradts row by row: mean tau of the source's rows with the target's head importances; keeps each row's",
    code_version=1,
    settings=GradTSSettings,
    needs=SingleTaskModels(),
    range=(-1, 1),
    unit="Kendall's tau",
    directed=True,
)
def gradts_instance(models: TunedModels, scope: Scope, settings: GradTSSettings) -> Measurement:
    """tau_b of each row of each task with each other task's head importances, and their means, a seed at a time."""
    import numpy as np
    import pyarrow as pa

    from adaptershare_cli.observe.head_importance import per_layer
    from adaptershare_cli.statistics.kendall import kendall_tau_b
    from adaptershare_cli.statistics.summary import value_table

    values, tables = [], []
    cost = Cost()
    for seed, rows, importances in _importances(models, scope, settings):
        cost += _passed(rows)
        of_tasks = task_importances(importances)
        for source in scope.tasks:
            tau = kendall_tau_b(per_layer(importances[source]).reshape(len(importances[source]), -1), of_tasks)
            for place, target in enumerate(scope.tasks):
                if target != source:
                    known = tau[np.isfinite(tau[:, place]), place]
                    mean = known.mean() if len(known) else None
                    values.append({"seed": seed, "source": source, "target": target, "value": mean})
                    tables.append(_row_table(seed, source, target, rows[source].row, tau[:, place]))
    return Measurement(value_table(values), cost, {"instances": pa.concat_tables(tables)})


def task_importances(importances: Importances) -> np.ndarray:
    """The tasks' head importances (tasks, layers x heads): the mean over rows, then each layer scaled to sum 1."""
    import numpy as np

    from adaptershare_cli.observe.head_importance import per_layer

    return np.stack([per_layer(of_rows.mean(0)).ravel() for of_rows in importances.values()])


def _importances(
    models: TunedModels, scope: Scope, settings: GradTSSettings
) -> Iterator[tuple[int, dict[str, Rows], Importances]]:
    """For each seed the sampled rows of each task, and their importances."""
    from adaptershare_cli.observe.head_importance import row_importance

    rows = {task: sample_rows(models.rows[task], task, settings.samples) for task in scope.tasks}
    for seed in scope.seeds:
        model = models.tuned(seed)
        importances = {}
        for task in scope.tasks:
            scope.progress(f"head importances of {len(rows[task])} rows of {task}, seed {seed}")
            importances[task] = row_importance(
                model, task, rows[task], models.pad_token, settings.importance, settings.head_axis
            )
        yield seed, rows, importances


def _passed(rows: dict[str, Rows]) -> Cost:
    count = sum(map(len, rows.values()))
    return Cost(count, count)


def _row_table(seed: int, source: str, target: str, row: np.ndarray, tau: np.ndarray) -> pa.Table:
    """The rows of one source with their tau for one target, as `schemas.INSTANCES`."""
    import pyarrow as pa

    from adaptershare_cli import schemas

    columns = [[seed] * len(row), [source] * len(row), row, [target] * len(row), pa.array(tau, from_pandas=True)]
    return pa.table(dict(zip(schemas.INSTANCES.names, columns, strict=True)), schema=schemas.INSTANCES)
