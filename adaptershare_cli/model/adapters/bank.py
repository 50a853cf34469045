"""Adapters tied by a sharing plan: one library adapter a task, the same Parameter objects within a group.

A *site* is a place in a layer where an adapter sits. The library sees one complete adapter per task, so all it
offers (activation, batches split between tasks, saving) works unchanged, whatever the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from adapters import AdapterSetup
from adapters.composition import BatchSplit
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.adapters import OPTION, adapter_kind
from adaptershare_cli.model.adapters.base import AdapterKind, Site
from adaptershare_cli.model.folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.settings import TrainingSettings, flag
from adaptershare_cli.sharing.plan import SharingPlan


@cache
def module_name(task: str) -> str:
    """What `adapters` and PyTorch call the adapter of a task, in the encoder and in exported files.

    Its own name, but for those that PyTorch refuses: `a.b` becomes `a+b`, and `train`, the name of a method of every
    module, `train+`. No name of a task or of an adapter's folder has a `+`, so no two become one.
    """
    name = task.replace(".", "+")
    return f"{name}+" if hasattr(nn.ModuleDict(), name) else name


def no_adapter() -> AbstractContextManager:
    """Context in which an encoder runs bare, whatever adapters it has."""
    return AdapterSetup(".")  # no task can have this name; with no setup at all, the library warns at each pass


class AdapterBank:
    """The adapters of several tasks on one encoder, tied according to a plan.

    All tasks start from the same weights in a layer, so a private and a shared plan start from the same function:
    from those of `initial` (named as by `named_parameters`), or else at random. The kind of adapter and its sizes are
    those of `training`; `config_fields` are fields of the library's config that differ from what these settings make.
    Raises UserError for a kind that the library cannot add to such an encoder.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        plan: SharingPlan,
        training: TrainingSettings,
        seed: int,
        initial: Mapping[str, torch.Tensor] | None = None,
        config_fields: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoder = cast(Any, encoder)  # `adapters.init` gave it methods that its type does not have
        self.tasks = plan.tasks
        self.kind = adapter_kind(training.adapter_config)
        adapter_config = self.kind.config_in_library(training, config_fields)
        if not self.encoder.supports_adapter(adapter_config):
            raise UserError(
                f"Encoders of type {encoder.config.model_type} take no adapters of the kind {self.kind.name}",
                where=flag(OPTION, self.kind.name),
                fix="Use another kind.",
            )
        torch.manual_seed(derive_seed(seed, "adapters"))
        for task in self.tasks:
            self.encoder.add_adapter(module_name(task), config=adapter_config)
        self.sites: dict[str, list[Site]] = {
            task: layer_sites(self.kind, self.encoder, module_name(task)) for task in self.tasks
        }
        if initial is not None:
            self.fill(self.tasks[0], initial)
        with torch.no_grad():
            for task in self.tasks[1:]:
                for ours, theirs in zip(self.sites[task], self.sites[self.tasks[0]], strict=True):
                    ours.module.load_state_dict(theirs.module.state_dict())
        for task in self.tasks:
            for site in self.sites[task]:
                site.module.requires_grad_(True)
                site.module.to(next(encoder.parameters()).device)
        self.plan = SharingPlan.private(self.tasks, len(plan.layers))
        self.set_plan(plan)

    def set_plan(self, plan: SharingPlan) -> None:
        """Tie the adapters as `plan` says; each group takes the tensors of its first task, or a copy of them.

        A copy where an earlier group of the layer has them already, so that groups never share a tensor.
        """
        for layer, groups in enumerate(plan.layers):
            taken: set[nn.Parameter] = set()
            for group in groups:
                tensors = dict(self.named_parameters(group[0], layer))
                for name, tensor in tensors.items():
                    if tensor in taken:
                        tensors[name] = nn.Parameter(tensor.detach().clone())
                for task in group:
                    self._tie(layer, task, tensors)
                taken.update(tensors.values())
        self.plan = plan

    def tie_equal(self) -> None:
        """Let tasks share an adapter in each layer where they hold the very same values."""
        layers = []
        for layer in range(len(self.plan.layers)):
            groups: dict[str, list[str]] = {}
            for task in self.tasks:
                digest = hashlib.sha256()
                for _, tensor in self.named_parameters(task, layer):
                    digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
                groups.setdefault(digest.hexdigest(), []).append(task)
            layers.append(tuple(map(tuple, groups.values())))
        self.set_plan(SharingPlan(self.tasks, tuple(layers)))

    def split(self, layer: int, kept: Sequence[str], moved: Sequence[str]) -> dict[nn.Parameter, nn.Parameter]:
        """Give the tasks `moved` an exact copy of their group's adapter in `layer`.

        Returns source parameter -> copy, for the optimizer (`training.optimizer.follow_split`).
        """
        plan = self.plan.split(layer, kept, moved)
        source = dict(self.named_parameters(moved[0], layer))
        copies = {name: nn.Parameter(tensor.detach().clone()) for name, tensor in source.items()}
        for task in moved:
            self._tie(layer, task, copies)
        self.plan = plan
        return {source[name]: copies[name] for name in source}

    def _tie(self, layer: int, task: str, tensors: dict[str, nn.Parameter]) -> None:
        for site in self.sites[task]:
            if site.layer != layer:
                continue
            for name, _ in list(site.module.named_parameters()):
                owner, _, leaf = name.rpartition(".")
                site.module.get_submodule(owner).register_parameter(leaf, tensors[f"{site.location}.{name}"])

    def named_parameters(self, task: str, layer: int | None = None) -> Iterator[tuple[str, nn.Parameter]]:
        """The adapter tensors that `task` uses, in a fixed order.

        Names are `location.parameter` within one layer, `layer.location.parameter` when `layer` is None.
        """
        for site in self.sites[task]:
            if layer is None or site.layer == layer:
                prefix = site.location if layer is not None else f"{site.layer}.{site.location}"
                for name, tensor in site.module.named_parameters():
                    yield f"{prefix}.{name}", tensor

    def names_in_encoder(self, task: str) -> dict[str, str]:
        """What the encoder calls each adapter tensor of `task`, by its name `layer.location.parameter`."""
        paths = {module: path for path, module in self.encoder.named_modules()}
        return {
            f"{site.layer}.{site.location}.{part}{'.' if part else ''}{leaf}": f"{paths[module]}.{leaf}"
            for site in self.sites[task]
            for part, module in site.module.named_modules()
            for leaf, _ in module.named_parameters(recurse=False)
        }

    @torch.no_grad()
    def fill(self, task: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy `tensors`, named as by `named_parameters(task)`, into the adapter tensors that `task` uses.

        Raises ValueError unless they are all of those tensors and no others.
        """
        own = dict(self.named_parameters(task))
        if own.keys() != tensors.keys():
            raise ValueError(f"another adapter's tensors: {sorted(own.keys() ^ tensors.keys())}")
        for name, parameter in own.items():
            parameter.copy_(tensors[name])

    def parameters(self) -> list[nn.Parameter]:
        """Every adapter tensor once, in task and layer order."""
        return list(dict.fromkeys(t for task in self.tasks for _, t in self.named_parameters(task)))

    def active(self, task: str) -> AbstractContextManager:
        """Context in which the encoder runs with the adapters of `task` (keep backward inside)."""
        return AdapterSetup(module_name(task))

    def active_rows(self, tasks: Sequence[str], counts: Sequence[int]) -> AbstractContextManager:
        """Context for one mixed batch: the first counts[0] rows run with tasks[0]'s adapters, and so on."""
        names = [module_name(task) for task in tasks]
        return AdapterSetup(BatchSplit(*names, batch_sizes=list(counts)) if len(names) > 1 else names[0])

    def state(self) -> dict[str, torch.Tensor]:
        """Each group's tensors once, as `layer.group.location.parameter`, detached (not copied)."""
        return {
            f"{layer}.{number}.{name}": tensor.detach()
            for layer, groups in enumerate(self.plan.layers)
            for number, group in enumerate(groups)
            for name, tensor in self.named_parameters(group[0], layer)
        }

    @torch.no_grad()
    def load_state(self, plan: SharingPlan, state: dict[str, torch.Tensor]) -> None:
        """Take up a saved plan and its tensors. Parameters are new objects: build the optimizer afterwards."""
        for layer, groups in enumerate(plan.layers):
            for number, group in enumerate(groups):
                device = next(self.encoder.parameters()).device
                own = {
                    name: nn.Parameter(state[f"{layer}.{number}.{name}"].clone().to(device))
                    for name, _ in self.named_parameters(group[0], layer)
                }
                for task in group:
                    self._tie(layer, task, own)
        self.plan = plan

    def export(self, task: str, folder: Path, leave_out: Sequence[int] = ()) -> None:
        """Write the task's adapter in the AdapterHub layout: `adapter_config.json` and `adapter.safetensors`.

        `adapters` writes the folder's files, and its own names for them are kept so that `load_adapter` finds them.
        The layers in `leave_out` are not written, and the config says so.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save_adapter(str(folder), module_name(task), use_safetensors=True)
        config_file, weights_file = folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS
        replaced: dict[str, Any] = {}
        if leave_out:
            replaced["config"] = {**json.loads(config_file.read_text())["config"], "leave_out": list(leave_out)}
            left_out = {name for own, name in self.names_in_encoder(task).items() if _layer(own) in leave_out}
            save_file({n: t for n, t in load_file(weights_file).items() if n not in left_out}, weights_file)
        rewrite_config(config_file, **replaced)


def rewrite_config(file: Path, **replaced: Any) -> None:
    """Write a config of the library again, parts of it `replaced`, without the local model path.

    So equal runs write equal bytes.
    """
    config = json.loads(file.read_text(encoding="utf-8")) | replaced
    config.pop("model_name", None)
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def layer_sites(kind: AdapterKind, encoder: Any, adapter: str) -> list[Site]:
    """The sites of an adapter. Raises NotImplementedError for one that also has tensors outside the layers.

    A plan says for each layer who shares; of such tensors it says nothing.
    """
    sites = kind.sites(encoder, adapter)
    if any(site.layer < 0 for site in sites):
        raise NotImplementedError(f"adapters of the kind {kind.name} have tensors that belong to no layer")
    return sites


def named_tensors(kind: AdapterKind, encoder: Any, adapter: str) -> dict[str, nn.Parameter]:
    """All tensors of one of the encoder's adapters, as `layer.location.parameter`."""
    return {
        f"{site.layer}.{site.location}.{name}": tensor
        for site in layer_sites(kind, encoder, adapter)
        for name, tensor in site.module.named_parameters()
    }


def _layer(name: str) -> int:
    """The layer in a name `layer.location.parameter`."""
    return int(name.partition(".")[0])
