"""The measure `few-labels`: a source with few labels is taken to help, whatever the target.

    value[s, t] = -log K_s,   K_s the outputs that the head of s has: one a label, and of a regression the score alone

A baseline that costs nothing and knows nothing of pairs of tasks: what looks at adapters has to rank sources better.
"""

from __future__ import annotations

import itertools
import math

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import PreparedTasks, Tasks
from adaptershare_cli.measures.settings import MeasureSettings
from adaptershare_cli.measures.spec import measure


@measure(
    "few-labels",
    "how few labels the source has",
    code_version=1,
    settings=MeasureSettings,
    needs=PreparedTasks(),
    range=(-math.inf, 0),
    unit="log of the labels, negative",
    directed=True,
)
def few_labels(tasks: Tasks, scope: Scope, settings: MeasureSettings) -> Measurement:
    """The same for all targets. Where all sources have as many labels they tie, and it says nothing."""
    from adaptershare_cli.kinds import KINDS
    from adaptershare_cli.statistics.summary import value_table

    counts = {task: KINDS[info.kind].outputs(info) for task, info in tasks.infos.items()}
    return Measurement(
        value_table(
            [
                {"source": s, "target": t, "value": -math.log(counts[s])}
                for s, t in itertools.permutations(scope.tasks, 2)
            ]
        )
    )
