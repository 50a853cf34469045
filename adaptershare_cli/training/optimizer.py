"""An optimizer whose parameters may be split while it runs, with its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import get_scheduler

from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.subnet import SubnetAdamW

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw_torch": SubnetAdamW,
    "adamax": torch.optim.Adamax,
}


class Optimizer:
    """AdamW or Adamax, with learning-rate schedule and clipping over all parameters together.

    `undecayed` ones do not decay; those `apart` neither decay nor count for the clipping. Parameters without a gradient
    are left alone: no moment, no weight decay moves them. `names` of `state` and `load_state` identify tensors across
    processes; their order is kept, as the clipping norm is summed in it.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        settings: TrainingSettings,
        max_steps: int,
        apart: Sequence[nn.Parameter] = (),
        undecayed: Sequence[nn.Parameter] = (),
    ) -> None:
        self.max_grad_norm = settings.max_grad_norm
        kinds = ((parameters, settings.weight_decay), (undecayed, 0.0), (apart, 0.0))
        groups: list[dict[str, Any]] = [{"params": list(kind), "weight_decay": decay} for kind, decay in kinds]
        self.torch = OPTIMIZERS[settings.optim](groups, lr=settings.learning_rate, foreach=True)
        self.schedule = get_scheduler(
            settings.lr_scheduler_type,
            self.torch,
            num_warmup_steps=warmup_steps(settings, max_steps),
            num_training_steps=max_steps,
        )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters in the optimizer's order, without those apart."""
        decayed, undecayed, _ = self._groups
        return [*decayed, *undecayed]

    @property
    def _groups(self) -> list[list[nn.Parameter]]:
        return [group["params"] for group in self.torch.param_groups]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.torch.param_groups[0]["lr"]

    def gradient_norm(self) -> float:
        """The norm of all gradients together, before clipping."""
        return float(nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None]))

    def step(self, norm: float, subnet: Mapping[nn.Parameter, torch.Tensor] | None = None) -> None:
        """Clip (given the gradients' norm), update what has a gradient, and move the schedule on.

        Of the parameters in `subnet` only those entries are touched, moments included (AdamW alone can do that).
        """
        self._clip(norm)
        if isinstance(self.torch, SubnetAdamW):
            self.torch.entries = subnet or {}
        else:
            assert not subnet
        self._update()
        self.schedule.step()

    def _clip(self, norm: float) -> None:
        if 0 < self.max_grad_norm < norm:
            touched = [p for p in self.parameters if p.grad is not None]
            nn.utils.clip_grads_with_norm_(touched, self.max_grad_norm, torch.tensor(norm))

    def _update(self) -> None:
        self.torch.step()
        self.torch.zero_grad(set_to_none=True)

    def skip(self) -> None:
        """Forget the gradients: weights, moments and schedule stay as they are."""
        self.torch.zero_grad(set_to_none=True)

    @contextmanager
    def trial_step(self, gradients: Mapping[nn.Parameter, torch.Tensor]) -> Iterator[None]:
        """The given parameters as what these gradients add to an update would leave them, while the context lasts.

        The update is what `step` would do now, with its learning rate, clipping and scale of each parameter, but
        without the momentum of the updates before. Afterwards the parameters and their moments are bit for bit what
        they were; the schedule does not move, and no gradient is left.
        """
        before = {parameter: parameter.detach().clone() for parameter in gradients}
        moments = {p: dict(self.torch.state[p]) for p in gradients if p in self.torch.state}
        for parameter, gradient in gradients.items():
            parameter.grad = gradient.clone()
        try:
            for parameter, state in moments.items():
                self.torch.state[parameter] = {name: value.clone() for name, value in state.items()}
                self.torch.state[parameter]["exp_avg"].zero_()
            self._clip(self.gradient_norm())
            self._update()
            yield
        finally:
            with torch.no_grad():
                for parameter, value in before.items():
                    parameter.copy_(value)
                    self.torch.state.pop(parameter, None)
                    if parameter in moments:
                        self.torch.state[parameter] = moments[parameter]

    def follow_split(self, copies: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Train copies like their sources: the same group (so the same schedule), moments and step copied."""
        for source, copy in copies.items():
            self._groups[0].append(copy)
            if source in self.torch.state:
                self.torch.state[copy] = {name: value.clone() for name, value in self.torch.state[source].items()}

    def adopt(self, parameters: Sequence[nn.Parameter], undecayed: Sequence[nn.Parameter] = ()) -> None:
        """Train new parameters too, from now on and under the same schedule."""
        self._groups[0].extend(parameters)
        self._groups[1].extend(undecayed)

    def state(self, names: Mapping[nn.Parameter, str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Moments by `name/entry`, and the order of the parameters and the schedule's position."""
        tensors = {
            f"{names[parameter]}/{entry}": value
            for group in self._groups
            for parameter in group
            if parameter in self.torch.state
            for entry, value in self.torch.state[parameter].items()
        }
        order = [[names[parameter] for parameter in group] for group in self._groups]
        return tensors, {"order": order, "schedule": self.schedule.last_epoch}

    def load_state(
        self, names: Mapping[nn.Parameter, str], tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]
    ) -> None:
        """Go on where `state` was taken; `names` name this process's parameters."""
        by_name = {name: parameter for parameter, name in names.items()}
        for parameters, order in zip(self._groups, meta["order"], strict=True):
            parameters[:] = [by_name[name] for name in order]
        self.torch.state.clear()
        for key, value in tensors.items():
            name, _, entry = key.rpartition("/")
            parameter = by_name[name]
            # A tensor's step count is kept on the CPU; where every entry has its own, they are not.
            home = value.device if entry == "step" and not value.dim() else parameter.device
            self.torch.state[parameter][entry] = value.clone().to(home)
        self.schedule.last_epoch = meta["schedule"]
        factor = self.schedule.lr_lambdas[0](meta["schedule"])
        for group, base in zip(self.torch.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = base * factor
        self.schedule._last_lr = [group["lr"] for group in self.torch.param_groups]


def warmup_steps(settings: TrainingSettings, max_steps: int) -> int:
    """Updates with a rising learning rate."""
    return math.ceil(settings.warmup_ratio * max_steps)
