"""The measure `fusion`: how much of a task's attention goes to another task's adapter (AdapterFusion).

With a[l, c, t, g] the attention of task t to the adapter of group g at location c of layer l, and g(s) the group whose
adapter task s holds there:

    value[l, s, t]  = mean over the locations c of  a[l, c, t, g(s)] / |g(s)|
    value[-1, s, t] = mean over the fused layers of value[l, s, t]

The source s is the task whose adapter is attended to, the target t the one that attends, so the measure is directed. An
adapter that several tasks share counts for each in equal parts. What t gives to its own adapter is left out of the
pairs, so the values of a target sum to at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import SHARE, measure

if TYPE_CHECKING:
    import pandas as pd


@measure(
    "fusion",
    "how much a task attends to another's adapter in a run with AdapterFusion",
    code_version=1,
    settings=SeededMeasureSettings,
    needs=RunTable("attention"),
    range=(0, 1),
    unit=SHARE,
    directed=True,
)
def fusion(attention: RunTables, scope: Scope, settings: SeededMeasureSettings) -> Measurement:
    """What each seed's run attended to (`schemas.ATTENTION`)."""
    import pandas as pd

    from adaptershare_cli.statistics.summary import value_table

    of_runs = {seed: attention_values(table, scope.tasks) for seed, table in attention.by_seed.items()}
    parts = [value_table(values.to_dict("records")).assign(seed=seed) for seed, values in of_runs.items()]
    return Measurement(pd.concat(parts, ignore_index=True))


def attention_values(attention: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Values of each ordered pair of `tasks`: columns layer, source, target, value; layer -1 (all layers) first.

    `attention` holds the rows of one run (`schemas.ATTENTION`). Adapters of other names than `tasks` are left out; the
    value is NaN where the target attended to nothing, or the source's adapter was not there.
    Raises ValueError if a task is named twice, or a target has two values for one adapter and site (several runs).
    """
    import pandas as pd

    from adaptershare_cli import schemas

    if len(set(tasks)) != len(tasks):
        raise ValueError(f"a task is named twice: {tasks}")
    if attention.duplicated(["task", "layer", "location", "adapter"]).any():
        raise ValueError("a target has two values for one adapter and site: are these several runs?")
    parts = attention.assign(attention=attention["attention"] / attention["members"].map(len)).explode("members")
    of_layers = parts.groupby(["layer", "members", "task"])["attention"].mean()
    over_all = of_layers.groupby(["members", "task"]).mean()
    known = {(int(layer), source, target): value for (layer, source, target), value in of_layers.items()}
    known |= {(schemas.ALL_LAYERS, source, target): value for (source, target), value in over_all.items()}
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "source": source,
                "target": target,
                "value": known.get((layer, source, target), float("nan")),
            }
            for layer in [schemas.ALL_LAYERS, *sorted(attention["layer"].unique().tolist())]
            for source in tasks
            for target in tasks
            if source != target
        ],
        columns=["layer", "source", "target", "value"],
    ).astype({"layer": int, "value": float})
