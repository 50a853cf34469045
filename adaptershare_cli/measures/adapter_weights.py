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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import SingleTaskModels, TunedModels
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import torch

    from adaptershare_cli.model.heads import MultiTaskModel


@dataclass(frozen=True)
class AdapterWeightsSettings(TunedSettings):
    """Cosine of single-task adapters."""

    adapter_origin: Literal["start", "zero"] = option(
        "start", "Of adapter-weights: compare what training changed, or the weights as they are."
    )


@measure(
    "adapter-weights",
    "cosine of single-task adapters",
    code_version=1,
    settings=AdapterWeightsSettings,
    needs=SingleTaskModels(),
    range=(-1, 1),
    unit="cosine",
)
def adapter_weights(models: TunedModels, scope: Scope, settings: AdapterWeightsSettings) -> Measurement:
    """Cosines of the adapters of each seed's single-task runs."""
    import torch

    from adaptershare_cli import schemas
    from adaptershare_cli.statistics.summary import value_table

    rows = []
    for seed in scope.seeds:
        origin = settings.adapter_origin
        weights = changes(models, seed, scope.tasks) if origin == "start" else _weights(models.tuned(seed), scope.tasks)
        for layer, vectors in enumerate([torch.cat(weights, dim=1), *weights], start=schemas.ALL_LAYERS):
            unit = torch.nn.functional.normalize(vectors, dim=1)
            cosine = (unit @ unit.T).clamp(-1, 1)
            for i, j in itertools.combinations(range(len(scope.tasks)), 2):
                pair = {"source": scope.tasks[i], "target": scope.tasks[j]}
                rows.append({"seed": seed, "layer": layer, **pair, "value": cosine[i, j].item()})
    return Measurement(value_table(rows))


def changes(models: TunedModels, seed: int, tasks: tuple[str, ...]) -> list[torch.Tensor]:
    """For each layer what training changed in the adapters' parameters (tasks, P), float64."""
    tuned, fresh = _weights(models.tuned(seed), tasks), _weights(models.fresh(seed), tasks)
    return [after - before for after, before in zip(tuned, fresh, strict=True)]


def _weights(model: MultiTaskModel, tasks: tuple[str, ...]) -> list[torch.Tensor]:
    """For each layer the adapters' parameters (tasks, P), float64."""
    import torch

    bank = model.bank
    with torch.no_grad():
        return [
            torch.stack(
                [torch.cat([t.double().cpu().ravel() for _, t in bank.named_parameters(task, layer)]) for task in tasks]
            )
            for layer in range(len(bank.plan.layers))
        ]
