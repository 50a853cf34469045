"""Helpers to run the training loop on a small random encoder, and to compare what it left."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaptershare_cli.data.batches import TaskParts
from adaptershare_cli.errors import Interrupted
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.checkpoint import Checkpoint
from adaptershare_cli.training.loop import Hooks, Trainer
from tests.core import INFOS, build_method

TASKS = tuple(INFOS)
SETTINGS = TrainingSettings(
    max_steps=18, per_device_train_batch_size=4, learning_rate=1e-2, weight_decay=0.1, encoder_dropout=True
)
# Splits at updates 4 and 12, whatever the gradients say.
SPLITTING = {"guard": "none", "max_interference": -1.0, "first_check": 4, "check_every": 8}


@dataclass
class Run:
    """What a run left: its method, weights, records, and clones of its checkpoints by the run's update."""

    method: Any
    tensors: dict[str, torch.Tensor]
    records: dict[str, list[dict[str, Any]]]
    checkpoints: dict[int, Checkpoint]


def cloned(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint as it would come back from disk: its values are the loop's own, which go on changing."""
    return Checkpoint(
        checkpoint.phase,
        checkpoint.step,
        {name: tensor.clone() for name, tensor in checkpoint.tensors.items()},
        json.loads(json.dumps(checkpoint.meta)),
        copy.deepcopy(checkpoint.records),
    )


def train(
    folder: Path,
    name: str,
    training: TrainingSettings = SETTINGS,
    checkpoint_steps: int = 500,
    resume: Checkpoint | None = None,
    plan: SharingPlan | None = None,
    parts: dict[str, TaskParts] | None = None,
    hooks: Hooks | None = None,
    plan_history: tuple[tuple[int, SharingPlan], ...] = (),
    **options: object,
) -> Run:
    """Train from the start or from `resume`."""
    method, parts = build_method(folder, name, parts, training, plan_history=plan_history, **options)
    if plan is not None:
        method.model.bank.set_plan(plan)
    hooks = hooks or Hooks()
    checkpoints: dict[int, Checkpoint] = {}
    hooks.save = lambda checkpoint: checkpoints.update({checkpoint.updates: cloned(checkpoint)})
    try:
        Trainer(method, parts, training, "fp32", checkpoint_steps, hooks).run(resume)
    except Interrupted:
        pass
    tensors = {key: tensor.clone() for key, tensor in method.state()[0].items()}
    return Run(method, tensors, plain(method.context.records), checkpoints)


def plain(records: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Records whose arrays are lists, so that == compares them bit for bit."""
    return {
        name: [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()} for row in rows]
        for name, rows in records.items()
    }


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The same names and the same bits."""
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
