"""What measures are computed from, and how that is found.

A measure declares one need. A study asks the need to `find` that for a `Subject`, runs that are equal but for their
seeds, and gets a `Supply`: what was read, what of it decides the values (and so goes into the key), a function that
reads it for the measure, and one that tells what the trainings behind it cost. A new kind of need is a class here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.base import Cost
from adaptershare_cli.measures.trainings import Training

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from adaptershare_cli.data.batches import Rows
    from adaptershare_cli.kinds.base import TaskInfo
    from adaptershare_cli.model.heads import MultiTaskModel

Artefact = Any  # something published: needs pass it on, and only studies look into it
Trained = Mapping[Training, Artefact]


class Subject(Protocol):
    """Runs that are equal but for their seeds, with all that needs may ask of them. Studies implement it."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The runs' tasks, in their order."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the trainings that are made for a measure."""

    @property
    def runs(self) -> Mapping[int, Artefact]:
        """The runs by seed."""

    def table(self, artefact: Artefact, name: str) -> pd.DataFrame:
        """A table of an artefact by its name; an empty one where there is none."""

    def label(self, artefact: Artefact) -> str:
        """An artefact's name for users."""

    def examples(self, run: Artefact) -> int:
        """Rows of all tasks that a run was trained on."""

    @property
    def heldout(self) -> Mapping[str, int]:
        """How many held-out rows of each task the runs' checks looked at."""

    @property
    def heldout_rows(self) -> Mapping[str, Rows]:
        """Held-out rows of each task."""

    @property
    def infos(self) -> Mapping[str, TaskInfo]:
        """What each task is."""

    @property
    def train_rows(self) -> Mapping[str, Rows]:
        """Train rows of each task."""

    @property
    def pad_token(self) -> int:
        """The tokenizer's padding token."""

    def rows_key(self) -> dict[str, Any]:
        """What decides the train rows."""

    def encoder_key(self) -> dict[str, Any]:
        """What decides the encoder's outputs. Raises UserError where it is not the runs' encoder."""

    def encoder(self) -> Callable[[Mapping[str, Any]], torch.Tensor]:
        """A function from model inputs to pooled states (B, H) of the encoder as it was before any training."""

    def model(self, seed: int, trained: Mapping[str, Artefact]) -> MultiTaskModel:
        """All tasks on one encoder, each with its own adapter and head: those of `trained`, or fresh ones."""

    def train(self, trainings: Sequence[Training]) -> Trained:
        """The artefact of each training. Those that are missing are made."""

    def scores(self, trained: Trained) -> Mapping[Training, Mapping[str, float]]:
        """For each training the main score of each of its tasks."""

    def trainings_cost(self, trainings: Sequence[Training], scoring: bool) -> Cost:
        """Examples that the trainings process, with or without scoring what they learnt."""

    def truth(self, name: str, settings: Any) -> Artefact:
        """The correlation of the measured truth of that name, with what `settings` say of it; made if it is missing."""

    def recorded_cost(self, correlation: Artefact) -> Cost:
        """What the trainings behind a correlation cost, as it recorded it."""


@dataclass(frozen=True)
class Supply:
    """What a need found for one subject.

    `sources` are the artefacts that the measure is computed from, in an order that decides its key; `key` is what else
    decides its values. `read()` gives the first argument of the measure's function, `training_cost()` the examples that
    the trainings behind the sources processed.
    """

    sources: Sequence[Artefact] = ()
    key: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[], Any] = lambda: None
    training_cost: Callable[[], Cost] = Cost


class Need(ABC):
    """What a measure is computed from."""

    reads_runs: ClassVar[bool] = False  # it is a part of the runs themselves
    makes_trainings: ClassVar[bool] = False  # trainings may have to be made for it
    runs_encoder: ClassVar[bool] = False  # by a training, or directly
    takes_seeds: ClassVar[bool] = False  # there is one for each of the seeds that the user may choose
    sees_scored_splits: ClassVar[bool] = False  # so nothing may be decided by it

    @abstractmethod
    def find(self, subject: Subject, settings: Any) -> Supply:
        """Find it for a subject, and make what is missing; `settings` are the measure's."""


@dataclass(frozen=True)
class RunTables:
    """A table of each run, by seed, and how many held-out rows of each task the runs' checks looked at."""

    by_seed: Mapping[int, pd.DataFrame]
    heldout: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunTable(Need):
    """A table that runs publish (`schemas.RUN_TABLES`); measures get `RunTables`.

    `made_by_checks`: what it holds is the outcome of the runs' checks, so these count among its cost.
    """

    name: str
    made_by_checks: bool = False
    reads_runs: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The table of each run. Reading it raises UserError where a run has none, or an empty one."""
        runs = subject.runs
        return Supply(
            list(runs.values()),
            read=lambda: RunTables({seed: self._table(subject, run) for seed, run in runs.items()}, subject.heldout),
            training_cost=lambda: sum((self._cost(subject, run) for run in runs.values()), Cost()),
        )

    def _table(self, subject: Subject, run: Artefact) -> pd.DataFrame:
        from adaptershare_cli import schemas

        table = subject.table(run, self.name)
        if table.empty:
            words = schemas.RUN_TABLES[self.name]
            raise UserError(f"{subject.label(run)} has no {words.lacks}", where="--run", fix=words.advice)
        return table

    def _cost(self, subject: Subject, run: Artefact) -> Cost:
        passed = subject.examples(run)
        if self.made_by_checks:
            checks = subject.table(run, "interference")
            count = 0 if checks.empty else len(checks[["phase", "step"]].drop_duplicates())
            passed += count * sum(subject.heldout.values())
        return Cost(passed, passed)


@dataclass(frozen=True)
class TunedModels:
    """Models of single-task trainings, and the train rows of each task.

    `tuned(seed)` is the encoder with every task's adapter and head as the task's single-task training of that seed left
    them, under the private plan; `fresh(seed)` the same before training.
    """

    tuned: Callable[[int], MultiTaskModel]
    fresh: Callable[[int], MultiTaskModel]
    rows: Mapping[str, Rows]
    pad_token: int = 0


@dataclass(frozen=True)
class SingleTaskModels(Need):
    """Each task trained alone, `target_steps` updates, once for each seed; measures get `TunedModels`."""

    makes_trainings: ClassVar[bool] = True
    runs_encoder: ClassVar[bool] = True
    takes_seeds: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The trainings, made where they are missing."""
        wanted = [Training((task,), seed, settings.target_steps) for seed in subject.seeds for task in subject.tasks]
        trained = subject.train(wanted)

        def tuned(seed: int) -> MultiTaskModel:
            return subject.model(seed, {t.tasks[0]: run for t, run in trained.items() if t.seed == seed})

        return Supply(
            [trained[training] for training in wanted],
            subject.rows_key() | subject.encoder_key(),
            lambda: TunedModels(tuned, lambda seed: subject.model(seed, {}), subject.train_rows, subject.pad_token),
            lambda: subject.trainings_cost(wanted, scoring=False),
        )


@dataclass(frozen=True)
class SharedModels:
    """Models of runs in which all tasks share their adapters, and the train and held-out rows of each task.

    `model(seed)` is the encoder with the adapters and heads of the run of that seed, one of `seeds`.
    """

    model: Callable[[int], MultiTaskModel]
    seeds: Sequence[int]
    rows: Mapping[str, Rows]
    heldout: Mapping[str, Rows]
    pad_token: int = 0


@dataclass(frozen=True)
class JointModels(Need):
    """What the runs learnt, where all tasks share one adapter in every layer; measures get `SharedModels`."""

    reads_runs: ClassVar[bool] = True
    runs_encoder: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The runs. Raises UserError for one in which not all tasks shared one adapter a layer, all the time."""
        runs = subject.runs
        for run in runs.values():
            plan = subject.table(run, "sharing")
            if plan.empty or plan["group"].any():  # groups of a layer are numbered from 0
                raise UserError(
                    f"{subject.label(run)} has no adapter in every layer that all tasks share",
                    where="--run",
                    fix="Name a run of --method shared.",
                )

        def model(seed: int) -> MultiTaskModel:
            return subject.model(seed, dict.fromkeys(subject.tasks, runs[seed]))

        def training_cost() -> Cost:
            passed = sum(map(subject.examples, runs.values()))
            return Cost(passed, passed)

        def read() -> SharedModels:
            return SharedModels(model, list(runs), subject.train_rows, subject.heldout_rows, subject.pad_token)

        return Supply(
            list(runs.values()),
            subject.rows_key() | subject.encoder_key(),
            read,
            training_cost,
        )


@dataclass(frozen=True)
class Trainings(Need):
    """Trainings of which the scores alone count: such a measure is a truth.

    `plan(tasks, seeds, settings)` lists them, those that others start from first. Measures get for each training the
    main score of each of its tasks.
    """

    plan: Callable[[Sequence[str], Sequence[int], Any], list[Training]]
    makes_trainings: ClassVar[bool] = True
    runs_encoder: ClassVar[bool] = True
    takes_seeds: ClassVar[bool] = True
    sees_scored_splits: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The trainings, made where they are missing."""
        wanted = list(dict.fromkeys(self.plan(subject.tasks, subject.seeds, settings)))
        trained = subject.train(wanted)
        return Supply(
            [trained[training] for training in wanted],
            read=lambda: subject.scores(trained),
            training_cost=lambda: subject.trainings_cost(wanted, scoring=True),
        )


@dataclass(frozen=True)
class Truth(Need):
    """The measured truth that the setting `against` names; measures get its values, a row a seed and pair."""

    makes_trainings: ClassVar[bool] = True
    runs_encoder: ClassVar[bool] = True
    takes_seeds: ClassVar[bool] = True
    sees_scored_splits: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The truth's correlation, measured where it is missing."""
        truth = subject.truth(settings.against, settings)
        return Supply(
            [truth],
            read=lambda: _seed_values(subject.table(truth, "correlation")),
            training_cost=lambda: subject.recorded_cost(truth),
        )


def _seed_values(correlation: pd.DataFrame) -> pd.DataFrame:
    from adaptershare_cli import schemas

    return correlation[correlation["seed"].notna() & (correlation["layer"] == schemas.ALL_LAYERS)]


@dataclass(frozen=True)
class EncodedRows:
    """The train rows of each task, and a function from model inputs to pooled states (B, H) of the plain encoder."""

    encode: Callable[[Mapping[str, Any]], torch.Tensor]
    rows: Mapping[str, Rows]
    pad_token: int = 0


@dataclass(frozen=True)
class PlainEncoder(Need):
    """The encoder before any training, and train rows to look at; measures get `EncodedRows`."""

    runs_encoder: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The encoder that the runs used."""
        return Supply(
            key=subject.rows_key() | subject.encoder_key(),
            read=lambda: EncodedRows(subject.encoder(), subject.train_rows, subject.pad_token),
        )


@dataclass(frozen=True)
class RowCounts(Need):
    """How many train rows each task has; measures get these numbers by task."""

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The counts, without rows that any of the tasks is scored on."""
        return Supply(
            key=subject.rows_key(), read=lambda: {task: len(rows) for task, rows in subject.train_rows.items()}
        )


@dataclass(frozen=True)
class Tasks:
    """What each task is, and its train rows."""

    infos: Mapping[str, TaskInfo]
    rows: Mapping[str, Rows]


@dataclass(frozen=True)
class PreparedTasks(Need):
    """The tasks as they were prepared; measures get `Tasks`."""

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The tasks' definitions, which say more than rows do, and rows without any that a task is scored on."""
        infos = subject.infos
        labels = {task: [info.kind, len(info.labels)] for task, info in infos.items()}
        return Supply(key=subject.rows_key() | {"labels": labels}, read=lambda: Tasks(infos, subject.train_rows))


@dataclass(frozen=True)
class Nothing(Need):
    """Nothing but the names of the tasks, for each seed."""

    takes_seeds: ClassVar[bool] = True

    def find(self, subject: Subject, settings: Any) -> Supply:
        """The seeds decide the values."""
        return Supply(key={"seeds": list(subject.seeds)})
