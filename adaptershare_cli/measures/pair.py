"""The measured truth `pair`: what does it help t to share its adapters with s from the start?

    value[s, t] = score of t, trained together with s - score of t, trained alone

Together means one shared adapter a layer, own heads, and in turn as many updates on each as t has alone; the seed, the
fresh weights and t's batches are the same on both sides; scores are t's main metric on its scored splits. One joint
training gives both directions. Source: pairwise multi-task gains as in Standley et al. 2020, "Which Tasks Should Be
Learned Together in Multi-task Learning?".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.settings import TunedSettings


def trainings(tasks: Sequence[str], seeds: Sequence[int], settings: TunedSettings) -> list[Training]:
    """All trainings, seed by seed: T alone and T (T - 1) / 2 together."""
    assert settings.target_steps is not None
    sets = [(task,) for task in tasks] + list(itertools.combinations(tasks, 2))
    return [Training(tuple(members), seed, settings.target_steps) for seed in seeds for members in sets]


def correlate(inputs: Inputs, settings: TunedSettings) -> Found:
    """Differences of `inputs.scores`, a seed at a time."""
    assert settings.target_steps is not None
    rows = []
    for seed in inputs.seeds:
        for a, b in itertools.combinations(inputs.tasks, 2):
            together = inputs.scores[Training((a, b), seed, settings.target_steps)]
            for s, t in ((a, b), (b, a)):
                alone = inputs.scores[Training((t,), seed, settings.target_steps)][t]
                rows.append({"seed": seed, "source": s, "target": t, "value": together[t] - alone})
    return Found(values_frame(rows))
