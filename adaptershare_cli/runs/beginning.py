"""How a joint run's start comes about: the method's own `start` module asks, and may have its first stage trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from adaptershare_cli.methods import METHODS
from adaptershare_cli.methods.private.settings import PrivateSettings
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.methods.shared.settings import SharedSettings
from adaptershare_cli.methods.start import PastRun, Start
from adaptershare_cli.methods.stored_adapter import adapter_start
from adaptershare_cli.model.source import EncoderSource
from adaptershare_cli.runs.choose import select_runs
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.executors import Executor
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.merging import merge_adapters
from adaptershare_cli.runs.past import StoredRun
from adaptershare_cli.runs.relating import relate
from adaptershare_cli.runs.rescoring import score_halves
from adaptershare_cli.runs.rows import Limits, read_parts, scored_contents, task_info, train_sizes
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.workspace import GROUPS

LONGEST_NAME = 100  # characters of a group's name: file systems take 255 bytes
ALONE = PrivateSettings(observe=False)  # the private method with one task: there is nothing to observe
SeedStarts = Callable[[Sequence[Artefact], int], Start]  # the tasks' prepared rows and a seed -> that run's start


@dataclass(frozen=True)
class Asking:
    """Answers a method's questions (`methods.start.Ask`) from the command's context."""

    context: StageContext
    method: str
    tasks: Sequence[str]
    seeds: Sequence[int]

    @property
    def training(self) -> TrainingSettings:
        """The training settings of the run."""
        return self.context.training

    @property
    def encoder(self) -> EncoderSource:
        """The encoder that --model names."""
        return self.context.encoder

    @property
    def model(self) -> str:
        """What --model named it by."""
        return self.context.model

    @property
    def chosen(self) -> Set[str]:
        """The names of the options that the user gave."""
        return self.context.chosen

    def say(self, text: str) -> None:
        """Tell the user."""
        self.context.reporter.line(text)

    def past_runs(self, words: str, option: str) -> list[PastRun]:
        """The runs that the value of an option names, verified."""
        return past_runs(self.context, words, option)


def past_runs(context: StageContext, words: str, option: str) -> list[PastRun]:
    """The runs that the value of an option names, verified. Raises UserError where there is none."""
    return [StoredRun(run) for run in select_runs(context.workspace, words, option)]


@dataclass(frozen=True)
class PreparedTasks:
    """Trains a method's first stage on the tasks' prepared rows (`methods.start.Preparation`)."""

    context: StageContext
    executor: Executor
    prepared: Sequence[Artefact]

    @cached_property
    def limits(self) -> Limits:
        """What trainings of some of the tasks leave out: all that stands in a scored split of any, as joint ones do."""
        return Limits(avoid=scored_contents(self.context.training.leak_scope, self.prepared))

    def train_sizes(self) -> Mapping[str, int]:
        """Train rows of each task that are left when the tasks are trained in one run."""
        return train_sizes(self.context.training.leak_scope, self.prepared)

    def types(self) -> Mapping[str, tuple[str, bool]]:
        """The kind of each task, and whether its rows are pairs of texts."""
        parts = read_parts(self.context.training.leak_scope, self.prepared)[0]
        return {a.name: (task_info(a).kind, parts[a.name].train.are_pairs) for a in self.prepared}

    def train_alone(self, updates: Mapping[str, int], seed: int) -> list[PastRun]:
        """A run of each task alone, within `limits`."""
        return self._single(updates, seed, lambda task: Start())

    def train_further(self, run: PastRun, updates: Mapping[str, int], seed: int) -> list[PastRun]:
        """A run of each of these tasks alone that goes on from its adapter and head in `run`, within `limits`."""
        return self._single(updates, seed, lambda task: adapter_start(run, task, self.context.training, with_head=True))

    def _single(self, updates: Mapping[str, int], seed: int, start_of: Callable[[str], Start]) -> list[PastRun]:
        """A run of each of these tasks alone."""
        pending = [
            self.executor.submit(
                Job(
                    "train-single",
                    artefact.name,
                    "private",
                    ALONE,
                    replace(self.context.training, max_steps=updates[artefact.name]),
                    self.context.runtime,
                    self.context.encoder,
                    (artefact,),
                    seed,
                    start_of(artefact.name),
                    self.limits,
                )  # fmt: skip
            )
            for artefact in self.prepared
            if artefact.name in updates
        ]
        return [StoredRun(job.result()) for job in pending]

    def train_groups(
        self, groups: Sequence[tuple[Sequence[str], str]], updates: Mapping[str, int], seed: int
    ) -> list[PastRun]:
        """Of each group (its tasks, and the layers in which they share) a run within `limits`, of stage `groups`."""
        pending = [self.executor.submit(self._group(tasks, layers, updates, seed)) for tasks, layers in groups]
        return [StoredRun(job.result()) for job in pending]

    def _group(self, tasks: Sequence[str], layers: str, updates: Mapping[str, int], seed: int) -> Job:
        members = tuple(artefact for artefact in self.prepared if artefact.name in tasks)
        name = group_name(tasks) + ("" if layers == "all" else f"-{layers}")
        settings = SharedSettings(observe=False, shared_layers=layers)  # type: ignore[arg-type]
        return Job(
            GROUPS, name, "shared", settings,
            replace(self.context.training, max_steps=sum(updates[task] for task in tasks)),
            self.context.runtime, self.context.encoder, members, seed, limits=self.limits,
        )  # fmt: skip

    def relate(self, measure: str, alone: Mapping[str, PastRun], seed: int) -> Mapping[tuple[str, str], float]:
        """A measure's value of each source and target, from the run of each task alone with that seed."""
        runs = {task: run.artefact for task, run in alone.items() if isinstance(run, StoredRun)}
        return relate(self.context, self.prepared, measure, runs, seed)

    def merge(self, alone: Sequence[PastRun], rule: str, found: bool, seed: int) -> PastRun:
        """The adapters of the tasks' runs merged by a rule, in groups found on select rows, or all into one."""
        runs = [run.artefact for run in alone if isinstance(run, StoredRun)]
        return StoredRun(merge_adapters(self.context, self.prepared, runs, rule, found, seed))

    def halves(self, runs: Sequence[PastRun], seed: int) -> list[Mapping[str, tuple[float, float]]]:
        """For each run the main metric of each of its tasks on the two halves of the task's select rows."""
        return score_halves(
            self.context, self.prepared, [run.artefact for run in runs if isinstance(run, StoredRun)], seed
        )

    def train_together(self, method: str, settings: MethodSettings, updates: int, seed: int) -> PastRun:
        """A run of all tasks by another method."""
        job = Job(
            "train-share", method, method, settings, replace(self.context.training, max_steps=updates),
            self.context.runtime, self.context.encoder, tuple(self.prepared), seed,
        )  # fmt: skip
        return StoredRun(self.executor.submit(job).result())


def group_name(tasks: Sequence[str]) -> str:
    """A group's tasks as the name of its artefact; of many tasks the first and their number."""
    name = "+".join(tasks)
    return name if len(name) <= LONGEST_NAME else f"{tasks[0][:LONGEST_NAME]}+{len(tasks) - 1}-others"


def choose_start(
    context: StageContext,
    executor: Executor,
    method: str,
    settings: MethodSettings,
    tasks: Sequence[str],
    seeds: Sequence[int],
) -> SeedStarts:
    """How the start of each seed's run comes about. Raises UserError for wrong options, before anything is made."""
    begin = METHODS[method].begin()
    if begin is None:
        return lambda prepared, seed: Start()
    start_of = begin(settings, Asking(context, method, tasks, seeds))
    return lambda prepared, seed: start_of(PreparedTasks(context, executor, prepared), seed)
