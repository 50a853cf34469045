"""The measures `gradient` and `gradient-directed`: how the gradients of two tasks relate at the checks of a run.

With g[k, l, i] the gradient of task i's held-out loss on the adapter of layer l at check k, of which the run recorded
the inner products:

    gradient           v[k, l, i, j]  = cosine of g[k, l, i] and g[k, l, j]
                       v[k, -1, i, j] = mean over the layers that have it
    gradient-directed  v[k, l, s, t]  = g[k, l, s] . g[k, l, t] / |g[k, l, t]|^2
                       v[k, -1, s, t] = sum over l of g[k, l, s] . g[k, l, t] / sum over l of |g[k, l, t]|^2

The directed one is, to first order, what a small step on s does for t's loss, measured in equal steps on t itself; it
uses the gradients as they are, the cosines those of unit rows (unless --row-gradients raw). Means over the checks,
errors and the null are those of `statistics.summary`. Source: AdapterShare (EMNLP 2022), specs sections 1 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adaptershare_cli.measures.base import Cost, Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import pandas as pd

UsedRows = Literal["all", "shared"]


@dataclass(frozen=True)
class GradientSettings(SeededMeasureSettings):
    """Measures of the gradients that a run observed at its checks."""

    rows: UsedRows = option(
        "all", "Of gradient and gradient-directed: every check, or only those at which the two shared the adapter."
    )


@measure(
    "gradient",
    "mean cosine between two tasks' gradients over the checks of a run",
    code_version=2,
    settings=GradientSettings,
    needs=RunTable("interference"),
    range=(-1, 1),
    unit="cosine",
)
def gradient(interference: RunTables, scope: Scope, settings: GradientSettings) -> Measurement:
    """Cosines at the checks of each seed's run (`schemas.INTERFERENCE`)."""
    return _over_checks(interference, scope, settings, cosines)


@measure(
    "gradient-directed",
    "what a step on one task does for another's loss by the gradients at checks, in steps on the other itself",
    code_version=1,
    settings=GradientSettings,
    needs=RunTable("interference"),
    range=(-float("inf"), float("inf")),
    unit="steps on the target",
    directed=True,
)
def gradient_directed(interference: RunTables, scope: Scope, settings: GradientSettings) -> Measurement:
    """Directed products at the checks of each seed's run (`schemas.INTERFERENCE`)."""
    return _over_checks(interference, scope, settings, directed_products)


def cosines(interference: pd.DataFrame, rows: UsedRows) -> pd.DataFrame:
    """The terms (term, layer, source, target, value) of `gradient` from one run's checks, one order of each pair.

    `rows="shared"` knows only the checks and layers in which the two tasks shared the adapter.
    """
    import numpy as np
    import pandas as pd

    from adaptershare_cli import schemas

    terms = _checked_pairs(interference, rows)
    terms["value"] = interference["cosine"].to_numpy(float, na_value=np.nan)
    terms.loc[~terms["used"], "value"] = np.nan
    keys = ["term", "source", "target"]
    over_layers = terms.groupby(keys, as_index=False)["value"].mean().assign(layer=schemas.ALL_LAYERS)
    return pd.concat([terms, over_layers], ignore_index=True)[[*keys, "layer", "value"]]


def directed_products(interference: pd.DataFrame, rows: UsedRows) -> pd.DataFrame:
    """The terms of `gradient-directed` from one run's checks, both directions; arguments as in `cosines`."""
    import numpy as np
    import pandas as pd

    from adaptershare_cli import schemas

    one = _checked_pairs(interference, rows)
    one["dot"] = interference["dot"].to_numpy(float, na_value=np.nan)
    other = one.rename(columns={"source": "target", "target": "source"})
    one["square"] = interference["norm_b"].to_numpy(float, na_value=np.nan) ** 2
    other["square"] = interference["norm_a"].to_numpy(float, na_value=np.nan) ** 2
    terms = pd.concat([one, other], ignore_index=True)
    terms.loc[~(terms["used"] & (terms["square"] > 0) & terms["dot"].notna()), ["dot", "square"]] = np.nan
    keys = ["term", "source", "target"]
    over_layers = terms.groupby(keys, as_index=False)[["dot", "square"]].sum(min_count=1)
    terms = pd.concat([terms, over_layers.assign(layer=schemas.ALL_LAYERS)], ignore_index=True)
    terms["value"] = terms["dot"] / terms["square"]
    return terms[[*keys, "layer", "value"]]


def _checked_pairs(interference: pd.DataFrame, rows: UsedRows) -> pd.DataFrame:
    """For each row of the table the check, the layer and the pair that it is of, and whether it is used."""
    import numpy as np
    import pandas as pd

    if rows not in ("all", "shared"):
        raise ValueError(f"rows must be 'all' or 'shared', not {rows!r}")
    used = interference["shared"].to_numpy(bool) if rows == "shared" else np.ones(len(interference), dtype=bool)
    term = [f"{phase}/{step:012d}" for phase, step in zip(interference["phase"], interference["step"], strict=True)]
    columns = {"term": term, "layer": interference["layer"].to_numpy(int), "used": used}
    columns |= {"source": interference["task_a"].to_numpy(), "target": interference["task_b"].to_numpy()}
    return pd.DataFrame(columns)


def _over_checks(
    interference: RunTables,
    scope: Scope,
    settings: GradientSettings,
    terms_of: Callable[[pd.DataFrame, UsedRows], pd.DataFrame],
) -> Measurement:
    import pandas as pd

    of_runs = [terms_of(table, settings.rows).assign(seed=seed) for seed, table in interference.by_seed.items()]
    values = pd.concat(of_runs, ignore_index=True)
    values = values[values["source"].isin(scope.tasks) & values["target"].isin(scope.tasks)]
    checks = sum(terms["term"].nunique() for terms in of_runs)
    passed = checks * sum(interference.heldout.values())
    return Measurement(values, Cost(passed, passed))
