"""The precision of the frozen part: bf16 for the encoder's Linear weights while a model trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from adapters.methods.adapter_layer_base import AdapterLayerBase
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.model.encoder import family_of, layers_of


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
    inner, dropouts = _inner_modules(encoder)
    for dropout in dropouts:
        handles.append(dropout.register_forward_hook(_output_to_bf16))
    # Adapters and fusion modules have Linears too; they stay fp32, frozen or not, and so does what is trained.
    added = _added_modules(encoder)
    for module in encoder.modules():
        if not isinstance(module, nn.Linear) or module in added or module.weight.requires_grad:
            continue
        originals.append((module, module.weight, module.bias))
        module.weight = nn.Parameter(module.weight.to(torch.bfloat16), requires_grad=False)
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias.to(torch.bfloat16), requires_grad=False)
        handles.append(module.register_forward_pre_hook(_input_to_bf16))
        inside = [*module.adapter_modules.values()] if isinstance(module, AdapterLayerBase) else []
        for adapter in inside:  # those that the Linear itself adds to its output, such as LoRA's
            handles.append(adapter.register_forward_pre_hook(_inputs_to_fp32))
        # First of all hooks: where the library hangs an adapter on a Linear's output, it gets fp32 too.
        if module not in inner:
            handles.append(module.register_forward_hook(_output_to_fp32, prepend=True))
        elif inside:
            handles.append(module.register_forward_hook(_output_to_bf16, prepend=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, weight, bias in originals:
            module.weight, module.bias = weight, bias


def _inner_modules(encoder: PreTrainedModel) -> tuple[set[nn.Module], list[nn.Module]]:
    """Linears whose output goes on into an activation or attention, not into the residual stream, and dropouts.

    The output of such a Linear stays in bf16, as under autocast; all others hand fp32 to the adapters, the norms and
    the residual stream. Attention that is written out (ELECTRA has no other) takes its softmax in fp32 and multiplies
    in bf16, as autocast does; the dropout stands between the two. Fused attention does not call it.
    """
    family = family_of(encoder)
    paths, dropouts = [*family.activation_inputs], []
    if attends_in_bf16(next(encoder.parameters()).device):
        paths += [family.query.path, family.key.path, family.value.path]
        if family.attention_dropout is not None:
            dropouts = [layer.get_submodule(family.attention_dropout) for layer in layers_of(encoder)]
    return {layer.get_submodule(path) for layer in layers_of(encoder) for path in paths}, dropouts


def _added_modules(encoder: PreTrainedModel) -> set[nn.Module]:
    """Every module of the adapters and the fusion modules that the library has added."""
    found: set[nn.Module] = set()
    for part in encoder.modules():
        if isinstance(part, AdapterLayerBase):
            for own in (part.adapter_modules, getattr(part, "adapter_fusion_layer", None)):
                found |= set(own.modules()) if isinstance(own, nn.Module) else set()
    return found


def _input_to_bf16(module: nn.Module, inputs: tuple) -> tuple:
    return (inputs[0].to(torch.bfloat16), *inputs[1:])


def _inputs_to_fp32(module: nn.Module, inputs: tuple) -> tuple:
    return tuple(part.to(torch.float32) if isinstance(part, torch.Tensor) else part for part in inputs)


def _output_to_bf16(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
    return output.to(torch.bfloat16)


def _output_to_fp32(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
    return output.to(torch.float32)
