"""AdamW whose parameters may be split while it runs, with its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import get_scheduler

from adaptershare_cli.settings import TrainingSettings


class Optimizer:
    """AdamW, learning-rate schedule and clipping over one group of parameters.

    Parameters without a gradient are left alone: no moment, no weight decay moves them. `names` of `state` and
    `load_state` identify tensors across processes; their order is kept, as the clipping norm is summed in it.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], settings: TrainingSettings, max_steps: int) -> None:
        self.max_grad_norm = settings.max_grad_norm
        self.adamw = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
        )
        self.schedule = get_scheduler(
            settings.lr_scheduler_type,
            self.adamw,
            num_warmup_steps=warmup_steps(settings, max_steps),
            num_training_steps=max_steps,
        )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters in the optimizer's order."""
        return self.adamw.param_groups[0]["params"]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.adamw.param_groups[0]["lr"]

    def gradient_norm(self) -> float:
        """The norm of all gradients together, before clipping."""
        return float(nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None]))

    def step(self, norm: float) -> None:
        """Clip (given the gradients' norm), update what has a gradient, and move the schedule on."""
        if 0 < self.max_grad_norm < norm:
            touched = [p for p in self.parameters if p.grad is not None]
            nn.utils.clip_grads_with_norm_(touched, self.max_grad_norm, torch.tensor(norm))
        self.adamw.step()
        self.schedule.step()
        self.adamw.zero_grad(set_to_none=True)

    def follow_split(self, copies: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Train copies like their sources: the same group (so the same schedule), moments and step copied."""
        for source, copy in copies.items():
            self.parameters.append(copy)
            if source in self.adamw.state:
                self.adamw.state[copy] = {name: value.clone() for name, value in self.adamw.state[source].items()}

    def state(self, names: Mapping[nn.Parameter, str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Moments by `name/entry`, and the order of the parameters and the schedule's position."""
        tensors = {
            f"{names[parameter]}/{entry}": value
            for parameter in self.parameters
            if parameter in self.adamw.state
            for entry, value in self.adamw.state[parameter].items()
        }
        return tensors, {"order": [names[p] for p in self.parameters], "schedule": self.schedule.last_epoch}

    def load_state(
        self, names: Mapping[nn.Parameter, str], tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]
    ) -> None:
        """Go on where `state` was taken; `names` name this process's parameters."""
        by_name = {name: parameter for parameter, name in names.items()}
        self.adamw.param_groups[0]["params"] = [by_name[name] for name in meta["order"]]
        self.adamw.state.clear()
        for key, value in tensors.items():
            name, _, entry = key.rpartition("/")
            parameter = by_name[name]
            home = value.device if entry == "step" else parameter.device  # AdamW keeps its step counts on the CPU
            self.adamw.state[parameter][entry] = value.clone().to(home)
        self.schedule.last_epoch = meta["schedule"]
        factor = self.schedule.lr_lambdas[0](meta["schedule"])
        self.adamw.param_groups[0]["lr"] = self.schedule.base_lrs[0] * factor
        self.schedule._last_lr = [self.learning_rate]


def warmup_steps(settings: TrainingSettings, max_steps: int) -> int:
    """Updates with a rising learning rate."""
    return math.ceil(settings.warmup_ratio * max_steps)
