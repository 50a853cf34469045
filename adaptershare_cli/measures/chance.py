"""The measure `random`: numbers that know nothing, as the floor for every other measure."""

from __future__ import annotations

import itertools

import numpy as np

from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.settings import SeededMeasureSettings


def correlate(inputs: Inputs, settings: SeededMeasureSettings) -> Found:
    """A number from [0, 1) for each seed and ordered pair, from the pair's names, so that tasks may come and go."""
    rows = [
        {"seed": seed, "source": s, "target": t, "value": _draw(seed, s, t)}
        for seed in inputs.seeds
        for s, t in itertools.permutations(inputs.tasks, 2)
    ]
    return Found(values_frame(rows))


def _draw(seed: int, source: str, target: str) -> float:
    return np.random.default_rng(derive_seed(seed, "random-measure", source, target)).random()
