"""What `correlate` starts from: the tasks, the data, the encoder and the settings that runs recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.adapters import AdapterBank
from adaptershare_cli.model.encoder import load_encoder, pool
from adaptershare_cli.model.given import load_task
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.runs.choose import settings_key
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.rows import read_parts, scored_contents, task_info
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.settings import RuntimeSettings, TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.store.artefact import verify
from adaptershare_cli.store.workspace import Artefact, Workspace
from adaptershare_cli.training.loop import TaskParts


@dataclass(frozen=True)
class Frame:
    """Runs that are equal but for their seeds, and how to train and compute as they did.

    `runs` by seed; `context` has the training and runtime settings of the runs, and the encoder that they name or
    --model.
    """

    context: StageContext
    runs: dict[int, Artefact]

    @property
    def first(self) -> Artefact:
        """Any of the runs, for what they have in common."""
        return next(iter(self.runs.values()))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The runs' tasks, in their order."""
        return tuple(self.first.info["tasks"])

    @cached_property
    def prepared(self) -> dict[str, Artefact]:
        """The prepro artefacts that the runs were trained on, verified."""
        wanted = {task: self.first.info["prepro"][task] for task in self.tasks}
        return find_prepared(self.context.workspace, wanted, self.first.label)

    @cached_property
    def scored_contents(self) -> frozenset[str]:
        """Contents of the rows that any of the tasks is scored on: nothing that is compared may learn from them."""
        return scored_contents(self.context.training.leak_scope, self.prepared.values())

    @cached_property
    def parts(self) -> dict[str, TaskParts]:
        """The rows of all tasks, without train rows that any of them is scored on."""
        return read_parts(self.context.training.leak_scope, list(self.prepared.values()))[0]

    @cached_property
    def scored(self) -> dict[str, int]:
        """How many rows each task is scored on."""
        recorded = self.first.info.get("scored_rows")  # runs of earlier versions did not record it
        return recorded or {
            task: sum(artefact.info["counts"][f"{split}_rows"] for split in artefact.info["scored"])
            for task, artefact in self.prepared.items()
        }

    @property
    def select(self) -> dict[str, int]:
        """Select rows of each task."""
        return {task: artefact.info["counts"]["select_rows"] for task, artefact in self.prepared.items()}

    @cached_property
    def heldout(self) -> dict[str, int]:
        """Held-out rows of each task at the runs' checks."""
        recorded = self.first.info.get("heldout_rows")
        return recorded or {task: a.info["counts"]["heldout_rows"] for task, a in self.prepared.items()}

    @property
    def pad_token(self) -> int:
        """The tokenizer's padding token."""
        return next(iter(self.prepared.values())).info["pad_token"]

    @property
    def batch(self) -> int:
        """Rows of a training batch."""
        return self.context.training.per_device_train_batch_size

    @property
    def steps_each(self) -> int:
        """The runs' updates divided by their tasks."""
        return max(1, round(self.first.info["steps"] / len(self.tasks)))

    @cached_property
    def checked_context(self) -> StageContext:
        """The context, once it is sure that --model names the encoder that the runs used."""
        recorded = self.first.info["encoder"]
        if self.context.encoder.weights != recorded["weights"]:
            raise UserError(
                f"--model {self.context.model} is not the encoder that {self.first.label} was trained on",
                where=f"it was trained on {recorded['name']}",
                fix="Name that encoder with --model.",
            )
        return self.context

    def model(self, seed: int, runs: dict[str, Artefact] | None = None) -> MultiTaskModel:
        """All tasks on one encoder, each with its own adapter and head: those of the given runs, or fresh ones."""
        device, _, threads = resolve_runtime(self.context.runtime)
        torch.set_num_threads(threads)
        training = self.context.training
        encoder = load_encoder(self.checked_context.encoder, device)
        plan = SharingPlan.private(self.tasks, encoder.config.num_hidden_layers)
        bank = AdapterBank(encoder, plan, training.adapter_config, training.reduction_factor, seed)
        infos = [task_info(artefact) for artefact in self.prepared.values()]
        model = MultiTaskModel(encoder, bank, infos, training.pooling, training.head_dropout, seed)
        for task, run in (runs or {}).items():
            load_task(model, task, run.path / "tasks" / task)
        model.eval()
        return model

    def encoder(self) -> Any:
        """A function from model inputs to pooled states (B, H) of the plain encoder."""
        device, _, threads = resolve_runtime(self.context.runtime)
        torch.set_num_threads(threads)
        encoder = load_encoder(self.checked_context.encoder, device)

        def encode(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            hidden = encoder(**inputs).last_hidden_state
            return pool(hidden, inputs["attention_mask"], self.context.training.pooling)

        return encode


def find_prepared(workspace: Workspace, wanted: Mapping[str, str], label: str) -> dict[str, Artefact]:
    """The prepro artefacts with the `wanted` content of each task, verified; `label` was made from them."""
    found: dict[str, Artefact] = {}
    for artefact in workspace.artefacts("prepro"):
        if wanted.get(artefact.name) == artefact.content:
            verify(artefact)
            found[artefact.name] = artefact
    if missing := [task for task in wanted if task not in found]:
        raise UserError(
            f"The prepared rows that {label} was made from are gone: {', '.join(missing)}",
            where=str(workspace.root / "prepro"),
            fix="Run the train-share command of its tasks again; it makes them.",
        )
    return {task: found[task] for task in wanted}


def frames_of(
    context: StageContext, runs: Sequence[Artefact], model: str | None, runtime: Mapping[str, Any]
) -> list[Frame]:
    """One frame for all seeds of each variant among the runs, so that unlike runs are never averaged.

    `runtime` are the runtime settings that the user gave; the rest are those of the runs. Raises UserError where two
    runs of a variant have the same seed (they started from different plans).
    """
    variants: dict[str, dict[int, Artefact]] = {}
    for run in runs:
        same = variants.setdefault(settings_key(run), {})
        if run.info["seed"] in same:
            raise UserError(
                f"Two of the chosen runs are of one kind and of seed {run.info['seed']}",
                where=f"{same[run.info['seed']].path.name}, {run.path.name}",
                fix="Name one of them with --run.",
            )
        same[run.info["seed"]] = run
    return [
        Frame(_as_recorded(context, next(iter(same.values())), model, runtime), dict(sorted(same.items())))
        for same in variants.values()
    ]


def _as_recorded(context: StageContext, run: Artefact, model: str | None, runtime: Mapping[str, Any]) -> StageContext:
    request = run.meta["request"]
    recorded = {name: request[name] for name in ("device", "precision", "threads")}
    return replace(
        context,
        model=model or run.info["encoder"]["name"],
        training=TrainingSettings(**run.info["training"]),
        runtime=RuntimeSettings(**{**recorded, **runtime}),
    )
