"""The measure `text-pairs`: a source whose rows are pairs of texts is taken to help, whatever the target.

    value[s, t] = 1 where the rows of s are pairs of texts, else 0

A baseline that costs nothing: it knows nothing of pairs of tasks. Which rows are pairs is read from their tokens
(`data.batches.Rows.are_pairs`).
"""

from __future__ import annotations

import itertools

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import PreparedTasks, Tasks
from adaptershare_cli.measures.settings import MeasureSettings
from adaptershare_cli.measures.spec import measure


@measure(
    "text-pairs",
    "whether the source's rows are pairs of texts",
    code_version=1,
    settings=MeasureSettings,
    needs=PreparedTasks(),
    range=(0, 1),
    unit="1 for pairs of texts",
    directed=True,
)
def text_pairs(tasks: Tasks, scope: Scope, settings: MeasureSettings) -> Measurement:
    """The same for all targets. Where all sources have pairs, or none has, they tie, and it says nothing."""
    from adaptershare_cli.statistics.summary import value_table

    paired = {task: float(tasks.rows[task].are_pairs) for task in scope.tasks}
    return Measurement(
        value_table([{"source": s, "target": t, "value": paired[s]} for s, t in itertools.permutations(scope.tasks, 2)])
    )
