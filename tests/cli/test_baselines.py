"""The baselines of plan search from the command line; all in one workspace, where trainings are found again."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adaptershare_cli.model.adapters import adapter_kind, training_settings
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.merging import ties
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.model.stored import read_adapter
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Artefact, Workspace
from tests.cli.conftest import TASKS, Share, good, kept, made, refused, stages

Outputs = dict[str, str]
MAIN = {"first": "accuracy", "second": "accuracy", "score": "pearson"}
RUNS = {
    "shared-then-private": ("shared-then-private",),
    "by-type": ("by-type",),
    "ties": ("merge", "--merge", "ties", "--merge-groups", "all"),
    "average": ("merge",),
    "recon": ("recon", "--check-every", "2"),
}


@pytest.fixture(scope="session")
def made_baselines(share: Share, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outputs]:
    """A workspace with each of the runs, and what the commands printed; tests read it only."""
    workspace = tmp_path_factory.mktemp("baselines") / "workspace"
    return workspace, {name: good(*share(workspace, "--method", *more)).stdout for name, more in RUNS.items()}


@pytest.fixture(scope="session")
def workspace(made_baselines: tuple[Path, Outputs]) -> Path:
    """The workspace."""
    return made_baselines[0]


@pytest.fixture(scope="session")
def outputs(made_baselines: tuple[Path, Outputs]) -> Outputs:
    """What the commands printed, by the run's name above."""
    return made_baselines[1]


def run_of(workspace: Path, output: str) -> Artefact:
    """The run that a command made."""
    (run,) = [a for a in Workspace(workspace).artefacts("train-share") if a.label == made(output)[-1]]
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
    output = outputs["shared-then-private"]
    assert stages(made(output)) == [
        *["download", "prepro"] * 3, *["train-single"] * 3, "groups", *["train-single"] * 3, "train-share"
    ]  # fmt: skip
    assert "Choices, seed 0" in output
    run, made_of = run_of(workspace, output), trainings(workspace)
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
    run, made_of = run_of(workspace, outputs["by-type"]), trainings(workspace)
    record = RunRecord.of(run)
    assert record.plan is not None and record.plan["layers"][0] == [["first", "second"], ["score"]]
    (group,) = (a for a in made_of.values() if a.name == "first+second")
    for task in ("first", "second"):
        same_task(run, group, task)
    assert record.task_trainings == 3


def test_merge_all_by_ties(workspace: Path, outputs: Outputs, encoder: Path) -> None:
    """The run is what TIES makes of the tasks' runs and of their common start, with each task's own head."""
    assert stages(made(outputs["ties"])) == ["groups", "train-share"]
    run, alone = run_of(workspace, outputs["ties"]), {}
    for artefact in trainings(workspace).values():
        if artefact.meta["stage"] == "train-single" and RunRecord.of(artefact).start is None:
            alone[artefact.name] = artefact
    training = training_settings(RunRecord.of(run).training)
    loaded = load_encoder(locate_encoder(str(encoder)), torch.device("cpu"))
    own = {task: read_adapter(a.path / "tasks" / task, loaded, adapter_kind("seq_bn")) for task, a in alone.items()}
    bank = AdapterBank(loaded, SharingPlan.shared(TASKS, 2), training, 0)
    bank.fill("first", ties({n: t.detach() for n, t in bank.named_parameters("first")}, [own[t] for t in TASKS]))
    bank.export("first", workspace / "expected")
    expected = load_file(workspace / "expected" / "adapter.safetensors")
    for task in TASKS:
        ours = load_file(run.path / "tasks" / task / "adapter.safetensors")
        assert [*map(torch.equal, ours.values(), expected.values())] == [True] * len(expected)
        heads = [load_file(a.path / "tasks" / task / "head.safetensors") for a in (run, alone[task])]
        assert all(torch.equal(heads[0][name], heads[1][name]) for name in ("weight", "bias"))
    for row in run.table("merges.parquet").to_pylist():
        task, main = row["task"], MAIN[row["task"]]
        assert row["alone"] == scores_of(alone[task], task)["select", main]
        assert row["value"] == (scores_of(run, task)["select", main] if row["chosen"] else row["alone"])
        assert row["chosen"] == (row["group"] == list(TASKS))
    assert RunRecord.of(run).task_trainings == 3


def test_groups_are_merged_where_select_rows_say_that_it_pays(workspace: Path, outputs: Outputs, share: Share) -> None:
    assert stages(made(outputs["average"])) == ["groups", "train-share"]
    assert "Merged adapters, seed 0" in outputs["average"]
    run = run_of(workspace, outputs["average"])
    table = run.table("merges.parquet").to_pandas()
    table = table.assign(group=table["group"].map(tuple), rise=table["value"] - table["alone"])
    rises = table.groupby("group")["rise"].sum()
    assert {("first", "second"), ("first", "score"), ("second", "score")} < set(rises.index)
    chosen = set(table[table["chosen"]]["group"])
    assert (len(chosen) == len(TASKS)) == (rises.max() <= 1e-9)
    assert all(rises[group] > 0 for group in chosen if len(group) > 1)
    record = RunRecord.of(run)
    assert record.plan is not None and {tuple(group) for group in record.plan["layers"][0]} == chosen
    again = good(*share(workspace, "--method", *RUNS["average"])).stdout
    assert made(again) == [] and any(label.startswith("groups/merged-average-") for label in kept(again))


def test_recon(workspace: Path, outputs: Outputs, share: Share) -> None:
    """The layer in which a shared run of half of the updates conflicts most is private, and trained with the rest."""
    output = outputs["recon"]
    assert stages(made(output)) == ["train-share", "train-share"] and "Conflicts, seed 0" in output
    run = run_of(workspace, output)
    record = RunRecord.of(run)
    (stage_one,) = [a for a in Workspace(workspace).artefacts("train-share") if [a.label] == record.stage_one]
    first = RunRecord.of(stage_one)
    checks = stage_one.table("interference.parquet").to_pandas()
    below = checks.assign(below=checks["cosine"] < -0.02).groupby("layer")["below"].mean()
    assert checks["step"].nunique() == 3 and checks["cosine"].notna().all()
    table = run.table("conflicts.parquet").to_pandas().set_index("layer")
    assert table["score"].to_dict() == below.to_dict() and set(table["cosines"]) == {3 * 3}
    (private,) = table.index[table["private"]]  # a quarter of two layers, at least one
    assert table["score"][private] == table["score"].max()
    assert record.plan is not None
    for layer, groups in enumerate(record.plan["layers"]):
        assert groups == ([[task] for task in TASKS] if layer == private else [list(TASKS)])
    steps = run.table("steps.parquet").to_pandas()
    assert first.method == "shared" and first.steps + len(steps) == 10
    # Both stages together have the rows of a method of one stage.
    assert record.examples == RunRecord.of(run_of(workspace, outputs["by-type"])).examples
    assert record.trained_parameters == first.trained_parameters + run.info["costs"]["stored"]


def test_recon_refuses_what_cannot_be(share: Share, tmp_path: Path) -> None:
    recon = ("--method", "recon")
    refused(*share(tmp_path / "w", *recon, "--recon-layers", "3"), says=("--recon-layers 3", "2 layers"))
    refused(*share(tmp_path / "w", *recon, "--recon-threshold", "0.1"), says=("--recon-threshold",))
    assert not (tmp_path / "w").exists()
    one = ("--max-steps", "1")
    refused(*share(tmp_path / "w", *recon, *one), says=("Nothing is left for stage two", "--max-steps"))
    assert not (tmp_path / "w" / "train-share").exists()
