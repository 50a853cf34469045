"""The measure `adapter-size`: a source whose adapter moved little is taken to help, whatever the target.

    value[s, t] = -|w_s - w_0|,   w_s the adapter of s alone, w_0 the fresh weights that a seed's tasks start from

A baseline: it knows nothing of pairs.
"""

from __future__ import annotations

import itertools

from adaptershare_cli.measures.adapter_weights import changes
from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import SingleTaskModels, TunedModels
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.measures.spec import measure


@measure(
    "adapter-size",
    "how little training changed the source's adapter",
    code_version=1,
    settings=TunedSettings,
    needs=SingleTaskModels(),
    range=(float("-inf"), 0),
    unit="norm of the change, negative",
    directed=True,
)
def adapter_size(models: TunedModels, scope: Scope, settings: TunedSettings) -> Measurement:
    """Norms of what training changed, the largest last, over all layers and a layer at a time."""
    import torch

    from adaptershare_cli import schemas
    from adaptershare_cli.statistics.summary import value_table

    rows = []
    for seed in scope.seeds:
        changed = changes(models, seed, scope.tasks)
        for layer, vectors in enumerate([torch.cat(changed, dim=1), *changed], start=schemas.ALL_LAYERS):
            norms = dict(zip(scope.tasks, vectors.norm(dim=1).tolist(), strict=True))
            rows += [
                {"seed": seed, "layer": layer, "source": s, "target": t, "value": -norms[s]}
                for s, t in itertools.permutations(scope.tasks, 2)
            ]
    return Measurement(value_table(rows))
