"""What this program knows of each type of encoder: one record a type, and nothing about a type anywhere else.

A new type is one more record in `FAMILIES`. Its defaults are BERT's names; `model_type` is what `config.json` calls it.
Types that the library `adapters` does not support itself bring an `interface`. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Projection:
    """A Linear of a layer's attention by its path in the layer, or one of the equal `parts` of its output features.

    Query, key and value that are computed by one Linear are parts 0, 1 and 2 of 3.
    """

    path: str
    part: int = 0
    parts: int = 1

    def rows(self, features: int) -> slice:
        """Which of the Linear's output features belong to it."""
        size = features // self.parts
        return slice(self.part * size, (self.part + 1) * size)


def _position_embeddings(config: Any) -> int | None:
    return config.max_position_embeddings


def _positions_after_padding(config: Any) -> int | None:
    """RoBERTa counts positions from the number of the padding token + 1."""
    return config.max_position_embeddings - (config.pad_token_id + 1)


def _token_types(config: Any) -> int:
    return getattr(config, "type_vocab_size", 0)


@dataclass(frozen=True)
class EncoderFamily:
    """One type of encoder. Paths of Linears are relative to a layer, that of the layers to the encoder.

    In `config.json`:
        hidden_size, layers     the names under which the two sizes stand
    Loading:
        model_class             the class of `transformers` that loads it, with `load_options`
        unused_weights          prefixes of tensors that need not be in the file, as nothing reads them
        interface               fields of `adapters.AdapterModelInterface`, or None where the library knows the type
    Parts:
        layer_list              the list of its layers
        query, key, value       the projections of attention, `attention_output` what takes the heads' outputs
        activation_inputs       Linears whose output goes into an activation: it stays in bf16 (`model.precision`)
        attention_dropout       the dropout between softmax and product where attention can run written out (not as
                                one fused operation), or None
    What it takes, each a function of its configuration as `transformers` reads it:
        positions               the longest input in tokens, or None where it has no limit
        segments                how many segments it tells apart; 0 where it knows none
    """

    model_type: str
    hidden_size: str = "hidden_size"
    layers: str = "num_hidden_layers"
    model_class: str = "AutoModel"
    load_options: Mapping[str, Any] = field(default_factory=dict)
    unused_weights: tuple[str, ...] = ("pooler.",)
    interface: Mapping[str, Any] | None = None
    layer_list: str = "encoder.layer"
    query: Projection = Projection("attention.self.query")
    key: Projection = Projection("attention.self.key")
    value: Projection = Projection("attention.self.value")
    attention_output: str = "attention.output.dense"
    activation_inputs: tuple[str, ...] = ("intermediate.dense",)
    attention_dropout: str | None = "attention.self.dropout"
    positions: Callable[[Any], int | None] = _position_embeddings
    segments: Callable[[Any], int] = _token_types


WITHOUT_POOLER = {"add_pooling_layer": False}
FAMILIES: dict[str, EncoderFamily] = {
    family.model_type: family
    for family in (
        EncoderFamily("bert", load_options=WITHOUT_POOLER),
        EncoderFamily("roberta", load_options=WITHOUT_POOLER, positions=_positions_after_padding),
        EncoderFamily(
            "distilbert",
            hidden_size="dim",
            layers="n_layers",
            layer_list="transformer.layer",
            query=Projection("attention.q_lin"),
            key=Projection("attention.k_lin"),
            value=Projection("attention.v_lin"),
            attention_output="attention.out_lin",
            activation_inputs=("ffn.lin1",),
            attention_dropout=None,  # it runs fused wherever this program loads it
        ),
        EncoderFamily("electra"),
    )
}
