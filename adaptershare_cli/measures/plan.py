"""The measure `plan`: in how many layers two tasks share an adapter under the last sharing plan of a run.

    value[l, i, j]  = 1 if i and j are in one group of layer l, else 0
    value[-1, i, j] = mean over the layers of value[l, i, j]

Nothing is averaged over checks, so `checks`, `standard_error` and the null of a single seed are null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import SHARE, measure

if TYPE_CHECKING:
    import pandas as pd


@measure(
    "plan",
    "share of the layers in which two tasks use one adapter at the end of a run",
    code_version=2,
    settings=SeededMeasureSettings,
    needs=RunTable("sharing", made_by_checks=True),
    range=(0, 1),
    unit=SHARE,
)
def plan(sharing: RunTables, scope: Scope, settings: SeededMeasureSettings) -> Measurement:
    """Shares of layers under the last plan of each seed's run (`schemas.SHARING`)."""
    import pandas as pd

    of_runs = [shares(table, scope.tasks).assign(seed=seed) for seed, table in sharing.by_seed.items()]
    return Measurement(pd.concat(of_runs, ignore_index=True))


def last_plan(sharing: pd.DataFrame) -> pd.DataFrame:
    """The groups under the last plan: one row a layer (ascending), one column a task (in the table's order).

    `sharing` (`schemas.SHARING`) lists the whole plan at each change. The last plan is the highest step of the phase
    that comes last in the table. A task without an adapter in a layer is NaN there. Raises ValueError for an empty
    table, or one that puts a task in two groups of a layer (the plans of several runs).
    """
    if sharing.empty:
        raise ValueError("the sharing table has no plan")
    phase = sharing[sharing["phase"] == sharing["phase"].iloc[-1]]
    final = phase[phase["step"] == phase["step"].max()]
    if final.duplicated(["layer", "task"]).any():
        raise ValueError("a plan holds a task twice in one layer: are these the plans of several runs?")
    groups = final.pivot(index="layer", columns="task", values="group").sort_index()
    return groups[list(dict.fromkeys(final["task"]))]


def shares(sharing: pd.DataFrame, tasks: tuple[str, ...]) -> pd.DataFrame:
    """Values of each pair of `tasks` under the last plan of `sharing`, a layer at a time and over all layers.

    Layers where one of the two has no adapter do not count; a pair without any layer is unknown. Raises ValueError as
    `last_plan` does.
    """
    from adaptershare_cli import schemas
    from adaptershare_cli.statistics.summary import value_table

    last = last_plan(sharing).reindex(columns=list(tasks))
    known = last.notna().to_numpy()
    groups = last.to_numpy(dtype=float, na_value=-1.0)
    both = known[:, :, None] & known[:, None, :]  # (layers, tasks, tasks)
    same = (groups[:, :, None] == groups[:, None, :]) & both
    rows = []
    for depth, layer in [(slice(None), schemas.ALL_LAYERS), *((slice(d, d + 1), n) for d, n in enumerate(last.index))]:
        shared, counted = same[depth].sum(axis=0), both[depth].sum(axis=0)
        for i, source in enumerate(tasks):
            for j, target in enumerate(tasks[:i]):
                value = float(shared[i, j] / counted[i, j]) if counted[i, j] else None
                rows.append({"layer": int(layer), "source": source, "target": target, "value": value})
    return value_table(rows)
