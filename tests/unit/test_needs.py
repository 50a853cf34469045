"""What measures are computed from: what each need reads, what decides its key, what it costs, and how it is missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.measures.base import Cost
from adaptershare_cli.measures.needs import (
    JointModels,
    Nothing,
    PlainEncoder,
    PreparedTasks,
    RowCounts,
    RunTable,
    SingleTaskModels,
    Trainings,
    Truth,
)
from adaptershare_cli.measures.popularity import PopularitySettings
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.measures.trainings import Training
from tests.core import info_of

CHECKS = pd.DataFrame({"phase": ["train"] * 6, "step": [4, 4, 4, 8, 8, 8], "layer": [0, 1, 2] * 2})
ROWS_KEY, ENCODER_KEY = {"prepro": "p"}, {"encoder": "e"}


@dataclass
class FakeRuns:
    """Two runs without any artefact: a run is the name of one, a training's artefact is its name and seed."""

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("a", "b")
    seeds: tuple[int, ...] = (3, 4)
    runs: Mapping[int, str] = field(default_factory=lambda: {0: "run-0", 1: "run-1"})
    heldout: Mapping[str, int] = field(default_factory=lambda: {"a": 5, "b": 7})
    train_rows: Mapping[str, Any] = field(default_factory=lambda: {"a": range(20), "b": range(30)})
    heldout_rows: Mapping[str, Any] = field(default_factory=lambda: {"a": range(5), "b": range(7)})
    pad_token: int = 1

    @property
    def infos(self) -> Mapping[str, TaskInfo]:
        return {"a": info_of("first"), "b": info_of("score")}

    made: list[Training] = field(default_factory=list)

    def table(self, artefact: str, name: str) -> pd.DataFrame:
        return self.tables.get(name, pd.DataFrame())

    def label(self, artefact: str) -> str:
        return f"train-share/{artefact}"

    def examples(self, run: str) -> int:
        return 100

    def rows_key(self) -> dict[str, Any]:
        return dict(ROWS_KEY)

    def encoder_key(self) -> dict[str, Any]:
        return dict(ENCODER_KEY)

    def encoder(self) -> Any:
        return lambda inputs: "encoded"

    def model(self, seed: int, trained: Mapping[str, str]) -> Any:
        return seed, dict(trained)

    def train(self, trainings: Sequence[Training]) -> dict[Training, str]:
        self.made += trainings
        return {training: f"{training.name} {training.seed}" for training in trainings}

    def scores(self, trained: Mapping[Training, str]) -> dict[Training, dict[str, float]]:
        return {training: dict.fromkeys(training.tasks, 0.5) for training in trained}

    def trainings_cost(self, trainings: Sequence[Training], scoring: bool) -> Cost:
        return Cost(10 * len(trainings) + scoring, 10 * len(trainings))

    def truth(self, name: str, settings: Any) -> str:
        return f"truth {name}"

    def recorded_cost(self, correlation: str) -> Cost:
        return Cost(8, 9)


def test_a_table_of_runs() -> None:
    supply = RunTable("interference").find(FakeRuns({"interference": CHECKS}), None)
    assert supply.sources == ["run-0", "run-1"] and not supply.key
    read = supply.read()
    assert list(read.by_seed) == [0, 1] and read.heldout == {"a": 5, "b": 7}
    assert supply.training_cost() == Cost(200, 200)


def test_checks_count_where_they_made_the_table() -> None:
    plans = pd.DataFrame({"layer": [0]})
    need = RunTable("sharing", made_by_checks=True)
    assert need.find(FakeRuns({"sharing": plans, "interference": CHECKS}), None).training_cost() == Cost(248, 248)
    assert need.find(FakeRuns({"sharing": plans}), None).training_cost() == Cost(200, 200)  # a run without checks


@pytest.mark.parametrize("table", ["interference", "sharing", "lookahead", "attention", "embeddings", "masks"])
@pytest.mark.parametrize("tables", [(), (pd.DataFrame({"layer": []}),)], ids=["absent", "empty"])
def test_a_table_that_a_run_lacks_is_named_when_it_is_read(table: str, tables: tuple[pd.DataFrame, ...]) -> None:
    runs = FakeRuns({table: tables[0]} if tables else {})
    supply = RunTable(table).find(runs, None)
    with pytest.raises(UserError, match=r"train-share/run-0 has no \w+") as error:
        supply.read()
    assert error.value.fix and error.value.where == "--run"


def test_single_task_models() -> None:
    subject = FakeRuns()
    supply = SingleTaskModels().find(subject, TunedSettings(target_steps=6))
    assert subject.made == [Training((task,), seed, 6) for seed in (3, 4) for task in ("a", "b")]
    assert supply.sources == ["a 3", "b 3", "a 4", "b 4"] and supply.key == ROWS_KEY | ENCODER_KEY
    models = supply.read()
    assert models.tuned(4) == (4, {"a": "a 4", "b": "b 4"}) and models.fresh(4) == (4, {})
    assert models.rows is subject.train_rows and models.pad_token == 1
    assert supply.training_cost() == Cost(40, 40)


def test_joint_models() -> None:
    shared = pd.DataFrame({"phase": ["main"] * 4, "step": [0] * 4, "layer": [0, 0, 1, 1], "group": [0] * 4})
    subject = FakeRuns({"sharing": shared})
    supply = JointModels().find(subject, None)
    assert supply.sources == ["run-0", "run-1"] and supply.key == ROWS_KEY | ENCODER_KEY and not subject.made
    models = supply.read()
    assert models.seeds == [0, 1] and models.model(1) == (1, {"a": "run-1", "b": "run-1"})
    assert models.rows is subject.train_rows and models.heldout is subject.heldout_rows and models.pad_token == 1
    assert supply.training_cost() == Cost(200, 200)
    for plans in ({}, {"sharing": shared.assign(group=[0, 0, 0, 1])}):
        with pytest.raises(UserError, match="train-share/run-0 has no adapter in every layer that all tasks share"):
            JointModels().find(FakeRuns(plans), None)


def test_trainings_are_made_once_each_and_scored() -> None:
    def plan(tasks: Sequence[str], seeds: Sequence[int], settings: TunedSettings) -> list[Training]:
        alone = [Training((task,), seed, 2) for seed in seeds for task in tasks]
        return alone + alone

    subject = FakeRuns()
    supply = Trainings(plan).find(subject, TunedSettings(target_steps=2))
    assert len(subject.made) == len(supply.sources) == 4 and not supply.key
    assert set(supply.read()) == set(subject.made)
    assert supply.training_cost() == Cost(41, 40)


def test_truth_is_read_by_seed_over_all_layers() -> None:
    rows = [(None, -1, 0.5), (0, -1, 0.4), (0, 2, 0.3), (1, -1, 0.6)]
    table = pd.DataFrame(rows, columns=["seed", "layer", "value"])
    supply = Truth().find(FakeRuns({"correlation": table}), PopularitySettings(against="pair"))
    assert supply.sources == ["truth pair"] and supply.read()["value"].tolist() == [0.4, 0.6]
    assert supply.training_cost() == Cost(8, 9)


def test_what_takes_no_trainings_costs_none() -> None:
    subject = FakeRuns()
    needs = (PlainEncoder(), RowCounts(), PreparedTasks(), Nothing())
    encoder, counts, tasks, nothing = (need.find(subject, None) for need in needs)
    assert encoder.key == ROWS_KEY | ENCODER_KEY and encoder.read().encode({}) == "encoded"
    assert counts.key == ROWS_KEY and counts.read() == {"a": 20, "b": 30}
    assert tasks.key == ROWS_KEY | {"labels": {"a": ["classification", 2], "b": ["regression", 0]}}
    assert tasks.read().rows is subject.train_rows and tasks.read().infos == subject.infos
    assert nothing.key == {"seeds": [3, 4]} and nothing.read() is None
    for supply in (encoder, counts, tasks, nothing):
        assert not supply.sources and supply.training_cost() == Cost()
    assert not subject.made


def test_needs_say_which_options_have_an_effect() -> None:
    def measures(of: str) -> set[str]:
        return {name for name, measure in MEASURES.items() if getattr(measure.needs, of)}

    trained = {"adapter-weights", "fisher", "gradts", "gradts-instance", "pair", "popularity", "transfer"}
    assert measures("makes_trainings") >= trained and measures("runs_encoder") >= {*trained, "text", "grad-tag"}
    assert measures("takes_seeds") >= {*trained, "random"} and "text" not in measures("takes_seeds")
    assert measures("sees_scored_splits") >= {"pair", "popularity", "transfer"}
    assert measures("reads_runs").isdisjoint({*trained, "text", "random", "size"})
    assert measures("reads_runs") >= {
        "gradient",
        "grad-tag",
        "plan",
        "lookahead",
        "fusion",
        "task-embedding",
        "mask-overlap",
    }
