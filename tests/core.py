"""Helpers to build the learning core on a small random encoder, without a workspace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from adaptershare_cli.data.batches import Rows, TaskParts
from adaptershare_cli.data.encoding import load_tokenizer
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.methods.base import MethodContext, StartWeights, TaskData, Updates
from adaptershare_cli.model.adapters import adapter_kind, adapter_kinds, training_settings
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.inputs import tokenizer_call
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.history import PlanHistory
from adaptershare_cli.sharing.interference import Interference, RowIndex, interference
from adaptershare_cli.sharing.plan import SharingPlan

INFOS = {
    "first": TaskInfo("first", "classification", ("no", "yes"), None, ("accuracy",)),
    "second": TaskInfo("second", "classification", ("a", "b", "c"), None, ("accuracy", "macro_f1")),
    "score": TaskInfo("score", "regression", (), (0.0, 5.0), ("pearson",)),
    "first-2": TaskInfo("first-2", "classification", ("no", "yes"), None, ("matthews",)),
}
WORD_INFOS = {"tags": TaskInfo("tags", "tagging", ("B-x", "I-x", "O"), None, ("span_f1", "accuracy"))}
ADAPTERS = tuple(adapter_kinds())
MIXED = (*INFOS, *WORD_INFOS)  # tasks of every kind


def info_of(name: str) -> TaskInfo:
    """The task of that name."""
    return INFOS.get(name) or WORD_INFOS[name]


def outputs_of(info: TaskInfo) -> int:
    """Width of the task's head."""
    return KINDS[info.kind].outputs(info)


def adapter_training(adapter: str, **settings: Any) -> TrainingSettings:
    """Settings with narrow adapters of a kind, at more than one place of a layer where its options have a say."""
    small = {"reduction_factor": 4, "lora_r": 4, "lora_alpha": 6, "lora_target": "all"}
    own = {name: small[name] for name in adapter_kind(adapter).own_options}
    return training_settings({"adapter_config": adapter, "max_steps": 5, **own, **settings})


def random_rows(info: TaskInfo, count: int, seed: int, segments: bool = True) -> Rows:
    """Rows of random tokens; the label depends on them, so that there is something to learn."""
    random = np.random.default_rng(seed)
    ids = [random.integers(4, 40, random.integers(4, 18)).tolist() for _ in range(count)]
    sums = [sum(row) for row in ids]
    outputs = outputs_of(info)
    labels = [s % outputs for s in sums] if info.labels else [5.0 * (s % 50) / 49 for s in sums]
    columns = {
        "row": list(range(count)),
        "content": [f"{info.name}-{seed}-{number}" for number in range(count)],
        "input_ids": ids,
        "token_type_ids": [[0] * len(row) if segments else None for row in ids],
        "length": [len(row) for row in ids],
        "truncated": [False] * count,
        "label": labels,
    }
    if info.kind == "tagging":  # words of one to three tokens between two special ones
        starts = [np.cumsum([1, *random.integers(1, 4, 18)]).astype(int) for _ in ids]
        starts = [found[found < len(row) - 1].tolist() for found, row in zip(starts, ids, strict=True)]
        columns |= {
            "stratum": [int(number % 3 > 0) for number in range(count)],
            "first_word": [0] * count,
            "words": [[f"w{row[start]}" for start in found] for found, row in zip(starts, ids, strict=True)],
            "starts": starts,
            "label": [[row[start] % outputs for start in found] for found, row in zip(starts, ids, strict=True)],
        }
    return Rows(pa.table(columns, schema=KINDS[info.kind].prepared_schema()), info)


def random_parts(names: tuple[str, ...] = tuple(INFOS), rows: int = 40, segments: bool = True) -> dict[str, TaskParts]:
    """Parts of random rows for the named tasks."""
    return {
        name: TaskParts(
            random_rows(info_of(name), rows, 1, segments),
            random_rows(info_of(name), 11, 2, segments),
            random_rows(info_of(name), 12, 3, segments),
            {"dev": random_rows(info_of(name), 15, 4, segments)},
        )
        for name in names
    }


def build_method(
    folder: Path,
    method: str = "shared",
    parts: dict[str, TaskParts] | None = None,
    training: TrainingSettings | None = None,
    double: bool = False,
    seed: int = 0,
    plan_history: tuple[tuple[int, SharingPlan], ...] = (),
    task_steps: dict[str, int] | None = None,
    weights: StartWeights | None = None,
    start: Any = None,
    **options: object,
) -> tuple[Any, dict[str, TaskParts]]:
    """A method on the encoder in `folder`; `double` turns the whole model to float64.

    `task_steps`, `weights` and `start` are those of its context, `options` those of its settings.
    """
    parts = parts if parts is not None else random_parts()
    training = training or TrainingSettings(max_steps=20, per_device_train_batch_size=4, learning_rate=1e-2)
    context = MethodContext(
        encoder=load_encoder(locate_encoder(str(folder)), torch.device("cpu")),
        data=TaskData(
            infos={name: info_of(name) for name in parts},
            heldout={name: part.heldout for name, part in parts.items()},
            pad_token=0,
            select={name: part.select for name, part in parts.items()},
            sizes={name: len(part.train) for name, part in parts.items()},
        ),
        training=training,
        settings=method_settings(method, options),
        updates=Updates(training.max_steps or 20, task_steps or {}),
        seed=seed,
        weights=weights or StartWeights(),
        start=PlanHistory(plan_history) if plan_history else start,
    )
    built = METHODS[method].build()(context)
    if double:
        built.model.encoder.double()
        for head in built.model.heads.values():
            head.double()
    return built, parts


def learn_tokenizer(method: Any, folder: Path) -> None:
    """Let the folders that the method exports say of the encoder's tokenizer what a run's do."""
    tokenizer = load_tokenizer(folder, "classification")
    method.context.tokenizer_call = tokenizer_call(method.context.encoder, tokenizer)


def random_sources(
    folder: Path,
    names: tuple[str, ...],
    training: TrainingSettings | None = None,
    shared: tuple[tuple[int, str, str], ...] = (),
) -> dict[str, dict[str, torch.Tensor]]:
    """Adapters of random values by name; for each (layer, first, second) of `shared` the second has the first's."""
    training = training or TrainingSettings(max_steps=20)
    plan = SharingPlan.private(names, 2)
    encoder = load_encoder(locate_encoder(str(folder)), torch.device("cpu"))
    bank = AdapterBank(encoder, plan, training, 0)
    scramble(bank.parameters(), 7)
    found = {name: {n: t.detach().clone() for n, t in bank.named_parameters(name)} for name in names}
    for layer, first, second in shared:
        found[second] |= {n: t for n, t in found[first].items() if n.startswith(f"{layer}.")}
    return found


@torch.no_grad()
def scramble(tensors: Iterable[torch.Tensor], seed: int = 0) -> None:
    """Give every tensor its own random values."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors:
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))


def relate(gradients: torch.Tensor) -> Interference:
    """`interference` of gradients (T, 2, P): each half of a task as one row."""
    count = len(gradients)
    rows = gradients.double().flatten(0, 1)
    index = RowIndex(np.repeat(np.arange(count), 2), np.tile([0, 1], count), count)
    return interference((rows @ rows.T).numpy(), index)


@dataclass
class PlanOnly:
    """What `Differentiate` needs of a method, without an encoder: an adapter has 10 parameters, a head none."""

    plan: SharingPlan
    checks: int = 1
    fusion: Any = None

    def __post_init__(self) -> None:
        tensor = torch.zeros(10)
        self.model = SimpleNamespace(bank=SimpleNamespace(named_parameters=lambda task, layer: [("down", tensor)]))

    def names(self) -> list[torch.Tensor]:
        return [torch.zeros(10) for groups in self.plan.layers for _ in groups]

    def check_count(self) -> int:
        return self.checks

    def split(self, layer: int, kept: list[str], moved: list[str], optimizer: Any) -> None:
        self.plan = self.plan.split(layer, kept, moved)
