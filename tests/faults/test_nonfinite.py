"""Numbers that go wrong: losses that are not finite, and tasks whose scores are undefined."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from adaptershare_cli.methods import METHODS
from adaptershare_cli.store.artefact import read_artefact
from adaptershare_cli.training.checkpoint import Checkpoint
from adaptershare_cli.training.loop import Hooks, Trainer
from tests.cli.conftest import add_task, good, only, refused
from tests.core import build_method
from tests.faults.conftest import Project, exact, leftovers
from tests.faults.processes import send_at
from tests.methods import PUT_TOGETHER

# ---- a loss that is not finite ----

POISON = "q"  # a token of one train row only, whose embedding is not a number
MORE = ("--max-steps", "30")  # that row comes more than once


@pytest.fixture(scope="session")
def poisoned(project: Project) -> Project:
    """The project with a train row of the task `first` on which every loss is nan."""
    root = Path(shutil.copytree(project.root, project.root.with_name("poisoned"), ignore=shutil.ignore_patterns("w*")))
    for name in ("prepared", "trained"):
        shutil.rmtree(root / name, ignore_errors=True)
    with (root / "data" / "set" / "first-train.csv").open("a") as file:
        file.write(f"{POISON} dull plot,good\n")
    token = json.loads((root / "encoder" / "tokenizer.json").read_text())["model"]["vocab"][POISON]
    weights = load_file(root / "encoder" / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][token] = torch.nan
    save_file(weights, root / "encoder" / "model.safetensors", metadata={"format": "pt"})
    bad = Project(root)
    parts = {
        path.stem: sum(token in ids for ids in pd.read_parquet(path)["input_ids"])
        for path in bad.prepared.glob("prepro/*/*.parquet")
        if "first" in path.parent.name
    }
    assert parts == {"train": 1, "heldout": 0, "select": 0, "dev": 0}
    return bad


# Sparse-sharing has several phases, and updates are counted in each: it is asked the same below. What other methods put
# together are runs of their own.
ONE_PHASE = [method for method in METHODS if method != "sparse-sharing" and method not in PUT_TOGETHER]


@pytest.mark.parametrize("method", ONE_PHASE)
def test_stop_then_skip(method: str, poisoned: Project, place: Path) -> None:
    """Stopped at the bad row; then the same run goes on, skips it, is killed on the way, and ends as if at one go."""
    stage = f"train-share {method}"
    skip = ("--on-nonfinite", "skip")
    if METHODS[method].needs_plan:  # the origin has the bad row too
        poisoned.finished("train-share adaptershare", poisoned.prepared, *MORE, *skip)
    workspace = Path(shutil.copytree(poisoned.prepared, place / "w"))
    stopped = poisoned.run(stage, workspace, *MORE, "--seed", "1")
    assert stopped.wait() == 1, stopped.output
    assert "error: The loss (nan)" in stopped.output and "Traceback" not in stopped.output
    assert "task first, update " in stopped.output and "train rows [" in stopped.output and ", 30" in stopped.output
    assert "--on-nonfinite skip" in stopped.output
    update = int(stopped.output.partition("task first, update ")[2].partition(",")[0])
    last = 3 * ((update - 1) // 3)
    points = [path.name for path in workspace.glob("checkpoints/*/*")]
    assert sorted(points)[-1:] == ([f"main-{last:08d}"] if last else [])

    killing = (send_at, "adaptershare_cli.training.optimizer", "Optimizer.skip", 2, signal.SIGKILL)
    killed = poisoned.run(stage, workspace, *MORE, "--seed", "1", *skip, prepare=killing)
    assert killed.wait() == -signal.SIGKILL, killed.output
    assert bool(killed.lines("goes on after update")) == bool(last)
    poisoned.finished(stage, workspace, *MORE, "--seed", "1", *skip)
    whole = Path(shutil.copytree(poisoned.prepared, place / "whole"))
    poisoned.finished(stage, whole, *MORE, "--seed", "1", *skip)
    assert exact(workspace) == exact(whole) and not leftovers(workspace)

    run = read_artefact(next(path for path in whole.glob(f"train-share/{method}-*") if seed_of(path) == 1))
    assert run is not None
    # A method of two stages begins with train-single runs of its own, in the same loop.
    parts = [read_artefact(whole / label) for label in run.info.get("stage_one", [])] + [run]
    tables = [part.table("steps.parquet").to_pandas() for part in parts]
    steps = pd.concat(tables, ignore_index=True)
    bad = steps[steps["skipped"]]
    assert len(steps) == 30 and len(bad) >= 2 and set(bad["task"]) == {"first"} and bad["step"].iloc[0] == update
    assert bad["loss"].isna().all() and steps[~steps["skipped"]]["loss"].notna().all()
    for part, table in zip(parts, tables, strict=True):
        for _, phase in table.groupby("phase"):
            after = phase["learning_rate"].shift(-1)[phase["skipped"]].dropna()
            assert (after == phase["learning_rate"][after.index]).all()  # the schedule stands still
        skipped = int(table["skipped"].sum())
        assert part.info["skipped_updates"] == skipped
        assert (f"{skipped} updates skipped" in part.info["summary"]) == bool(skipped)

    if method == "adaptershare":
        check_budgets(stage, whole, len(bad), poisoned)


def test_skips_in_every_phase(poisoned: Project, place: Path) -> None:
    """The bad row is met in the warm-up, in trainings alone and in joint training; after a kill the end is the same."""
    stage, skip = "train-share sparse-sharing", ("--on-nonfinite", "skip", "--max-nonfinite", "40")
    more = (*MORE, "--multitask-warmup-epochs", "1", "--round-epochs", "1", "--rounds", "1", *skip)
    workspace = Path(shutil.copytree(poisoned.prepared, place / "w"))
    killing = (send_at, "adaptershare_cli.training.optimizer", "Optimizer.step", 30, signal.SIGKILL)
    assert poisoned.run(stage, workspace, *more, prepare=killing).wait() == -signal.SIGKILL
    assert poisoned.finished(stage, workspace, *more).lines("goes on after update")
    whole = Path(shutil.copytree(poisoned.prepared, place / "whole"))
    poisoned.finished(stage, whole, *more)
    assert exact(workspace) == exact(whole) and not leftovers(workspace)
    steps = pd.read_parquet(next(whole.glob("train-share/sparse-sharing-*")) / "steps.parquet")
    assert set(steps[steps["skipped"]]["phase"]) == {"warm-up", "prune-first-0", "prune-first-1", "main"}


def check_budgets(stage: str, whole: Path, skips: int, poisoned: Project) -> None:
    """The run answers only those who allow what it skipped; it stands whatever becomes of their wish."""
    before, skip = exact(whole), ("--on-nonfinite", "skip")
    for allowed in ((), (*skip, "--max-nonfinite", str(skips - 1))):
        again = poisoned.run(stage, whole, *MORE, "--seed", "1", *allowed)
        assert again.wait() == 1 and "The loss (nan)" in again.output, again.output
        assert {name: digest for name, digest in exact(whole).items() if name in before} == before
        shutil.rmtree(whole / "checkpoints")
    kept = poisoned.finished(stage, whole, *MORE, "--seed", "1", *skip, "--max-nonfinite", str(skips))
    assert not kept.labels("made")


def seed_of(run: Path) -> int:
    return json.loads((run / "artefact.json").read_text())["info"]["seed"]


def test_a_checkpoint_with_more_skips_than_are_allowed(poisoned: Project, place: Path) -> None:
    workspace = Path(shutil.copytree(poisoned.prepared, place / "w"))
    stage, skip = "train-share shared", ("--on-nonfinite", "skip")
    killing = (send_at, "adaptershare_cli.training.optimizer", "Optimizer.skip", 2, signal.SIGKILL)
    assert poisoned.run(stage, workspace, *MORE, "--seed", "1", *skip, prepare=killing).wait() == -signal.SIGKILL
    arguments = poisoned.command(stage, workspace, *MORE, "--seed", "1")
    refused(*arguments, says=("has skipped 1 updates, of which 0 are allowed", "--on-nonfinite skip --max-nonfinite 1"))


def test_max_nonfinite_belongs_to_skip(project: Project, place: Path) -> None:
    says = ("--max-nonfinite belongs to --on-nonfinite skip",)
    refused(*project.command("train-share shared", place / "w", "--max-nonfinite", "3"), says=says)


@pytest.mark.parametrize("method", ["shared", "adaptershare"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_skipped_update_changes_nothing_but_the_place_in_the_data(method: str, value: float, encoder: Path) -> None:
    bad = 7
    options: dict[str, Any] = {"loss_weighting": "uncertainty"}
    if method == "adaptershare":
        options |= {"guard": "none", "max_interference": -1.0, "first_check": 3, "check_every": 50}
    built, parts = build_method(encoder, method, **options)
    saved: dict[int, tuple[dict[str, torch.Tensor], dict[str, Any]]] = {}

    def save(checkpoint: Checkpoint) -> None:
        tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
        saved[checkpoint.step] = tensors, json.loads(json.dumps(checkpoint.meta))

    loss, calls = built.loss, []

    def poisoned_loss(batch: Any) -> torch.Tensor:
        calls.append(batch)
        return loss(batch) * (value if len(calls) == bad else 1.0)

    built.loss = poisoned_loss  # type: ignore[method-assign]
    trainer = Trainer(built, parts, built.context.training, "fp32", 1, Hooks(save=save), max_nonfinite=1)
    trainer.run()
    before, after = saved[bad - 1], saved[bad]
    assert before[0].keys() == after[0].keys() and any(name.startswith("optimizer/") for name in after[0])
    assert all(torch.equal(before[0][name], after[0][name]) for name in after[0])
    assert any(not torch.equal(after[0][name], saved[bad + 1][0][name]) for name in after[0])
    streams = [meta.pop("streams") for _, meta in (before, after)]
    assert streams[0] != streams[1]
    for _, meta in (before, after):
        meta.pop("seconds")
    assert before[1] == after[1]  # plan, order, schedule
    assert [row["step"] for row in trainer.records["steps"] if row["skipped"]] == [bad]


# ---- scores that are undefined ----


@pytest.fixture(scope="session")
def odd(project: Project) -> Project:
    """Tasks that give little to learn or to measure."""
    root = project.root.with_name("odd")
    add_task(root, "one-class", ("no", "yes"), 30, metrics=["f1", "matthews", "accuracy", "macro_f1"], positive="yes")
    add_task(root, "constant", (), 30, metrics=["pearson", "spearman"])
    add_task(root, "six-rows", ("no", "yes"), 6)
    for file in (root / "data" / "set").glob("*.csv"):
        if not file.name.startswith("six-rows"):
            label = "no" if file.name.startswith("one-class") else "2.5"
            lines = file.read_text().splitlines()
            file.write_text("\n".join([lines[0], *(f"{line.rpartition(',')[0]},{label}" for line in lines[1:])]) + "\n")
    (root / "encoder").symlink_to(project.root / "encoder")
    return Project(root)


def arguments(odd: Project, stage: str, workspace: Path, *more: str) -> tuple[Any, ...]:
    return (*odd.command(stage, workspace, *more), "-t", "one-class,constant,six-rows")


@pytest.mark.parametrize("method", METHODS)
def test_tasks_that_give_little_to_measure(method: str, odd: Project, place: Path) -> None:
    workspace = place / "w"
    best = ("--load-best-model-at-end",)
    if METHODS[method].needs_plan:
        good(*arguments(odd, "train-share adaptershare", workspace, "--seed", "1"))
    text = good(*arguments(odd, f"train-share {method}", workspace, "--seed", "1", *best)).output
    assert "n/a" in text
    run = only(workspace, f"train-share/{method}-*") if method != "adaptershare" else next(
        workspace.glob("train-share/adaptershare-*")
    )  # fmt: skip
    metrics = pd.read_parquet(run / "metrics.parquet")
    final = metrics[metrics["final"] & (metrics["split"] == "dev")].set_index(["task", "metric"])["value"]
    for task, metric in (("one-class", "matthews"), ("constant", "pearson"), ("constant", "spearman")):
        assert pd.isna(final[task, metric])
    assert final["one-class", "accuracy"] == 1.0 and pd.isna(final["one-class", "f1"])
    assert final["six-rows", "accuracy"] >= 0
    steps = pd.read_parquet(run / "steps.parquet")
    assert steps["loss"].notna().all() and not steps["skipped"].any()
    good("report", "-w", workspace)
    results = pd.read_parquet(workspace / "report" / "results.parquet").set_index(["task", "metric"])["value"]
    assert results.xs("constant").isna().all()
    assert "n/a" in (workspace / "report" / "report.md").read_text()


def test_a_task_too_small_for_two_stages(odd: Project, place: Path) -> None:
    says = ("Nothing is left for stage one on task six-rows", "--max-steps")
    more = ("--task-sampling", "proportional")
    refused(*arguments(odd, "train-share adapterfusion", place / "w", "--seed", "1", *more), says=says)


def test_held_out_rows_are_at_most_a_fifth(odd: Project, place: Path) -> None:
    good(*arguments(odd, "prepro", place / "w", "--heldout-size", "64", "--select-size", "1000"))
    sizes = {
        path.parent.name.rpartition("-")[0] + " " + path.stem: len(pd.read_parquet(path))
        for path in (place / "w").glob("prepro/*/*.parquet")
    }
    assert sizes["one-class heldout"] == 6 and sizes["one-class select"] == 6 and sizes["one-class train"] == 18
    assert sizes["six-rows heldout"] == 1 and sizes["six-rows select"] == 1 and sizes["six-rows train"] == 4


@pytest.mark.parametrize(
    ("rows", "says"),
    [("text,label\n", "holds no rows"), ("", "first-dev.csv"), ("text,label\n,good\n", "first-dev.csv, row 2")],
    ids=["header only", "empty", "nothing usable"],
)
def test_an_empty_dev(rows: str, says: str, project: Project, place: Path) -> None:
    root = Path(shutil.copytree(project.root / "data", place / "data"))
    (root / "set" / "first-dev.csv").write_text(rows)
    for stage in ("download", "prepro", "train-single", "train-share shared"):
        refused(*project.command(stage, place / "w"), "--from", root, says=("first-dev.csv", says))


def test_one_label_that_is_taken_from_train(odd: Project, place: Path) -> None:
    tasks = Path(shutil.copytree(odd.root / "tasks", place / "tasks"))
    content = json.loads((tasks / "one-class.yaml").read_text()) | {"labels": "from-train"}
    (tasks / "one-class.yaml").write_text(json.dumps(content))
    says = ("`one-class` has one label only, 'no'", "at least two labels")
    refused(*arguments(odd, "download", place / "w"), "--task-dir", tasks, says=says)
