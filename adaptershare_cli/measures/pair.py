"""The measured truth `pair`: what does it help t to share its adapters with s from the start?

    value[s, t] = score of t, trained together with s - score of t, trained alone

Together means one shared adapter a layer, own heads, and in turn as many updates on each as t has alone; the seed, the
fresh weights and t's batches are the same on both sides; scores are t's main metric on its scored splits. One joint
training gives both directions. Source: pairwise multi-task gains as in Standley et al. 2020, "Which Tasks Should Be
Learned Together in Multi-task Learning?".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import Trainings
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.measures.trainings import Training


def pair_trainings(tasks: Sequence[str], seeds: Sequence[int], settings: TunedSettings) -> list[Training]:
    """All trainings, seed by seed: T alone and T (T - 1) / 2 together."""
    assert settings.target_steps is not None
    sets = [(task,) for task in tasks] + list(itertools.combinations(tasks, 2))
    return [Training(tuple(members), seed, settings.target_steps) for seed in seeds for members in sets]


@measure(
    "pair",
    "truth: the two trained together, against the target alone",
    code_version=1,
    settings=TunedSettings,
    needs=Trainings(pair_trainings),
    range=(-2, 2),
    unit="the target's main metric",
    axis="gain of the target, trained together",
    directed=True,
)
def pair(scores: Mapping[Training, Mapping[str, float]], scope: Scope, settings: TunedSettings) -> Measurement:
    """Differences of the trainings' scores, a seed at a time."""
    from adaptershare_cli.statistics.summary import value_table

    assert settings.target_steps is not None
    rows = []
    for seed in scope.seeds:
        for a, b in itertools.combinations(scope.tasks, 2):
            together = scores[Training((a, b), seed, settings.target_steps)]
            for s, t in ((a, b), (b, a)):
                alone = scores[Training((t,), seed, settings.target_steps)][t]
                rows.append({"seed": seed, "source": s, "target": t, "value": together[t] - alone})
    return Measurement(value_table(rows))
