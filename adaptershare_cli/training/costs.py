"""What a method costs: the one place that counts trained and stored parameters and the work of an inference.

All three are computed, not timed, and mean the same for every method:

    trained   values that updates move, each counted once (generators and task embeddings too)
    stored    values that must be kept beside the encoder to serve all tasks, each counted once: what the exported
              folders hold (not what wrote them); of one task, what its own folder holds
    work      multiply-adds of matrix products for one example at the task's mean length
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.model.adapters.bank import no_adapter
from adaptershare_cli.model.inputs import run_encoder
from adaptershare_cli.training.protocol import Method

# By config and length: many runs of a process have the same encoder, and counting takes as long as some updates.
_of_bare_encoders: dict[tuple[str, int], int] = {}
HEAD = "head/"  # how every method names the tensors of heads


@dataclass(frozen=True)
class TaskCosts:
    """What one task costs when it is served alone; `heads` of the `stored` values are its head's."""

    stored: int
    heads: int
    length: int  # tokens of an example: the mean over the task's scored rows, rounded; 1 if it has none
    multiply_adds: int  # of an example, with encoder, adapters and head
    encoder_multiply_adds: int  # of the bare encoder


@dataclass(frozen=True)
class Costs:
    """What a run costs. `trained` and `stored` include heads, which are counted apart as well."""

    encoder: int  # frozen parameters of the encoder
    trained: int
    trained_heads: int
    stored: int
    stored_heads: int
    tasks: dict[str, TaskCosts]


def count_values(tensors: Iterable[torch.Tensor]) -> int:
    """Number of values in the given tensors, each tensor counted once."""
    return sum(tensor.numel() for tensor in dict.fromkeys(tensors))


def count_costs(method: Method, lengths: Mapping[str, Sequence[int] | np.ndarray]) -> Costs:
    """Count everything; `lengths` are the tokens of each task's scored rows. Leaves the method in eval mode."""
    method.eval_mode()
    serving = {task: method.serving(task) for task in lengths}
    tokens = {task: round(np.mean(found)) if len(found) else 1 for task, found in lengths.items()}
    return Costs(
        encoder=method.context.encoder_parameters,
        trained=count_values(method.names()),
        trained_heads=_heads({name: parameter for parameter, name in method.names().items()}),
        stored=count_values(parameter for found in serving.values() for parameter in found.values()),
        stored_heads=sum(_heads(found) for found in serving.values()),
        tasks={task: _task_costs(method, task, found, tokens[task]) for task, found in serving.items()},
    )


def _heads(tensors: Mapping[str, torch.Tensor]) -> int:
    return count_values(tensor for name, tensor in tensors.items() if name.startswith(HEAD))


def _task_costs(method: Method, task: str, serving: Mapping[str, torch.Tensor], length: int) -> TaskCosts:
    inputs = {name: torch.ones(1, length, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    targets = KINDS[method.context.data.infos[task].kind].cost_targets(length)
    example = Batch(task, inputs, targets, np.zeros(1, dtype=np.int64))
    alike = method.context.encoder.config.to_json_string(use_diff=False), length
    if alike not in _of_bare_encoders:
        with no_adapter():
            _of_bare_encoders[alike] = multiply_adds(lambda: run_encoder(method.context.encoder, inputs))
    return TaskCosts(
        stored=count_values(serving.values()),
        heads=_heads(serving),
        length=length,
        multiply_adds=multiply_adds(lambda: method.logits(example)),
        encoder_multiply_adds=_of_bare_encoders[alike],
    )


class _Products(TorchDispatchMode):
    """Adds up what torch's own formulas say of each operation (FlopCounterMode follows modules too, for longer)."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=found)
        return found


@torch.no_grad()  # in inference mode a Linear would come as one operation that has no formula
def multiply_adds(forward: Callable[[], Any]) -> int:
    """Multiply-adds of all matrix products in a forward pass, attention's own included."""
    # Attention written out: the formulas are of products, not of every processor's fused attention.
    with sdpa_kernel(SDPBackend.MATH), _Products() as counter:
        forward()
    return counter.flops // 2  # they count a multiply-add as two
