"""What a few tasks trained together would come to, if their outputs were linear in what training changes.

    minimise over u and b   sum over tasks t of mean over rows of loss_t(z_t + G_t u + b_t, y_t)
                            + penalty / 2 (|u|^2 + sum over t of |b_t|^2)

z_t are the task's outputs where training starts, G_t their (projected) gradients on the adapters, u what changes in
these, common to all tasks, and b_t what changes in the biases of t's head. The loss is that of the task's kind. A task
counts the same beside others as alone. Where outputs are linear, this is the training itself, to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.answers import Targets

_STOP = {"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-6}


@dataclass(frozen=True)
class Linearised:
    """Rows of a task as a model sees them that is linear around a start: what is right, outputs (A, K) and gradients
    (A, K, d), all float64."""

    info: TaskInfo
    targets: Targets
    outputs: torch.Tensor
    gradients: torch.Tensor

    def loss(self, change: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """The mean loss of the rows after the changes u (d,) and b (K,)."""
        moved = self.outputs + self.gradients @ change + bias
        return KINDS[self.info.kind].row_losses(self.info, moved, self.targets).mean()


def refit(tasks: Sequence[Linearised], penalty: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The best change u (d,), and of each task the change b (K,) of its biases."""
    from scipy.optimize import minimize

    sizes = [tasks[0].gradients.shape[2], *(task.outputs.shape[1] for task in tasks)]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(flat.copy()).requires_grad_()
        change, *biases = parameters.split(sizes)
        loss = penalty / 2 * parameters.square().sum()
        for task, bias in zip(tasks, biases, strict=True):
            loss = loss + task.loss(change, bias)
        (gradient,) = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), gradient.numpy()

    found = minimize(objective, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B", options=_STOP).x
    change, *biases = torch.from_numpy(found).split(sizes)
    return change, biases
