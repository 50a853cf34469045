"""The measure `lookahead`: how far one update on a task lowers another's held-out loss (TAG's task affinity).

With L_t the mean loss of t's held-out rows before a step on s, and L_t|s after it, at look-ahead k of a run
(`sharing.lookahead`; each half of the rows once, averaged):

    v[k, s, t] = 1 - L_t|s / L_t

Positive where the step on s helps t. The step is what s adds to an update, without the momentum of all tasks (with it,
on the tasks of `tiny`, a target's values hardly differed between sources). The value is the mean over the look-aheads
of a run. Source: Fifty et al. 2021, "Efficiently Identifying Task Groupings for Multi-Task Learning", equation 1 and
its average over training.
"""

from __future__ import annotations

import pandas as pd

from adaptershare_cli import schemas
from adaptershare_cli.measures.base import Cost, Found, Inputs
from adaptershare_cli.settings import SeededMeasureSettings


def correlate(inputs: Inputs, settings: SeededMeasureSettings) -> Found:
    """Affinities at the look-aheads of each seed's run (`inputs.tables`: `schemas.LOOKAHEAD`)."""
    frames = [affinities(table).assign(seed=seed) for seed, table in inputs.tables.items()]
    values = pd.concat(frames, ignore_index=True)
    looks, rows = sum(frame["term"].nunique() for frame in frames), sum(inputs.heldout.values())
    cost = Cost((len(inputs.tasks) + 2) * rows * looks, rows * looks)
    return Found(values[values["source"] != values["target"]], cost)


def affinities(lookahead: pd.DataFrame) -> pd.DataFrame:
    """The terms (term, layer, source, target, value) of one run, a task's affinity to itself included.

    A half without rows, or without a loss before, is left out.
    """
    before = lookahead["loss_before"].where(lookahead["loss_before"] > 0)
    term = [f"{phase}/{step:012d}" for phase, step in zip(lookahead["phase"], lookahead["step"], strict=True)]
    frame = lookahead[["source", "target"]].assign(term=term, value=1 - lookahead["loss_after"] / before)
    mean = frame.groupby(["term", "source", "target"], as_index=False)["value"].mean()
    return mean.assign(layer=schemas.ALL_LAYERS)
