"""Runs that are put together from trainings: which of them a task takes, and what they cost, with scripted scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.methods.assembled.start import AssembledStart
from adaptershare_cli.settings import TrainingSettings

TASKS = ("first", "second", "score")
UPDATES, BATCH = 4, 8  # of each task


@dataclass(frozen=True)
class Scripted:
    """A past run with given main metrics on select rows."""

    label: str
    scores: Mapping[str, float | None]
    start: dict[str, Any] | None = None
    before: int = 0  # rows that were trained on before it
    training_seconds: float = 1.0

    @property
    def content(self) -> str:
        return f"content of {self.label}"

    @property
    def record(self) -> Any:
        rows = dict.fromkeys(self.scores, UPDATES * BATCH + self.before)
        return SimpleNamespace(tasks=list(self.scores), examples=rows, start=self.start)

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        assert name == "metrics"
        other = {"split": "dev", "final": True, "main": True}
        rows = [{"task": task, "value": 9.0, **other} for task in self.scores]
        rows += [{"task": task, "value": value, **other, "split": "select"} for task, value in self.scores.items()]
        return pa.Table.from_pylist(rows)


@dataclass
class Preparation:
    """Gives runs with scripted scores: of each task alone, of all together, and of each gone on from there."""

    alone: Mapping[str, float | None]
    together: Mapping[str, float | None]
    further: Mapping[str, float | None]
    kinds: Mapping[str, tuple[str, bool]] = field(default_factory=dict)

    def types(self) -> Mapping[str, tuple[str, bool]]:
        return self.kinds

    def train_sizes(self) -> Mapping[str, int]:
        return dict.fromkeys(TASKS, 100)

    def train_alone(self, updates: Mapping[str, int], seed: int) -> list[Any]:
        assert updates == dict.fromkeys(TASKS, UPDATES)
        return [Scripted(f"alone {task}", {task: value}) for task, value in self.alone.items()]

    def train_groups(self, groups: list[tuple[tuple[str, ...], str]], updates: Mapping[str, int], seed: int) -> Any:
        assert updates == dict.fromkeys(TASKS, UPDATES)
        return [
            Scripted("together" if tasks == TASKS else "+".join(tasks), {task: self.together[task] for task in tasks})
            for tasks, _ in groups
        ]

    def train_further(self, run: Any, updates: Mapping[str, int], seed: int) -> list[Any]:
        assert updates == dict.fromkeys(TASKS, UPDATES)
        start = {"run": run.label}
        return [Scripted(f"further {t}", {t: value}, start, UPDATES * BATCH) for t, value in self.further.items()]


def start_of(method: str, preparation: Any) -> AssembledStart:
    """What a run of the method begins with."""
    training = TrainingSettings(max_steps=UPDATES * len(TASKS), per_device_train_batch_size=BATCH)
    begin = METHODS[method].begin()
    assert begin is not None
    return begin(method_settings(method, {}), SimpleNamespace(tasks=TASKS, training=training))(preparation, 0)


@pytest.mark.parametrize(
    ("alone", "together", "further", "groups"),
    [
        # all the same: all stay together; what is undefined counts as 0
        ((0.5, 0.5, None), (0.5, 0.5, 0.0), (0.5, 0.5, None), {TASKS: "together"}),
        ((0.1, 0.2, 0.3), (0.2, 0.1, 0.1), (0.1, 0.2, 0.2),
         {("first",): "together", ("second",): "further second", ("score",): "alone score"}),
        ((0.1, 0.2, 0.3), (0.2, 0.1, 0.4), (0.1, 0.3, 0.2), {("first", "score"): "together",
         ("second",): "further second"}),
        ((0.9, 0.9, -0.1), (0.1, 0.2, -0.3), (0.2, 0.1, -0.2),
         {("first",): "alone first", ("second",): "alone second", ("score",): "alone score"}),
    ],
    ids=["ties", "each its own", "two share", "alone"],
)  # fmt: skip
def test_shared_then_private_takes_the_best_for_each_task(
    alone: tuple, together: tuple, further: tuple, groups: dict[tuple[str, ...], str]
) -> None:
    scores = [dict(zip(TASKS, values, strict=True)) for values in (alone, together, further)]
    start = start_of("shared-then-private", Preparation(*scores))
    assert {group: run.label for group, run in start.of_groups.items()} == groups
    taken = {task: label for group, label in groups.items() for task in group}
    for row in start.records["choices"]:
        assert row["chosen"] == (row["run"] == taken[row["task"]])
    assert [row["value"] for row in start.records["choices"] if row["choice"] == "further"] == [v or 0 for v in further]
    # Each task was trained three times; the shared updates count once, though others went on from there.
    assert start.info["task_trainings"] == 9 and start.seconds == 7
    assert start.examples == dict.fromkeys(TASKS, 3 * UPDATES * BATCH)
    assert start.updates == dict.fromkeys(TASKS, 0)


@pytest.mark.parametrize(
    ("types", "groups"),
    [
        ("single single pair", {("first", "second"): "first+second", ("score",): "alone score"}),
        ("pair single pair", {("first", "score"): "first+score", ("second",): "alone second"}),
        ("single single single", {TASKS: "together"}),
        ("single pair tagging", {(task,): f"alone {task}" for task in TASKS}),
    ],
)
def test_by_type(types: str, groups: dict[tuple[str, ...], str]) -> None:
    of = {"single": ("classification", False), "pair": ("classification", True), "tagging": ("tagging", False)}
    kinds = {task: of[word] for task, word in zip(TASKS, types.split(), strict=True)}
    scores = dict.fromkeys(TASKS, 0.5)
    start = start_of("by-type", Preparation(scores, scores, scores, kinds))
    assert {group: run.label for group, run in start.of_groups.items()} == groups
    assert len(start.runs) == len(groups)
    assert start.examples == dict.fromkeys(TASKS, UPDATES * BATCH)
