"""A pass of the encoder that runs some of its layers: those that several tasks have in common, or the rest of a task.

The other layers are passed over where they stand, so what an encoder does before its layers (embeddings, positions,
masks) and after the last one is its own code, whatever its type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.model.encoder import layers_of


class LayerRange:
    """Runs parts of one encoder; not for two threads at once, as layers are replaced during a pass."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        self.layers = layers_of(encoder)
        self._others: tuple[Any, ...] | None = ()  # what a layer gives beside states; None: it gives states alone

    def run(
        self, start: int, end: int, given: torch.Tensor | None, whole_pass: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """The hidden states (B, S, H) after layers `start` to `end` (excluded) on the states that `start` takes.

        `given` are these states, as an earlier call gave them; None for the first layer, which takes embeddings.
        `whole_pass` runs the encoder on the rows and gives its last hidden states. The first call must run layer 0.
        """
        reached: list[torch.Tensor] = []

        def hand_on(states: torch.Tensor, *arguments: Any, **named: Any) -> Any:
            reached.append(states)
            return self._as_given(states)

        passed = {layer: lambda *arguments, **named: self._as_given(given) for layer in self.layers[:start]}
        passed |= dict.fromkeys(self.layers[end:], hand_on)
        learn = self.layers[start].register_forward_hook(self._learn)
        try:
            for layer, instead in passed.items():
                layer.forward = instead  # type: ignore[method-assign]
            last = whole_pass()
        finally:
            learn.remove()
            for layer in passed:
                layer.__dict__.pop("forward", None)
        return reached[0] if reached else last

    def _learn(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._others = (None,) * (len(output) - 1) if isinstance(output, tuple) else None

    def _as_given(self, states: torch.Tensor | None) -> Any:
        return states if self._others is None else (states, *self._others)
