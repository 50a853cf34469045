"""The measure `random`: numbers that know nothing, as the floor for every other measure."""

from __future__ import annotations

import itertools

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import Nothing
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.seeds import derive_seed


@measure(
    "random",
    "numbers by chance",
    code_version=1,
    settings=SeededMeasureSettings,
    needs=Nothing(),
    range=(0, 1),
    unit="random number",
    directed=True,
)
def by_chance(nothing: None, scope: Scope, settings: SeededMeasureSettings) -> Measurement:
    """A number from [0, 1) for each seed and ordered pair, from the pair's names, so that tasks may come and go."""
    import numpy as np

    from adaptershare_cli.statistics.summary import value_table

    def draw(seed: int, source: str, target: str) -> float:
        return np.random.default_rng(derive_seed(seed, "random-measure", source, target)).random()

    return Measurement(
        value_table(
            [
                {"seed": seed, "source": s, "target": t, "value": draw(seed, s, t)}
                for seed in scope.seeds
                for s, t in itertools.permutations(scope.tasks, 2)
            ]
        )
    )
