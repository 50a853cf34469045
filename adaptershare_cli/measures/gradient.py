"""The measures `gradient` and `gradient-directed`: how the gradients of two tasks relate at the checks of a run.

With g[k, l, i] the gradient of task i's held-out loss on the adapter of layer l at check k, of which the run recorded
the inner products:

    gradient           v[k, l, i, j]  = cosine of g[k, l, i] and g[k, l, j]
                       v[k, -1, i, j] = mean over the layers that have it
    gradient-directed  v[k, l, s, t]  = g[k, l, s] . g[k, l, t] / |g[k, l, t]|^2
                       v[k, -1, s, t] = sum over l of g[k, l, s] . g[k, l, t] / sum over l of |g[k, l, t]|^2

The directed one is, to first order, what a small step on s does for t's loss, measured in equal steps on t itself; it
uses the gradients as they are, the cosines those of unit rows (unless --row-gradients raw). Means over the checks,
errors and the null are those of `summary`. Source: AdapterShare (EMNLP 2022), specs sections 1 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from adaptershare_cli import schemas
from adaptershare_cli.measures.base import Cost, Found, Inputs
from adaptershare_cli.settings import GradientSettings

Terms = Callable[[pd.DataFrame, Literal["all", "shared"]], pd.DataFrame]


def correlate(inputs: Inputs, settings: GradientSettings) -> Found:
    """Cosines at the checks of each seed's run (`inputs.tables`: `schemas.INTERFERENCE`)."""
    return _measure(inputs, settings, cosines)


def correlate_directed(inputs: Inputs, settings: GradientSettings) -> Found:
    """Directed products at the checks of each seed's run."""
    return _measure(inputs, settings, directed_products)


def cosines(interference: pd.DataFrame, rows: Literal["all", "shared"]) -> pd.DataFrame:
    """The terms (term, layer, source, target, value) of `gradient` from one run's checks, one order of each pair.

    `rows="shared"` knows only the checks and layers in which the two tasks shared the adapter.
    """
    frame = _checks(interference, rows)
    frame["value"] = interference["cosine"].to_numpy(float, na_value=np.nan)
    frame.loc[~frame["used"], "value"] = np.nan
    keys = ["term", "source", "target"]
    over_layers = frame.groupby(keys, as_index=False)["value"].mean().assign(layer=schemas.ALL_LAYERS)
    return pd.concat([frame, over_layers], ignore_index=True)[[*keys, "layer", "value"]]


def directed_products(interference: pd.DataFrame, rows: Literal["all", "shared"]) -> pd.DataFrame:
    """The terms of `gradient-directed` from one run's checks, both directions; arguments as in `cosines`."""
    one = _checks(interference, rows)
    one["dot"] = interference["dot"].to_numpy(float, na_value=np.nan)
    other = one.rename(columns={"source": "target", "target": "source"})
    one["square"] = interference["norm_b"].to_numpy(float, na_value=np.nan) ** 2
    other["square"] = interference["norm_a"].to_numpy(float, na_value=np.nan) ** 2
    frame = pd.concat([one, other], ignore_index=True)
    frame.loc[~(frame["used"] & (frame["square"] > 0) & frame["dot"].notna()), ["dot", "square"]] = np.nan
    keys = ["term", "source", "target"]
    over_layers = frame.groupby(keys, as_index=False)[["dot", "square"]].sum(min_count=1)
    frame = pd.concat([frame, over_layers.assign(layer=schemas.ALL_LAYERS)], ignore_index=True)
    frame["value"] = frame["dot"] / frame["square"]
    return frame[[*keys, "layer", "value"]]


def _checks(interference: pd.DataFrame, rows: Literal["all", "shared"]) -> pd.DataFrame:
    """Which check, layer and pair each row is of, and whether it is to be used."""
    if rows not in ("all", "shared"):
        raise ValueError(f"rows must be 'all' or 'shared', not {rows!r}")
    used = interference["shared"].to_numpy(bool) if rows == "shared" else np.ones(len(interference), dtype=bool)
    term = [f"{phase}/{step:012d}" for phase, step in zip(interference["phase"], interference["step"], strict=True)]
    columns = {"term": term, "layer": interference["layer"].to_numpy(int), "used": used}
    columns |= {"source": interference["task_a"].to_numpy(), "target": interference["task_b"].to_numpy()}
    return pd.DataFrame(columns)


def _measure(inputs: Inputs, settings: GradientSettings, terms: Terms) -> Found:
    frames = [terms(table, settings.rows).assign(seed=seed) for seed, table in inputs.tables.items()]
    values = pd.concat(frames, ignore_index=True)
    values = values[values["source"].isin(inputs.tasks) & values["target"].isin(inputs.tasks)]
    checks = sum(frame["term"].nunique() for frame in frames)
    passed = checks * sum(inputs.heldout.values())
    return Found(values, Cost(passed, passed))
