"""What a run starts from besides its tasks' rows: the values, and how a method's own `start` module finds them.

A method with such a module declares it (`MethodSpec.start`). It has one function,

    begin(settings, ask) -> Begin

called before anything is made, so that a wrong option is told at once. The `Begin` that it returns is called once the
tasks' rows are prepared, with a seed, and gives the `Start` of that seed's run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.base import StartWeights
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.model.source import EncoderSource
from adaptershare_cli.settings import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PastRun(Protocol):
    """A run that was made before, as methods see it: what it recorded, and its tables and folders."""

    @property
    def label(self) -> str:
        """`stage/name-key`."""
        ...

    @property
    def name(self) -> str:
        """The name of its folder."""
        ...

    @property
    def stage(self) -> str:
        """`train-single` or `train-share`."""
        ...

    @property
    def content(self) -> str:
        """The fingerprint of what it holds."""
        ...

    @property
    def folder(self) -> Path:
        """Where it lies; `tasks/<task>/` in it holds each task's adapter and head."""
        ...

    @property
    def files(self) -> Collection[str]:
        """The files that it holds, by their path in the folder."""
        ...

    @property
    def request(self) -> Mapping[str, Any]:
        """All that decided its result."""
        ...

    @property
    def record(self) -> Any:
        """What it says of itself (`store.records.RunRecord`)."""
        ...

    @property
    def training_seconds(self) -> float:
        """How long its training took."""
        ...

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One of its tables, or some columns of it."""
        ...


@dataclass(frozen=True)
class Beginning:
    """What a method gets of a start: weights for adapters and heads, and values of its own (`MethodContext.start`)."""

    weights: StartWeights = field(default_factory=StartWeights)
    own: Any = None


@dataclass(frozen=True)
class Start:
    """What a run starts from besides its tasks' rows, as plain values.

    `request` joins the run's request (`origin` in it: contents that differ from seed to seed; no words that name runs),
    `runs` its inputs, `info` its record, `settings` those that are told in words. `examples` are rows of the run's
    tasks that were trained on before, `parameters` and `seconds` what that trained (`heads` of them in heads) and took,
    where it is a part of the method; `updates` those of each task, where they are not what the schedule gives.
    """

    request: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[PastRun, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    examples: Mapping[str, int] = field(default_factory=dict)
    parameters: int = 0
    heads: int = 0
    seconds: float = 0.0
    updates: Mapping[str, int] | None = None

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """Read what the run begins with; called when it is trained, with the loaded encoder."""
        return Beginning()


class Ask(Protocol):
    """What a method's `begin` may ask of the command that is to train."""

    @property
    def method(self) -> str:
        """The method that is to be trained."""
        ...

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks of the run, in order."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds: a run each."""
        ...

    @property
    def training(self) -> TrainingSettings:
        """The training settings of the runs."""
        ...

    @property
    def encoder(self) -> EncoderSource:
        """The encoder."""
        ...

    @property
    def model(self) -> str:
        """What --model named the encoder by."""
        ...

    @property
    def chosen(self) -> Set[str]:
        """The names of the options that the user gave."""
        ...

    def say(self, text: str) -> None:
        """Tell the user."""
        ...

    def past_runs(self, words: str, option: str) -> list[PastRun]:
        """The runs that the value of an option names, verified. Raises UserError where there is none."""
        ...


class Preparation(Protocol):
    """The tasks' prepared rows, and trainings that a method's first stage needs of them."""

    def train_sizes(self) -> Mapping[str, int]:
        """Train rows of each task that are left when the tasks are trained in one run."""
        ...

    def types(self) -> Mapping[str, tuple[str, bool]]:
        """The kind of each task, and whether its rows are pairs of texts."""
        ...

    def train_alone(self, updates: Mapping[str, int], seed: int) -> list[PastRun]:
        """A run of each task alone with so many updates; nothing that a task of the run is scored on is trained on."""
        ...

    def train_groups(
        self, groups: Sequence[tuple[Sequence[str], str]], updates: Mapping[str, int], seed: int
    ) -> list[PastRun]:
        """Of each group a run of its tasks under one adapter a layer, with the updates of each as in `train_alone`.

        A group is its tasks, and the layers in which they share the adapter (`SharedSettings.shared_layers`).
        """
        ...

    def train_further(self, run: PastRun, updates: Mapping[str, int], seed: int) -> list[PastRun]:
        """A run of each of these tasks alone, which goes on from the task's adapter and head in `run`."""
        ...

    def relate(self, measure: str, alone: Mapping[str, PastRun], seed: int) -> Mapping[tuple[str, str], float]:
        """A measure's value of each source and target, from the run of each task alone with that seed."""
        ...

    def merge(self, alone: Sequence[PastRun], rule: str, found: bool, seed: int) -> PastRun:
        """The adapters of the tasks' runs merged by a rule, in groups that are found on select rows, or all into one.

        Its table `merges` (`schemas.MERGES`) says what was tried and chosen; it holds the tasks of groups of two or
        more.
        """
        ...

    def halves(self, runs: Sequence[PastRun], seed: int) -> list[Mapping[str, tuple[float, float]]]:
        """For each run the main metric of each of its tasks on the two halves of the task's select rows."""
        ...

    def train_together(self, method: str, settings: MethodSettings, updates: int, seed: int) -> PastRun:
        """A run of all tasks by another method."""
        ...


Begin = Callable[[Preparation, int], Start]


def pick_run(matches: Sequence[PastRun], words: str, option: str, seed: int) -> PastRun:
    """The run that `option` means for a seed: the only match, or the one match with the same seed.

    Where several match, runs that started from a plan themselves are left out, so that a command that names a method
    means the same run when it is given again. Raises UserError unless one is left.
    """
    left = list(matches)
    if len(left) > 1:
        left = [run for run in left if run.record.seed == seed]
    if len(left) > 1:
        left = [run for run in left if "init_plan" not in run.request]
    if len(left) != 1:
        names = ", ".join(f"{run.name} (seed {run.record.seed})" for run in matches)
        raise UserError(
            f"{option} {words} must name one run for seed {seed}",
            where=f"it names {names}",
            fix="Give one run's full name.",
        )
    return left[0]
