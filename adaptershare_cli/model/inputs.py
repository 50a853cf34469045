"""Rows as an encoder takes them: the one place that knows what it reads of what its tokenizer gives.

Whatever runs an encoder calls `run_encoder` with rows as `data.batches.pad` pads them: training, scoring, checks,
measures, costs. What an exported folder tells a user to do is the same by `tokenizer_call`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.families import FAMILIES

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

SEGMENTS = "token_type_ids"


def knows_segments(encoder: PreTrainedModel) -> bool:
    """Whether the encoder tells segments (`token_type_ids`) apart: it must know two of them at least."""
    return _segments(encoder.config) > 1


def _segments(config: PretrainedConfig) -> int:
    return FAMILIES[config.model_type].segments(config)


def run_encoder(
    encoder: PreTrainedModel,
    inputs: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor] | None = None,
    **asked: Any,
) -> Any:
    """The encoder's outputs for padded rows, (B, S) a tensor, on its device.

    A tokenizer may give segments to an encoder that knows none, or one: they are left out. `weights`, by their names in
    the encoder, stand in for its own tensors in this pass; `asked` is what else its forward pass is asked for.
    """
    segments = knows_segments(encoder)
    taken = {name: tensor.to(encoder.device) for name, tensor in inputs.items() if segments or name != SEGMENTS}
    if weights:
        from torch.func import functional_call

        return functional_call(encoder, dict(weights), (), {**taken, **asked}, tie_weights=False)
    return encoder(**taken, **asked)


def example_inputs(encoder: PreTrainedModel, rows: int, tokens: int) -> dict[str, torch.Tensor]:
    """Rows of any tokens (rows, tokens); where there are several, the last is padded for half of its length."""
    import torch

    numbers = torch.arange(rows * tokens).reshape(rows, tokens)
    mask = torch.ones_like(numbers)
    if rows > 1:
        mask[-1, (tokens + 1) // 2 :] = 0
    inputs = {"input_ids": (numbers * 37 + 11) % encoder.config.vocab_size, "attention_mask": mask}
    if knows_segments(encoder):
        inputs[SEGMENTS] = (torch.arange(tokens) >= tokens // 2).long().expand(rows, tokens).contiguous()
    return inputs


def tokenizer_call(encoder: PreTrainedModel, tokenizer: Any) -> dict[str, Any]:
    """What a call of the tokenizer must say beyond the usual, so that it gives what `run_encoder` makes of rows."""
    named = tokenizer.model_input_names
    call: dict[str, Any] = {}
    if SEGMENTS in named and not knows_segments(encoder):
        call["return_token_type_ids"] = False
    if "attention_mask" not in named:
        call["return_attention_mask"] = True
    if tokenizer.padding_side != "right":
        call["padding_side"] = "right"
    return call


def as_arguments(call: Mapping[str, Any]) -> str:
    """Keyword arguments as they stand in code after others: `, name=value` each."""
    return "".join(f", {name}={value!r}" for name, value in call.items())


@dataclass(frozen=True)
class Extent:
    """Of some rows the longest, in tokens, and the largest number of a token and of a segment."""

    length: int = 0
    token: int = 0
    segment: int = 0


def check_inputs(folder: Path, tasks: Mapping[str, Extent]) -> None:
    """Raise UserError where rows of a task do not fit the encoder: too many tokens, unknown tokens or segments."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    positions, segments = FAMILIES[config.model_type].positions(config), _segments(config)
    for task, rows in tasks.items():
        if positions is not None and rows.length > positions:
            raise UserError(
                f"Task {task} has inputs of {rows.length} tokens, the encoder takes {positions}",
                where="--model",
                fix=f"Use --max-seq-length {positions} or less.",
            )
        known = {"token": (rows.token, config.vocab_size)}
        if segments > 1:
            known["segment"] = (rows.segment, segments)
        for what, (found, size) in known.items():
            if found >= size:
                raise UserError(
                    f"Task {task} has the {what} number {found}, the encoder knows 0 to {size - 1}",
                    where="--model",
                    fix="Tokenizer and weights of the encoder's folder must belong together.",
                )
