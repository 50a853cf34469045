"""The frozen encoder: loading, freezing, precision and pooling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import adapters
import torch
from adapters.methods.bottleneck import BottleneckLayer
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.errors import UserError
from adaptershare_cli.model.source import EncoderSource

# Linear layers whose output goes on into an activation or attention, not into the residual stream: their output
# stays in bf16, as under autocast. All others hand fp32 to the adapters, the norms and the residual stream.
_INNER_LINEARS = ("intermediate.dense", "ffn.lin1")
_ATTENTION_PARTS = {
    "key": ("attention.self.key", "attention.k_lin"),
    "value": ("attention.self.value", "attention.v_lin"),
    "output": ("attention.output.dense", "attention.out_lin"),
}
_ATTENTION_LINEARS = ("query", "key", "value", "q_lin", "k_lin", "v_lin")
# Attention that is written out (ELECTRA has no other) takes its softmax in fp32 and multiplies in bf16, as autocast
# does; the dropout stands between the two. Fused attention does not call it.
_WRITTEN_OUT_ATTENTION = "attention.self.dropout"
_IN_LAYER = re.compile(r"(?:^|\.)layer\.(\d+)\.")  # encoder.layer.0.…, of DistilBERT transformer.layer.0.…


def load_encoder(source: EncoderSource, device: torch.device) -> PreTrainedModel:
    """Load `source` in fp32, ready for adapters, every weight frozen, in eval mode.

    Raises UserError where the folder cannot be loaded, or its weights are not all of those that its config names.
    """
    options = {"add_pooling_layer": False} if source.model_type in ("bert", "roberta") else {}
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # a checkpoint's own pooler or heads are left out on purpose
    try:
        encoder, loading = AutoModel.from_pretrained(
            source.folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True,
            **options,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        raise UserError(
            f"The encoder cannot be loaded: {str(error).strip().splitlines()[0] if str(error) else error!r}",
            where=f"--model {source.name}",
            fix="config.json and model.safetensors must belong together; re-save or re-download the encoder.",
        ) from error
    finally:
        logging.set_verbosity(before)
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing or loading["mismatched_keys"]:
        raise UserError(
            f"The encoder's weights do not fit its config: {len(missing)} tensors are missing, for example "
            f"{(missing or ['none'])[0]}; {len(loading['mismatched_keys'])} have another shape",
            where=f"--model {source.name}",
            fix="config.json and model.safetensors must belong together; re-save or re-download the encoder.",
        )
    adapters.init(encoder)
    encoder.requires_grad_(False)
    return encoder.eval().to(device)


def check_inputs(encoder: PreTrainedModel, tasks: Mapping[str, Sequence[Rows]], pad_token: int) -> None:
    """Raise UserError where rows of a task do not fit `encoder`: too many tokens, unknown tokens or segments."""
    embeddings: Any = encoder.embeddings
    known = embeddings.word_embeddings.num_embeddings
    positions = embeddings.position_embeddings.num_embeddings
    if encoder.config.model_type == "roberta":  # it counts them from padding_idx + 1
        positions -= embeddings.padding_idx + 1
    segments = getattr(embeddings, "token_type_embeddings", None)
    for task, parts in tasks.items():
        longest = max(int(rows.lengths.max(initial=0)) for rows in parts)
        if longest > positions:
            raise UserError(
                f"Task {task} has inputs of {longest} tokens, the encoder takes {positions}",
                where="--model",
                fix=f"Use --max-seq-length {positions} or less.",
            )
        token = max(pad_token, *(int(rows.tokens.max(initial=0)) for rows in parts))
        segment = max(0 if rows.types is None else int(rows.types.max(initial=0)) for rows in parts)
        for what, found, size in [("token", token, known)] + (
            [("segment", segment, segments.num_embeddings)] if segments is not None else []
        ):
            if found >= size:
                raise UserError(
                    f"Task {task} has the {what} number {found}, the encoder knows 0 to {size - 1}",
                    where="--model",
                    fix="Tokenizer and weights of the encoder's folder must belong together.",
                )


def supports_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bf16 matrices natively (elsewhere bf16 is emulated, and slower than fp32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Newer than the oldest torch that is allowed.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn `auto` into `bf16` where the processor has it, else `fp32`."""
    if precision == "auto":
        return "bf16" if supports_bf16(device) else "fp32"
    return precision


def attends_in_bf16(device: torch.device) -> bool:
    """Whether attention itself runs in bf16: not on the CPU, whose fused bf16 kernel is many times slower backwards.

    (torch 2.13, 32 rows of 64 tokens, 12 heads, one thread: 75 ms in bf16, 28 ms in fp32; a training update is 1.3
    to 1.5 times as fast with fp32 attention.)
    """
    return device.type != "cpu"


@contextmanager
def linear_precision(encoder: PreTrainedModel, precision: str) -> Iterator[None]:
    """Hold the frozen Linear weights in `precision` inside the context; the originals come back at its end.

    With `bf16` each frozen Linear casts its input to bf16 and, where its output joins the residual stream, its
    output to fp32; adapters, heads, norms and the residual stream stay fp32, and so does attention on the CPU
    (`attends_in_bf16`). With attention in bf16 that is bit-equal to autocast over the frozen part, and faster, as
    no weight is cast twice; only where ELECTRA projects its embeddings does autocast differ, as it then keeps the
    whole residual stream in bf16.
    """
    if precision != "bf16":
        yield
        return
    originals, handles = [], []
    attention = attends_in_bf16(next(encoder.parameters()).device)
    inner = _INNER_LINEARS + (_ATTENTION_LINEARS if attention else ())
    sites = [part for part in encoder.modules() if isinstance(part, BottleneckLayer)]
    added = {m for part in sites for own in (part.adapters, part.adapter_fusion_layer) for m in own.modules()}
    for name, module in encoder.named_modules():
        if attention and name.endswith(_WRITTEN_OUT_ATTENTION):
            handles.append(module.register_forward_hook(_output_to_bf16))
        # Adapters and fusion modules have Linears too; they stay fp32, frozen or not, and so does what is trained.
        if not isinstance(module, nn.Linear) or module in added or module.weight.requires_grad:
            continue
        originals.append((module, module.weight, module.bias))
        module.weight = nn.Parameter(module.weight.to(torch.bfloat16), requires_grad=False)
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias.to(torch.bfloat16), requires_grad=False)
        handles.append(module.register_forward_pre_hook(_input_to_bf16))
        if not name.endswith(inner):
            handles.append(module.register_forward_hook(_output_to_fp32))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, weight, bias in originals:
            module.weight, module.bias = weight, bias


def _input_to_bf16(module: nn.Module, inputs: tuple) -> tuple:
    return (inputs[0].to(torch.bfloat16), *inputs[1:])


def _output_to_bf16(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
    return output.to(torch.bfloat16)


def _output_to_fp32(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
    return output.to(torch.float32)


@dataclass(frozen=True)
class AttentionSite:
    """One layer's attention: its key and value projections, and the projection that takes the heads' outputs."""

    key: nn.Linear
    value: nn.Linear
    output: nn.Linear


def attention_sites(encoder: PreTrainedModel) -> list[AttentionSite]:
    """The attention of each layer, in order, whatever the encoder's type calls it."""
    found: dict[str, list[nn.Linear]] = {part: [] for part in _ATTENTION_PARTS}
    for name, module in encoder.named_modules():
        for part, ends in _ATTENTION_PARTS.items():
            if name.endswith(ends):
                found[part].append(module)
    return [AttentionSite(*parts) for parts in zip(*found.values(), strict=True)]


def layer_matrices(encoder: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The matrices of every layer by name: query, key, value and output of attention, and the two of feed-forward.

    To be called before adapters are added.
    """
    return {
        f"{path}.weight": cast(nn.Parameter, module.weight)
        for path, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and _IN_LAYER.search(path)
    }


def layer_of(name: str) -> int:
    """The layer in which a tensor of `layer_matrices` stands."""
    found = _IN_LAYER.search(name)
    assert found is not None
    return int(found[1])


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool token states (B, S, H) to (B, H): mean over real tokens, or the first token (`cls`)."""
    if pooling == "cls":
        return hidden[:, 0]
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)
