"""AdamW for parts of tensors: an update moves, decays and counts the entries of one subnet, and no other.

Source: strict updates of Sparse Sharing (specs of Sparse Sharing, section 2.11). An entry that several tasks use has
seen more updates than one that a single task uses, so each has a count of its own for the bias corrections. Where
a subnet is a whole tensor this is `torch.optim.AdamW` bit for bit, and so it is for a task none of whose entries
another one uses, as if it were trained alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

COUNT, MEAN, SQUARE = "step", "exp_avg", "exp_avg_sq"


class SubnetAdamW(torch.optim.AdamW):
    """AdamW that moves of the parameters in `entries` only those entries (boolean, of the parameter's shape)."""

    entries: Mapping[nn.Parameter, torch.Tensor] = {}

    def step(self, closure: Any = None) -> Any:
        """One update; parameters without a gradient stay as they are."""
        gradients = {parameter: parameter.grad for parameter in self.entries}
        for parameter in gradients:
            parameter.grad = None
        found = super().step(closure)
        for group in self.param_groups if gradients else ():
            for parameter in group["params"]:
                gradient = gradients.get(parameter)
                if gradient is not None:
                    _update(parameter, gradient, self.entries[parameter], self.state[parameter], group)
        return found


@torch.no_grad()
def _update(
    parameter: nn.Parameter, gradient: torch.Tensor, mask: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
) -> None:
    """AdamW's formulas, in the order in which torch computes them (`_multi_tensor_adam`, not capturable)."""
    if not state:
        state.update({name: torch.zeros_like(parameter) for name in (COUNT, MEAN, SQUARE)})
    rate, (beta1, beta2) = group["lr"], group["betas"]
    count = state[COUNT] + mask
    steps = [max(step, 1) for step in range(int(count.max()) + 1)]  # an entry that was never touched has a count of 0
    size = _table([-rate / (1 - beta1**step) for step in steps], count)
    root = _table([(1 - beta2**step) ** 0.5 for step in steps], count)
    mean = state[MEAN].lerp(gradient, 1 - beta1)
    square = (state[SQUARE] * beta2).addcmul_(gradient, gradient, value=1 - beta2)
    value = parameter * (1 - rate * group["weight_decay"]) if group["weight_decay"] else parameter
    value = value + size * mean / (square.sqrt() / root).add_(group["eps"])
    for old, new in ((parameter, value), (state[COUNT], count), (state[MEAN], mean), (state[SQUARE], square)):
        old.copy_(torch.where(mask, new, old))


def _table(values: list[float], index: torch.Tensor) -> torch.Tensor:
    """values[index], in the index's own dtype and on its device."""
    table = torch.tensor(values, dtype=torch.float64).to(index)
    return table[index.long()]
