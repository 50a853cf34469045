"""The frozen encoder: loading, what it takes, its layers and their parts, and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import adapters
import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import logging

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.families import FAMILIES, EncoderFamily, Projection
from adaptershare_cli.model.source import EncoderSource


def load_encoder(source: EncoderSource, device: torch.device) -> PreTrainedModel:
    """Load `source` in fp32, ready for adapters, every weight frozen, in eval mode.

    Raises UserError where the folder cannot be loaded, or its weights are not all of those that its config names.
    """
    family = FAMILIES[source.model_type]
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # of shards
    logging.set_verbosity_error()  # a checkpoint's own pooler or heads are left out on purpose
    try:
        encoder, loading = getattr(transformers, family.model_class).from_pretrained(
            source.folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True,
            **family.load_options,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        raise UserError(
            f"The encoder cannot be loaded: {str(error).strip().splitlines()[0] if str(error) else error!r}",
            where=f"--model {source.name}",
            fix="config.json and model.safetensors must belong together; re-save or re-download the encoder.",
        ) from error
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith(family.unused_weights))
    if missing or loading["mismatched_keys"]:
        raise UserError(
            f"The encoder's weights do not fit its config: {len(missing)} tensors are missing, for example "
            f"{(missing or ['none'])[0]}; {len(loading['mismatched_keys'])} have another shape",
            where=f"--model {source.name}",
            fix="config.json and model.safetensors must belong together; re-save or re-download the encoder.",
        )
    interface = None if family.interface is None else adapters.AdapterModelInterface(**family.interface)
    adapters.init(encoder, interface=interface)
    encoder.requires_grad_(False)
    return encoder.eval().to(device)


def family_of(encoder: PreTrainedModel) -> EncoderFamily:
    """The record of the encoder's type."""
    return FAMILIES[encoder.config.model_type]


def layers_of(encoder: PreTrainedModel) -> list[nn.Module]:
    """The encoder's layers, in order."""
    return list(cast(nn.ModuleList, encoder.get_submodule(family_of(encoder).layer_list)))


@dataclass(frozen=True)
class ProjectionRows:
    """A projection of attention: the Linear that computes it, and which of its output features it is."""

    linear: nn.Linear
    rows: slice


@dataclass(frozen=True)
class AttentionSite:
    """One layer's attention: its key and value projections, and the Linear that takes the heads' outputs."""

    key: ProjectionRows
    value: ProjectionRows
    output: nn.Linear


def attention_sites(encoder: PreTrainedModel) -> list[AttentionSite]:
    """The attention of each layer, in order, whatever the encoder's type calls it."""
    family = family_of(encoder)

    def projection(layer: nn.Module, found: Projection) -> ProjectionRows:
        linear = cast(nn.Linear, layer.get_submodule(found.path))
        return ProjectionRows(linear, found.rows(linear.out_features))

    return [
        AttentionSite(
            projection(layer, family.key),
            projection(layer, family.value),
            cast(nn.Linear, layer.get_submodule(family.attention_output)),
        )
        for layer in layers_of(encoder)
    ]


@dataclass(frozen=True)
class LayerMatrix:
    """A matrix of the encoder and the number of the layer that it belongs to."""

    layer: int
    weight: nn.Parameter


def layer_matrices(encoder: PreTrainedModel) -> dict[str, LayerMatrix]:
    """The matrices of every layer by name: query, key, value and output of attention, and the two of feed-forward.

    To be called before adapters are added.
    """
    layer_list = family_of(encoder).layer_list
    return {
        f"{layer_list}.{number}.{path}.weight": LayerMatrix(number, cast(nn.Parameter, module.weight))
        for number, layer in enumerate(layers_of(encoder))
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    }


def layer_norms(encoder: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The tensors of the encoder's own layer norms by name. To be called before adapters are added.

    Some types have norms of a class of their own, whose name ends in `Norm` too.
    """
    return {
        f"{path}.{name}": parameter
        for path, module in encoder.named_modules()
        if type(module).__name__.endswith("Norm")
        for name, parameter in module.named_parameters(recurse=False)
    }


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool token states (B, S, H) to (B, H): mean over real tokens, or the first token (`cls`)."""
    if pooling == "cls":
        return hidden[:, 0]
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)
