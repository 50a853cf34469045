"""Sparse Sharing (AAAI 2020): one network, in which pruning finds a subnet for each task; the subnets train together.

    theta_0                             one common start, perhaps after a warm-up in which all tasks share everything
    M_t,0 = 1                           for each task t alone, rounds k = 0 .. R:
    train theta_0 * M_t,k on t          keep the best step on select rows
    M_t,k+1                             drop the smallest of its surviving weights (`sharing.masks.prune`)
    M_t = the best of M_t,1 .. M_t,R    by the score on select rows; of equal ones the sparser
    theta = theta_0                     then all tasks: a batch of t runs with theta * M_t and moves M_t alone

Rewinding goes back to theta_0 in everything, heads and biases too. Differences from the original: the best step of
joint training is chosen (if at all) on select rows, not on a scored split; of a leaky update's side effects other
tasks' heads are spared; the optimizer is AdamW, and a linear head on a frozen (or, with --prune encoder, the pruned)
transformer takes the place of its BiLSTM.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.sparse_sharing.settings import SparseSharingSettings
from adaptershare_cli.methods.sparse_sharing.start import SearchedMasks
from adaptershare_cli.methods.sparse_sharing.updates import PRUNING, sparse_updates
from adaptershare_cli.model.export import export_task
from adaptershare_cli.model.masked import make_masked
from adaptershare_cli.sharing import masks as m
from adaptershare_cli.training.checkpoint import with_prefix, without_prefix
from adaptershare_cli.training.optimizer import Optimizer
from adaptershare_cli.training.protocol import Phase


def build(context: MethodContext) -> SparseSharing:
    """Warm-up, rounds of pruning for each task, joint training of the subnets."""
    return SparseSharing(context)


class SparseSharing:
    """One base network with a mask a task; `start` is theta_0, `chosen` the best masks of each task so far."""

    plan = None  # who shares what is a matter of single weights

    def __init__(self, context: MethodContext) -> None:
        assert isinstance(context.settings, SparseSharingSettings)
        self.context, self.settings = context, context.settings
        training = context.training
        if self.settings.updates == "strict" and training.optim != "adamw_torch":
            raise UserError(
                f"--updates strict counts the updates of every weight, which --optim {training.optim} cannot",
                fix="Use AdamW, or --updates leaky.",
            )
        self.model = make_masked(context.encoder, context.data.infos, self.settings.prune, training, context.seed)
        assert context.start is None or isinstance(context.start, SearchedMasks)
        self.searched: SearchedMasks | None = context.start
        search = self.searched.settings if self.searched else None
        self.updates = sparse_updates(self.settings, training, context.data.sizes, search)
        self.start = self._copy()
        self.chosen: dict[str, m.Masks] = self._baseline()
        context.records.setdefault("pruning", [])

    def _baseline(self) -> dict[str, m.Masks]:
        """The masks of --masks given or random, by task; none for other masks. Raises UserError if they do not fit."""
        ones = self.model.all_ones()
        if self.searched is None:
            return {}
        taken = {task: dict(self.searched.masks[task]) for task in self.context.data.infos}
        for task, masks in taken.items():
            if {name: mask.shape for name, mask in masks.items()} != {name: one.shape for name, one in ones.items()}:
                raise UserError(
                    f"The masks of task {task} are of other tensors than those that are pruned here",
                    where="--mask-run",
                    fix="Give --prune, --adapter-config, --reduction-factor and --model as that run had them.",
                )
        if self.settings.masks == "given":
            return taken
        return {task: self._random(task, masks) for task, masks in taken.items()}

    def _random(self, task: str, masks: m.Masks) -> m.Masks:
        """As many weights of every tensor; whole neurons where the masks are of whole neurons."""
        sites, seed = self.model.base.bottlenecks, self.context.seed
        if sites:
            neurons = m.neurons_of(masks, sites)
            if all(torch.equal(mask, masks[name]) for name, mask in m.neuron_masks(neurons, masks, sites).items()):
                return m.neuron_masks(m.random_masks(neurons, seed, task), masks, sites)
        return m.random_masks(masks, seed, task)

    # ------------------------------------------------------------------------------------------------------- phases

    def phases(self) -> Iterator[Phase]:
        """The warm-up, one for each task and training between rounds, and `main`."""
        tasks = tuple(self.context.data.infos)
        if self.updates.warmup:
            yield Phase("warm-up", tasks, self.updates.warmup, self.model.parameters, end=self._start_here)
        for task in tasks:
            for number in range(self.settings.trainings):
                yield Phase(
                    f"{PRUNING}{task}-{number}", (task,), self.updates.alone[task], partial(self._trained, task),
                    begin=self._rewind, end=partial(self._end_round, task, number), keep_best=True,
                )  # fmt: skip
        yield Phase(
            "main", tasks, self.updates.joint, self.model.parameters, subnet=self._subnet, begin=self._begin_joint
        )

    def _trained(self, task: str) -> list[nn.Parameter]:
        others = {tensor for name, head in self.model.heads.items() if name != task for tensor in head.parameters()}
        return [tensor for tensor in self.model.parameters() if tensor not in others]

    def _subnet(self, task: str) -> dict[nn.Parameter, torch.Tensor]:
        """What an update on `task` may move of the base matrices; with leaky updates all of it."""
        if self.settings.updates == "leaky":
            return {}
        masks = self.model.masks[task]
        return {tensor: masks[name] for name, tensor in self.model.base.matrices.items()}

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for tensor, name in self.model.names().items()}

    def _start_here(self, step: int) -> None:
        """The weights after the warm-up are the common start."""
        self.start = self._copy()

    def _rewind(self) -> None:
        self.model.load_tensors(self.start)

    def _begin_joint(self) -> None:
        """Back to the common start, each task with the masks that were chosen for it."""
        if self.settings.masks == "given" and self.searched and self.searched.start != start_digest(self.start):
            raise UserError(
                "The masks were pruned from other weights than those that this run starts with",
                where="--mask-run",
                fix="Give --seed, --multitask-warmup-epochs and the training options of the warm-up as that run had "
                "them; --masks random needs no common start.",
            )
        self._rewind()
        self.model.keep(self.chosen)

    # ------------------------------------------------------------------------------------------------------- pruning

    def _end_round(self, task: str, number: int, step: int) -> None:
        """Score the mask that the task was trained with, and prune by what that training left."""
        masks = self.model.masks[task]
        metric, value = self._select_score(task, f"{PRUNING}{task}-{number}", step)
        row = self._record(task, number, masks, step=step, metric=metric, value=value)
        if self.settings.mask_round is None and number:
            # An undefined metric counts as 0, as wherever steps are chosen.
            rows = [other for other in self.context.records["pruning"] if other["task"] == task and other["round"]]
            if (value or 0.0) >= max(other["value"] or 0.0 for other in rows):
                self._choose(task, masks, row)
        if number < self.settings.rounds:
            share = m.drop_share(self.settings.rounds, self.settings.final_rate)
            pruned = m.prune(self._scores(self._matrices()), self._units(masks), share, self.settings.pruning_scope)
            self.model.keep({task: self._whole(pruned)})
        if number + 1 == self.settings.mask_round:
            masks = self.model.masks[task]
            self._choose(task, masks, self._record(task, number + 1, masks))

    def _select_score(self, task: str, phase: str, step: int) -> tuple[str, float | None]:
        """The main metric's name and value on the task's select rows at a step of a phase."""
        return next(
            (row["metric"], row["value"])
            for row in self.context.records["metrics"]
            if (row["task"], row["phase"], row["step"]) == (task, phase, step) and row["main"]
        )

    def _record(self, task: str, number: int, masks: m.Masks, **scored: Any) -> dict[str, Any]:
        weights, kept = self.model.weights_in_base, m.kept_count(masks)
        alone = m.largest(self._scores(self._matrices(self.start)), self._units(masks), self.settings.pruning_scope)
        row = {
            "task": task, "round": number, "weights": weights, "kept": kept, "rate": kept / weights, **scored,
            "start_overlap": m.ratio(masks, self._whole(alone)), "chosen": False,
        }  # fmt: skip
        self.context.records["pruning"].append(row)
        return row

    def _choose(self, task: str, masks: m.Masks, row: dict[str, Any]) -> None:
        for other in self.context.records["pruning"]:
            if other["task"] == task:
                other["chosen"] = other is row
        self.chosen[task] = masks

    def _matrices(self, tensors: Mapping[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """The base matrices as they are, or as they are in `tensors` (named as a state's)."""
        names = self.model.names()
        return {
            name: tensor.detach() if tensors is None else tensors[names[tensor]]
            for name, tensor in self.model.base.matrices.items()
        }

    def _scores(self, matrices: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.settings.mask_unit == "neuron":
            return m.neuron_scores(matrices, self.model.base.bottlenecks)
        return {name: matrix.abs() for name, matrix in matrices.items()}

    def _units(self, masks: m.Masks) -> m.Masks:
        """Masks of what is pruned as one: weights, or neurons."""
        return m.neurons_of(masks, self.model.base.bottlenecks) if self.settings.mask_unit == "neuron" else masks

    def _whole(self, units: m.Masks) -> m.Masks:
        """The inverse of `_units`."""
        if self.settings.mask_unit == "weight":
            return units
        return m.neuron_masks(units, self.model.base.matrices, self.model.base.bottlenecks)

    # ----------------------------------------------------------------------------------------- what the loop asks for

    def train_mode(self) -> None:
        """Heads' dropout on; the encoder's only if asked for."""
        self.model.train(self.context.training.encoder_dropout)

    def eval_mode(self) -> None:
        """No dropout."""
        self.model.eval()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch under its task's subnet."""
        return self.model.loss(batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Head outputs under the batch's task's subnet."""
        return self.model.logits(batch)

    def after_update(self, phase: Phase, step: int, optimizer: Optimizer) -> None:
        """Nothing is observed: tasks differ in which weights they use, and the masks say how."""

    def names(self) -> dict[nn.Parameter, str]:
        """`encoder/…` or `adapter/…`, and `head/task/…`."""
        return self.model.names()

    def serving(self, task: str) -> dict[str, torch.Tensor]:
        """The weights of the task's subnet, its mask, what is dense, and its head."""
        return self.model.serving(task)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights, the common start, and packed masks: those in use and the best of each task so far."""
        tensors = self.model.names()
        saved = {name: tensor.detach() for tensor, name in tensors.items()}
        saved |= with_prefix("start", self.start)
        for kind, found in (("mask", self.model.masks), ("chosen", self.chosen)):
            for task, masks in found.items():
                packed = {name: torch.from_numpy(m.pack(mask)) for name, mask in masks.items()}
                saved |= with_prefix(f"{kind}/{task}", packed)
        return saved, {"chosen": list(self.chosen)}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """The inverse of `state`; weights are copied in place."""
        device = self.model.device
        self.model.load_tensors(tensors)
        self.start = {name: tensor.to(device) for name, tensor in without_prefix("start", tensors).items()}
        self.model.keep({task: self._unpacked(without_prefix(f"mask/{task}", tensors)) for task in self.model.masks})
        self.chosen = {task: self._unpacked(without_prefix(f"chosen/{task}", tensors)) for task in meta["chosen"]}

    def _unpacked(self, packed: Mapping[str, torch.Tensor]) -> m.Masks:
        matrices = self.model.base.matrices
        return {n: m.unpack(packed[n].cpu().numpy(), matrix.shape).to(matrix.device) for n, matrix in matrices.items()}

    def export(self, task: str, folder: Path) -> None:
        """Write the task's adapter (or its encoder matrices), with its mask multiplied in, and its head."""
        self.model.eval()
        with self.model.only_subnet(task) as matrices:
            of_encoder = matrices if self.settings.prune == "encoder" else None
            export_task(self.model, task, folder, self.context.tokenizer_call, of_encoder)

    def finish(self, folder: Path) -> None:
        """Record every task's masks, packed, with their rates."""
        start, base = start_digest(self.start), self.model.base
        self.context.records["masks"] = [
            {
                "task": task, "layer": base.layers[name], "tensor": name, "shape": list(mask.shape),
                "weights": mask.numel(), "kept": int(mask.sum()), "rate": float(mask.sum() / mask.numel()),
                "bits": m.pack(mask).tobytes(), "start": start,
            }
            for task, masks in self.model.masks.items()
            for name, mask in masks.items()
        ]  # fmt: skip


def start_digest(start: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the tensors of a common start, and of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(start.items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
