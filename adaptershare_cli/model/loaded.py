"""Tasks read back from the folders that `model.export` wrote, on one encoder: a model that answers, and trains no more.

Whatever method trained them, a task is a head and what its pass needs besides the frozen encoder: an adapter,
or adapters and the fusion modules over them, or matrices that stand in for the encoder's own. The library reads
adapters and fusion as an exported folder's README says, so a pass gives what the run was scored with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from adapters import AdapterSetup
from adapters.composition import AdapterCompositionBlock, Fuse
from adapters.methods.bottleneck import BottleneckLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters.bank import AdapterBank, module_name, named_tensors, no_adapter
from adaptershare_cli.model.encoder import family_of, layers_of
from adaptershare_cli.model.export import ENCODER_FILE, FUSION_CONFIG
from adaptershare_cli.model.folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS, NORM_WEIGHTS
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.source import NAME_IT
from adaptershare_cli.model.stored import add_adapter, read_head
from adaptershare_cli.model.weights import file_hash
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan

FUSION_WEIGHTS = "model_adapter_fusion.safetensors"  # as the library calls it
Placed = tuple[int, str, torch.Tensor]  # a tensor with its layer, and its name there


class LoadedModel(MultiTaskModel):
    """The tasks of one run. `folders` are the tasks' own, as `export_task` wrote them.

    `layer_keys[task]` has a text for each layer: tasks with the same one use the very same weights there. Raises
    UserError where a folder lacks something, or its parts do not belong together.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        infos: Mapping[str, TaskInfo],
        folders: Mapping[str, Path],
        training: TrainingSettings,
    ) -> None:
        depth = len(layers_of(encoder))
        # The adapters are the library's own here: nothing is tied or trained.
        bank = AdapterBank(encoder, SharingPlan((), ((),) * depth), training, 0)
        heads = {task: read_head(folder, infos[task], training.pooling) for task, folder in folders.items()}
        super().__init__(encoder, bank, list(infos.values()), training.pooling, 0.0, 0, initial_heads=heads)
        self._setups: dict[str, str | AdapterCompositionBlock | None] = {}
        self._matrices: dict[str, dict[str, torch.Tensor]] = {}
        self._attended: dict[str, str] = {}  # adapters that are fused, by name, with a hash of each one's file
        self.layer_keys: dict[str, tuple[str, ...]] = {}
        _load_norms(encoder, folders)
        for task, folder in folders.items():
            self._matrices[task] = _matrices(encoder, folder)
            self._setups[task], tensors = self._adapters(task, folder)
            self.layer_keys[task] = _layer_keys([*tensors, *_by_layer(encoder, self._matrices[task])], depth)
        encoder.requires_grad_(False)
        encoder.to(self.device)  # type: ignore[arg-type]
        self.eval()

    def active(self, task: str) -> AbstractContextManager:
        """Context of a forward pass of `task`."""
        setup = self._setups[task]
        return no_adapter() if setup is None else AdapterSetup(setup)

    def weights(self, task: str) -> dict[str, torch.Tensor]:
        """The matrices of `task` that stand in for the encoder's own."""
        return self._matrices[task]

    def _adapters(self, task: str, folder: Path) -> tuple[str | AdapterCompositionBlock | None, list[Placed]]:
        """Load what the task's folder holds of adapters: what is active in its pass, and the tensors by layer."""
        if (folder / "fusion" / FUSION_CONFIG).is_file():
            return self._fusion(task, folder)
        if (folder / ADAPTER_CONFIG).is_file():
            add_adapter(self.encoder, folder, module_name(task))
            return module_name(task), [*self._of_adapter(module_name(task))]
        if not self._matrices[task]:
            raise UserError(f"The folder of task {task} holds neither adapter nor matrices", where=str(folder))
        return None, []

    def _of_adapter(self, name: str) -> Iterator[Placed]:
        for place, tensor in named_tensors(self.bank.kind, self.encoder, name).items():
            layer, _, own = place.partition(".")
            yield int(layer), own, tensor

    def _fusion(self, task: str, folder: Path) -> tuple[AdapterCompositionBlock, list[Placed]]:
        """Adapters and fusion modules of a task that attends over several; a run's tasks all have the same adapters."""
        encoder, names = cast(Any, self.encoder), []
        tensors: list[Placed] = []
        for source in _attended(folder):
            digest = file_hash(source / ADAPTER_WEIGHTS)
            if source.name not in self._attended:
                add_adapter(encoder, source, source.name)
            if self._attended.setdefault(source.name, digest) != digest:
                raise UserError(f"The adapters {source.name} of two tasks differ: they are of two runs", str(source))
            names.append(source.name)
            tensors += self._of_adapter(source.name)
        if not (folder / "fusion" / FUSION_WEIGHTS).is_file():
            raise UserError(f"There is no {FUSION_WEIGHTS}", where=str(folder / "fusion"))
        fusion = f"fusion({module_name(task)})"
        try:
            encoder.load_adapter_fusion(str(folder / "fusion"), load_as=fusion, use_safetensors=True)
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            raise UserError(f"The fusion cannot be loaded: {error}", where=str(folder / "fusion")) from error
        for part in encoder.modules():
            if isinstance(part, BottleneckLayer) and fusion in part.adapter_fusion_layer:
                own = part.adapter_fusion_layer[fusion].named_parameters()
                tensors += [(part.layer_idx, f"{part.location_key}.{name}", tensor) for name, tensor in own]
        return Fuse(*names, name=fusion), tensors


def _attended(folder: Path) -> list[Path]:
    """The folders of the adapters that an exported task attends over, in the order of the attention."""
    file = folder / "fusion" / FUSION_CONFIG
    try:
        names = json.loads(file.read_text(encoding="utf-8"))["adapter_names"]
        sources = [folder / "adapters" / Path(name).name for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{FUSION_CONFIG} does not name its adapters: {error!r}", where=str(file)) from error
    for source in sources:
        if not (source / ADAPTER_WEIGHTS).is_file():
            raise UserError(f"There is no {ADAPTER_WEIGHTS} of an adapter that is attended to", where=str(source))
    return sources


def _read(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file.name} cannot be loaded: {error}", where=str(file)) from error


def _check_names(encoder: PreTrainedModel, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    own = dict(encoder.named_parameters())
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            raise UserError(f"{file.name} does not fit the encoder: {name}", where=str(file), fix=NAME_IT)


def _load_norms(encoder: PreTrainedModel, folders: Mapping[str, Path]) -> None:
    """Take up the layer norms that a run trained for all its tasks together."""
    files = [folder / NORM_WEIGHTS for folder in folders.values() if (folder / NORM_WEIGHTS).is_file()]
    if not files:
        return
    if len(files) < len(folders) or len({file_hash(file) for file in files}) > 1:
        raise UserError(f"The tasks' {NORM_WEIGHTS} differ, so they are not of one run", where=str(files[0]))
    tensors = _read(files[0])
    _check_names(encoder, tensors, files[0])
    encoder.load_state_dict(tensors, strict=False)


def _matrices(encoder: PreTrainedModel, folder: Path) -> dict[str, torch.Tensor]:
    """The task's own matrices of the encoder, by their names in it."""
    file = folder / ENCODER_FILE
    if not file.is_file():
        return {}
    tensors = _read(file)
    _check_names(encoder, tensors, file)
    return {name: tensor.to(encoder.device) for name, tensor in tensors.items()}


def _by_layer(encoder: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> Iterator[Placed]:
    """The encoder's own tensors with their layers; what stands before the layers counts to the first one."""
    prefix = f"{family_of(encoder).layer_list}."
    for name, tensor in tensors.items():
        layer, _, own = name.removeprefix(prefix).partition(".") if name.startswith(prefix) else ("0", "", name)
        yield int(layer), own, tensor


def _layer_keys(tensors: Iterable[Placed], depth: int) -> tuple[str, ...]:
    """A hash of what a task has in each layer: the names, sizes and values of its tensors."""
    digests = [hashlib.sha256() for _ in range(depth)]
    for layer, name, tensor in tensors:
        digests[layer].update(f"{name} {tuple(tensor.shape)}\n".encode())
        digests[layer].update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return tuple(digest.hexdigest() for digest in digests)
