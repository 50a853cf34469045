"""Runs that differ in nothing but their seeds (and where they were computed): what studies start from.

Tasks, data, encoder and settings are what the runs recorded, so whatever a study computes or trains is comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adaptershare_cli.data.batches import TaskParts
from adaptershare_cli.errors import UserError
from adaptershare_cli.model.adapters import training_settings
from adaptershare_cli.runs.choose import kinds_of
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.encoders import recorded_encoder
from adaptershare_cli.runs.relating import loaded_encoder, private_model
from adaptershare_cli.runs.rows import read_parts, scored_contents
from adaptershare_cli.runs.runtime import Runtime
from adaptershare_cli.settings import RuntimeSettings
from adaptershare_cli.store.artefact import Artefact, verify
from adaptershare_cli.store.records import PreproRecord, RunRecord
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from adaptershare_cli.model.heads import MultiTaskModel


@dataclass(frozen=True)
class Replicates:
    """Runs that differ in nothing but their seeds, and how to train and compute as they did.

    `runs` are by seed; `context` has their training and runtime settings, and what --model named ("": nothing, so it is
    the encoder that they recorded).
    """

    context: StageContext
    runs: dict[int, Artefact]

    @property
    def first(self) -> Artefact:
        """Any of the runs, for what they have in common."""
        return next(iter(self.runs.values()))

    @cached_property
    def record(self) -> RunRecord:
        """What the first run says of itself."""
        return RunRecord.of(self.first)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The runs' tasks, in their order."""
        return tuple(self.record.tasks)

    @property
    def labels(self) -> list[str]:
        """The runs' names, for the records of what is made from them."""
        return [run.label for run in self.runs.values()]

    @cached_property
    def prepared(self) -> dict[str, Artefact]:
        """The prepro artefacts that the runs were trained on, verified."""
        wanted = {task: self.record.prepro[task] for task in self.tasks}
        return find_prepared(self.context.workspace, wanted, self.first.label)

    @property
    def prepared_contents(self) -> dict[str, str]:
        """The content of each task's prepro artefact."""
        return {task: artefact.content for task, artefact in self.prepared.items()}

    @cached_property
    def prepared_records(self) -> dict[str, PreproRecord]:
        """What the prepro artefacts say of themselves."""
        return {task: PreproRecord.of(artefact) for task, artefact in self.prepared.items()}

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
        return self.record.scored_rows or {  # runs of earlier versions did not record it
            task: sum(record.counts[f"{split}_rows"] for split in record.scored)
            for task, record in self.prepared_records.items()
        }

    @property
    def select(self) -> dict[str, int]:
        """Select rows of each task."""
        return {task: record.counts["select_rows"] for task, record in self.prepared_records.items()}

    @cached_property
    def heldout(self) -> dict[str, int]:
        """Held-out rows of each task at the runs' checks."""
        return self.record.heldout_rows or {
            task: record.counts["heldout_rows"] for task, record in self.prepared_records.items()
        }

    @property
    def pad_token(self) -> int:
        """The tokenizer's padding token."""
        return next(iter(self.prepared_records.values())).pad_token

    @property
    def batch(self) -> int:
        """Rows of a training batch."""
        return self.context.training.per_device_train_batch_size

    @property
    def steps_each(self) -> int:
        """The runs' updates divided by their tasks."""
        return max(1, round(self.record.steps / len(self.tasks)))

    @cached_property
    def checked_context(self) -> StageContext:
        """The context, with the encoder that the runs used (`recorded_encoder`)."""
        context = self.context
        return replace(
            context,
            located=recorded_encoder(list(self.runs.values()), context.model),
            model=context.model or self.record.encoder_name,
        )

    def model(self, seed: int, trained: Mapping[str, Artefact]) -> MultiTaskModel:
        """All tasks on one encoder, each with its own adapter and head: those of `trained`, or fresh ones."""
        return private_model(self.checked_context, list(self.prepared.values()), seed, trained)

    def encoder(self) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        """A function from model inputs to pooled states (B, H) of the encoder as it was before any training."""
        from adaptershare_cli.model.encoder import pool
        from adaptershare_cli.model.inputs import run_encoder

        encoder = loaded_encoder(self.checked_context)

        def encode(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            hidden = run_encoder(encoder, inputs).last_hidden_state
            return pool(hidden, inputs["attention_mask"].to(hidden.device), self.context.training.pooling)

        return encode


def find_prepared(workspace: Workspace, wanted: Mapping[str, str], label: str) -> dict[str, Artefact]:
    """The prepro artefacts with the `wanted` content of each task, verified; `label` was made from them."""
    prepared: dict[str, Artefact] = {}
    for artefact in workspace.artefacts("prepro"):
        if wanted.get(artefact.name) == artefact.content:
            verify(artefact)
            prepared[artefact.name] = artefact
    if missing := [task for task in wanted if task not in prepared]:
        raise UserError(
            f"The prepared rows that {label} was made from are gone: {', '.join(missing)}",
            where=str(workspace.root / "prepro"),
            fix="Run the train-share command of its tasks again; it makes them.",
        )
    return {task: prepared[task] for task in wanted}


def replicates_of(
    context: StageContext, runs: Sequence[Artefact], model: str | None, runtime: Mapping[str, Any]
) -> list[Replicates]:
    """The runs in groups that differ in nothing but their seeds, so that unlike runs are never averaged.

    Runs of several devices or numbers of threads are of one group, unless a seed stands there twice: then they are kept
    apart, and that is said. `runtime` are the runtime settings that the user chose; the rest are those of a group's
    first seed. Raises UserError where two runs of a group have the same seed (they started from different plans).
    """
    kinds = kinds_of(runs)
    if apart := {label: kind.apart for label, kind in kinds.items() if kind.apart}:
        made = (f"{label} ({', '.join(f'{n} {v}' for n, v in values.items())})" for label, values in apart.items())
        context.reporter.line(f"kept apart, as runs of one seed differ in nothing else: {', '.join(made)}")
    groups: dict[str, dict[int, Artefact]] = {}
    for run in runs:
        by_seed, seed = groups.setdefault(kinds[run.label].key, {}), RunRecord.of(run).seed
        if seed in by_seed:
            raise UserError(
                f"Two of the chosen runs are of one kind and of seed {seed}",
                where=f"{by_seed[seed].path.name}, {run.path.name}",
                fix="Name one of them with --run.",
            )
        by_seed[seed] = run
    ordered = [dict(sorted(by_seed.items())) for by_seed in groups.values()]
    return [
        Replicates(_as_recorded(context, next(iter(by_seed.values())), model, runtime), by_seed) for by_seed in ordered
    ]


def _as_recorded(context: StageContext, run: Artefact, model: str | None, runtime: Mapping[str, Any]) -> StageContext:
    """The context with the settings that the run recorded, but for the model and runtime settings that are named."""
    request, record = run.meta["request"], RunRecord.of(run)
    recorded = Runtime.of(request).to_json()
    return replace(
        context,
        model=model or "",
        training=training_settings(record.training),
        runtime=RuntimeSettings(**{**recorded, **runtime}),
    )
