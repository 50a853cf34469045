"""The measured truth `transfer`: what does it help t that its adapter was trained on s before?

    value[s, t] = score of t, its adapter started from s's - score of t, its adapter started fresh

The adapter of s is that of its single-task training; t's head is fresh. Both sides have the same number of updates on
t, the same batches, the same fresh head and the same seed; scores are t's main metric on its scored splits. Source:
intermediate-task transfer, e.g. Vu et al. 2020, "Exploring and Predicting Transferability across NLP Tasks".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.settings import TransferSettings


def trainings(tasks: Sequence[str], seeds: Sequence[int], settings: TransferSettings) -> list[Training]:
    """All trainings, seed by seed, those that others start from first.

    A seed takes T alone (2 T where the source has other steps than the target) and T (T - 1) transfers.
    """
    assert settings.target_steps is not None
    steps, before = settings.target_steps, settings.source_steps or settings.target_steps
    found: list[Training] = []
    for seed in seeds:
        found += [Training((task,), seed, count) for count in dict.fromkeys((before, steps)) for task in tasks]
        found += [_from(s, t, seed, steps, before) for s, t in itertools.permutations(tasks, 2)]
    return found


def _from(source: str, target: str, seed: int, steps: int, before: int) -> Training:
    return Training((target,), seed, steps, Training((source,), seed, before))


def correlate(inputs: Inputs, settings: TransferSettings) -> Found:
    """Differences of `inputs.scores`, a seed at a time."""
    assert settings.target_steps is not None
    steps, before = settings.target_steps, settings.source_steps or settings.target_steps
    rows = []
    for seed in inputs.seeds:
        for s, t in itertools.permutations(inputs.tasks, 2):
            alone = inputs.scores[Training((t,), seed, steps)][t]
            value = inputs.scores[_from(s, t, seed, steps, before)][t] - alone
            rows.append({"seed": seed, "source": s, "target": t, "value": value})
    return Found(values_frame(rows))
