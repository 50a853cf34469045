"""The settings of the methods `hyperformer` and `hyperformer++`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.methods.planned.settings import ObserveSettings
from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class HyperFormerSettings(ObserveSettings):
    """Each task's adapters are written by a generator a site, from the task's embedding."""

    task_embedding_dim: int = option(64, "Values of a task's embedding (and of a layer's and a position's).", 1)
    train_layer_norms: bool = option(
        False, "Train the encoder's own layer norms too, for all tasks together; they are then exported."
    )

    @property
    def training_defaults(self) -> Mapping[str, Any]:
        """A lower learning rate.

        Every value that a generator writes is a sum over its input, so a step of Adam moves it by many times the rate:
        with the usual one training falls apart.
        """
        return {"learning_rate": 1e-4}


@dataclass(frozen=True)
class HyperFormerPlusPlusSettings(HyperFormerSettings):
    """Each task's adapters are written by one generator, from embeddings of the task, the layer and the position."""

    task_hidden_dim: int = option(128, "Hidden values of the network that joins the three embeddings.", 1)
    projected_task_embedding_dim: int = option(64, "Output values of that network: what the generator reads.", 1)
