"""The baselines of plan search from the command line; all in one workspace, where trainings are found again."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from safetensors.torch import load_file

from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Artefact, Workspace
from tests.cli.conftest import TASKS, Share, good, made, stages

Outputs = dict[str, str]
MAIN = {"first": "accuracy", "second": "accuracy", "score": "pearson"}
METHODS: dict[str, tuple[str, ...]] = {"shared-then-private": (), "by-type": ()}


@pytest.fixture(scope="session")
def made_baselines(share: Share, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outputs]:
    """A workspace with a run of each baseline, and what the commands printed; tests read it only."""
    workspace = tmp_path_factory.mktemp("baselines") / "workspace"
    return workspace, {
        method: good(*share(workspace, "--method", method, *more)).stdout for method, more in METHODS.items()
    }


@pytest.fixture(scope="session")
def workspace(made_baselines: tuple[Path, Outputs]) -> Path:
    """The workspace."""
    return made_baselines[0]


@pytest.fixture(scope="session")
def outputs(made_baselines: tuple[Path, Outputs]) -> Outputs:
    """What the commands printed, by method."""
    return made_baselines[1]


def run_of(workspace: Path, method: str) -> Artefact:
    (run,) = [a for a in Workspace(workspace).artefacts("train-share") if a.name == method]
    return run


def trainings(workspace: Path) -> dict[str, Artefact]:
    """Every training that runs may be put together from, by its label."""
    return {a.label: a for stage in ("train-single", "groups") for a in Workspace(workspace).artefacts(stage)}


def scores_of(run: Artefact, task: str) -> dict[tuple[str, str], float | None]:
    """The final scores of a task, by split and metric."""
    rows = run.table("metrics.parquet").to_pylist()
    return {(row["split"], row["metric"]): row["value"] for row in rows if row["final"] and row["task"] == task}


def same_task(run: Artefact, other: Artefact, task: str) -> None:
    """Adapter, head and scores of a task are those of the other run, bit for bit."""
    for file in ("adapter.safetensors", "head.safetensors"):
        ours, theirs = (load_file(a.path / "tasks" / task / file) for a in (run, other))
        assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)
    assert scores_of(run, task) == scores_of(other, task)


def test_shared_then_private(workspace: Path, outputs: Outputs) -> None:
    method = "shared-then-private"
    assert stages(made(outputs[method])) == [
        *["download", "prepro"] * 3, *["train-single"] * 3, "groups", *["train-single"] * 3, "train-share"
    ]  # fmt: skip
    assert "Choices, seed 0" in outputs[method]
    run, made_of = run_of(workspace, method), trainings(workspace)
    rows = run.table("choices.parquet").to_pylist()
    assert [(row["task"], row["choice"]) for row in rows] == list(product(TASKS, ("shared", "further", "alone")))
    for row in rows:
        training = made_of[row["run"]]
        assert row["value"] == scores_of(training, row["task"])["select", MAIN[row["task"]]]
        if row["chosen"]:
            same_task(run, training, row["task"])
        if row["choice"] == "further":  # it began with the adapter and the head that stand in the shared run
            assert RunRecord.of(training).start == {"run": rows[0]["run"], "task": row["task"], "head": True}
    record = RunRecord.of(run)
    assert record.task_trainings == 9 and record.plan is not None
    sharing = tuple(row["task"] for row in rows if row["chosen"] and row["choice"] == "shared")
    assert {tuple(group) for group in record.plan["layers"][0] if len(group) > 1} == {sharing} - {sharing[:1], ()}


def test_by_type(workspace: Path, outputs: Outputs) -> None:
    assert stages(made(outputs["by-type"])) == ["groups", "train-share"]  # the task that is alone is there
    run, made_of = run_of(workspace, "by-type"), trainings(workspace)
    record = RunRecord.of(run)
    assert record.plan is not None and record.plan["layers"][0] == [["first", "second"], ["score"]]
    (group,) = (a for a in made_of.values() if a.name == "first+second")
    for task in ("first", "second"):
        same_task(run, group, task)
    assert record.task_trainings == 3
