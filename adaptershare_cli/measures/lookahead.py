"""The measure `lookahead`: how far one update on a task lowers another's held-out loss (TAG's task affinity).

With L_t the mean loss of t's held-out rows before a step on s, and L_t|s after it, at look-ahead k of a run
(`observe.lookahead`; each half of the rows once, averaged):

    v[k, s, t] = 1 - L_t|s / L_t

Positive where the step on s helps t. The step is what s adds to an update, without the momentum of all tasks (with it,
on the tasks of `tiny`, a target's values hardly differed between sources). The value is the mean over the look-aheads
of a run. Source: Fifty et al. 2021, "Efficiently Identifying Task Groupings for Multi-Task Learning", equation 1 and
its average over training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Cost, Measurement, Scope
from adaptershare_cli.measures.needs import RunTable, RunTables
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import measure

if TYPE_CHECKING:
    import pandas as pd


@measure(
    "lookahead",
    "task affinity: how far a step on one task lowers another's loss, tried during a run with --lookahead-every",
    code_version=1,
    settings=SeededMeasureSettings,
    needs=RunTable("lookahead"),
    range=(-float("inf"), 1),
    unit="part of the target's loss",
    directed=True,
)
def lookahead(tried: RunTables, scope: Scope, settings: SeededMeasureSettings) -> Measurement:
    """Affinities at the look-aheads of each seed's run (`schemas.LOOKAHEAD`)."""
    import pandas as pd

    of_runs = [affinities(table).assign(seed=seed) for seed, table in tried.by_seed.items()]
    values = pd.concat(of_runs, ignore_index=True)
    looks, rows = sum(terms["term"].nunique() for terms in of_runs), sum(tried.heldout.values())
    cost = Cost((len(scope.tasks) + 2) * rows * looks, rows * looks)
    return Measurement(values[values["source"] != values["target"]], cost)


def affinities(lookahead: pd.DataFrame) -> pd.DataFrame:
    """The terms (term, layer, source, target, value) of one run, a task's affinity to itself included.

    A half without rows, or without a loss before, is left out.
    """
    from adaptershare_cli import schemas

    before = lookahead["loss_before"].where(lookahead["loss_before"] > 0)
    term = [f"{phase}/{step:012d}" for phase, step in zip(lookahead["phase"], lookahead["step"], strict=True)]
    halves = lookahead[["source", "target"]].assign(term=term, value=1 - lookahead["loss_after"] / before)
    mean = halves.groupby(["term", "source", "target"], as_index=False)["value"].mean()
    return mean.assign(layer=schemas.ALL_LAYERS)
