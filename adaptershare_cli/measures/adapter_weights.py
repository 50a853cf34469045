"""The measure `adapter-weights`: do two tasks' single-task adapters point the same way?

    value[l, i, j]  = cosine of w[l, i] and w[l, j]
    value[-1, i, j] = the same over all layers' parameters together

With `start` (the default) w is what training changed: the adapter minus the common fresh weights that all tasks of a
seed start from. With `zero` it is the adapter as it is; the fresh weights, which all have in common, are then most of
it, and all cosines are close to 1. Source: task vectors, Ilharco et al. 2023; compared across tasks as in adapter
merging.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from adaptershare_cli import schemas
from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.settings import AdapterWeightsSettings


def correlate(inputs: Inputs, settings: AdapterWeightsSettings) -> Found:
    """Cosines of the adapters of each seed's single-task runs."""
    rows = []
    for seed in inputs.seeds:
        weights = _weights(inputs.model(seed), inputs.tasks)
        if settings.adapter_origin == "start":
            fresh = _weights(inputs.untrained(seed), inputs.tasks)
            weights = [tuned - start for tuned, start in zip(weights, fresh, strict=True)]
        for layer, vectors in enumerate([torch.cat(weights, dim=1), *weights], start=schemas.ALL_LAYERS):
            unit = torch.nn.functional.normalize(vectors, dim=1)
            cosine = (unit @ unit.T).clamp(-1, 1)
            for i, j in itertools.combinations(range(len(inputs.tasks)), 2):
                pair = {"source": inputs.tasks[i], "target": inputs.tasks[j]}
                rows.append({"seed": seed, "layer": layer, **pair, "value": cosine[i, j].item()})
    return Found(values_frame(rows))


@torch.no_grad()
def _weights(model: Any, tasks: tuple[str, ...]) -> list[torch.Tensor]:
    """For each layer the adapters' parameters (tasks, P), float64."""
    bank = model.bank
    return [
        torch.stack(
            [torch.cat([t.double().cpu().ravel() for _, t in bank.named_parameters(task, layer)]) for task in tasks]
        )
        for layer in range(len(bank.plan.layers))
    ]
