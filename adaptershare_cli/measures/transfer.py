"""The measured truth `transfer`: what does it help t that its adapter was trained on s before?

    value[s, t] = score of t, its adapter started from s's - score of t, its adapter started fresh

The adapter of s is that of its single-task training; t's head is fresh. Both sides have the same number of updates on
t, the same batches, the same fresh head and the same seed; scores are t's main metric on its scored splits. Source:
intermediate-task transfer, e.g. Vu et al. 2020, "Exploring and Predicting Transferability across NLP Tasks".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import Trainings
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.settings import option


@dataclass(frozen=True)
class TransferSettings(TunedSettings):
    """Measured transfer: trained on the source, then on the target, against the target alone."""

    source_steps: int | None = option(
        None, "Of transfer: updates on the source before the target; by default as many as on the target.", 1
    )


def transfer_trainings(tasks: Sequence[str], seeds: Sequence[int], settings: TransferSettings) -> list[Training]:
    """All trainings, seed by seed, those that others start from first.

    A seed takes T alone (2 T where the source has other steps than the target) and T (T - 1) transfers.
    """
    steps, before = _steps(settings)
    wanted: list[Training] = []
    for seed in seeds:
        wanted += [Training((task,), seed, count) for count in dict.fromkeys((before, steps)) for task in tasks]
        wanted += [_from(s, t, seed, steps, before) for s, t in itertools.permutations(tasks, 2)]
    return wanted


def _steps(settings: TransferSettings) -> tuple[int, int]:
    """Updates on the target, and on the source before it."""
    assert settings.target_steps is not None
    return settings.target_steps, settings.source_steps or settings.target_steps


def _from(source: str, target: str, seed: int, steps: int, before: int) -> Training:
    return Training((target,), seed, steps, Training((source,), seed, before))


@measure(
    "transfer",
    "truth: trained on the source, then on the target, against the target alone",
    code_version=1,
    settings=TransferSettings,
    needs=Trainings(transfer_trainings),
    range=(-2, 2),
    unit="the target's main metric",
    axis="gain of the target, trained on the source first",
    directed=True,
)
def transfer(scores: Mapping[Training, Mapping[str, float]], scope: Scope, settings: TransferSettings) -> Measurement:
    """Differences of the trainings' scores, a seed at a time."""
    from adaptershare_cli.statistics.summary import value_table

    steps, before = _steps(settings)
    rows = []
    for seed in scope.seeds:
        for s, t in itertools.permutations(scope.tasks, 2):
            alone = scores[Training((t,), seed, steps)][t]
            value = scores[_from(s, t, seed, steps, before)][t] - alone
            rows.append({"seed": seed, "source": s, "target": t, "value": value})
    return Measurement(value_table(rows))
