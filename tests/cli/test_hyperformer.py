"""The methods hyperformer and hyperformer++ from the command line: what a run holds, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from adaptershare_cli import schemas
from adaptershare_cli.methods import PRESETS, method_settings
from adaptershare_cli.methods.hyperformer.settings import HyperFormerPlusPlusSettings, HyperFormerSettings
from adaptershare_cli.model.hypernetwork import fresh_embedding, load_hypernetwork
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import TASKS, Share, good, only, refused, without

CHECKS = ("--check-every", "3", "--first-check", "3")


@pytest.fixture(scope="module")
def runs(share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of each method, `hyperformer` with its layer norms trained, and the report."""
    workspace = tmp_path_factory.mktemp("generated") / "workspace"
    good(*share(workspace, *CHECKS, "--method", "hyperformer", "--train-layer-norms"))
    good(*share(workspace, *CHECKS, "--method", "hyperformer++", "--adapter-config", "double_seq_bn"))
    good("report", "-w", workspace)
    return workspace


def test_what_a_run_holds(runs: Path) -> None:
    for name, norms in (("hyperformer", True), ("hyperformer++", False)):
        run = next((runs / "train-share").glob(f"{name}-*"))
        assert pq.read_schema(run / "embeddings.parquet").equals(schemas.EMBEDDINGS)
        table = pd.read_parquet(run / "embeddings.parquet")
        assert table["task"].tolist() == list(TASKS)
        assert np.stack(table["embedding"]).shape == (3, 64)
        saved = load_file(run / "hypernetwork.safetensors")
        assert saved[f"embedding/{TASKS[1]}"].tolist() == table["embedding"][1].tolist()
        for task in TASKS:
            assert (run / "tasks" / task / "layer_norms.safetensors").exists() == norms
            assert ("layer_norms" in (run / "tasks" / task / "README.md").read_text()) == norms
        interference = pd.read_parquet(run / "interference.parquet")
        assert sorted(set(interference["step"])) == [3, 6, 9]
        assert interference["cosine"].notna().all() and not interference["shared"].any()
        steps = pd.read_parquet(run / "steps.parquet")
        assert len(steps) == 10 and np.isfinite(steps["loss"]).all()


def test_costs_stand_in_the_run_and_in_the_report(runs: Path) -> None:
    results = pd.read_parquet(runs / "report" / "results.parquet")
    for name in ("hyperformer", "hyperformer++"):
        info = json.loads(next((runs / "train-share").glob(f"{name}-*/artefact.json")).read_text())["info"]
        costs, rows = info["costs"], results[results["method"] == name].set_index("task")
        assert info["trained_parameters"] == costs["trained"] > costs["stored"] > costs["stored_heads"] > 0
        assert set(rows["stored_parameters"]) == {costs["stored"]}
        share = (costs["trained"] - costs["trained_heads"]) / 3 / costs["encoder"]
        assert rows["trained_share"].tolist() == pytest.approx([share] * len(rows))
        for task, own in costs["tasks"].items():
            assert rows.loc[task, "task_parameters"] == own["stored"]
            assert rows.loc[task, "inference_cost"] == own["multiply_adds"] / own["encoder_multiply_adds"] > 1
    text = (runs / "report" / "report.md").read_text()
    assert "stored parameters | inference [+ % of encoder]" in text and "| hyperformer++ |" in text


def test_correlations_of_a_run(runs: Path) -> None:
    assert "gradient: each task" in good("correlate", "--run", "hyperformer++", "-w", runs).stdout


def test_options_belong_to_their_method(share: Share, tmp_path: Path) -> None:
    for method, option in (
        ("hyperformer", "--task-hidden-dim"),
        ("hyperformer", "--projected-task-embedding-dim"),
        ("shared", "--task-embedding-dim"),
        ("hyperformer++", "--max-growth"),
    ):
        refused(*share(tmp_path / "w", "--method", method, option, "8"), says=(f"{method} does not know {option}",))
    refused(*share(tmp_path / "w", "--method", "private", "--train-layer-norms"), says=("does not know",))
    refused(*share(tmp_path / "w", "--method", "hyperformer", "--task-embedding-dim", "0"), says=("at least 1",))
    assert not (tmp_path / "w").exists()


def test_sizes_are_those_of_the_paper_unless_given(share: Share, tmp_path: Path) -> None:
    assert method_settings("hyperformer++", {}) == HyperFormerPlusPlusSettings(
        task_embedding_dim=64, train_layer_norms=False, task_hidden_dim=128, projected_task_embedding_dim=64
    )
    assert method_settings("hyperformer", {}) == HyperFormerSettings(task_embedding_dim=64, train_layer_norms=False)
    sizes = ("--task-embedding-dim", "5", "--task-hidden-dim", "7", "--projected-task-embedding-dim", "6")
    good(*share(tmp_path / "w", "--method", "hyperformer++", *sizes, "--max-steps", "2"))
    saved = load_file(only(tmp_path, "w/train-share/*/hypernetwork.safetensors"))
    assert saved["network/projector.0.weight"].shape == (7, 15)
    assert saved["network/generator.weight"].shape[1] == 6


def test_their_learning_rate_is_smaller_unless_given(share: Share, tmp_path: Path) -> None:
    """With the usual one they fall apart; a method that is trained for another to attend over keeps its own."""
    arguments = list(share(tmp_path / "w", "--max-steps", "12"))
    place = arguments.index("--learning-rate")
    del arguments[place : place + 2]
    preset = ("--preset", "hyperformer-paper", "--adapter-config", "seq_bn", "--reduction-factor", "16")
    fusing = ("--fusion-over", "hyperformer++", "--fusion-learning-rate", "0.01")
    for method, more, rate in (
        ("hyperformer", (), 1e-4),
        ("hyperformer++", ("--learning-rate", "0.001"), 1e-3),
        ("hyperformer++", (*preset, "--max-steps", "3"), 3e-4),
        ("adapterfusion", fusing, 1e-4),
        ("shared", (), 1e-3),
    ):
        made = json.loads(good(*arguments, "--method", method, *more, "--json").stdout)["artefacts"][-1]
        assert made["info"]["training"]["learning_rate"] == rate, method
    runs = Workspace(tmp_path / "w").artefacts("train-share")
    assert 1e-4 in [run.info["training"]["learning_rate"] for run in runs if run.name == "hyperformer++"]


def test_the_published_preset_is_made_of_options() -> None:
    options = PRESETS["hyperformer-paper"].values(8, {})
    training = TrainingSettings(
        **{n: v for n, v in options.items() if n not in ("train_layer_norms", "max_seq_length")}
    )
    assert (training.adapter_config, training.reduction_factor) == ("double_seq_bn", 32)
    assert (training.learning_rate, training.max_steps, training.sampling_temperature) == (3e-4, 65536, 10)
    assert round(training.warmup_ratio * 65536) == 500


def test_the_measure_task_embedding_is_their_cosine(runs: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(runs, tmp_path / "workspace"))
    run = only(workspace, "train-share/hyperformer-*")
    good("correlate", "-w", workspace, "--run", run.name, "--measure", "task-embedding")
    table = pd.read_parquet(only(workspace, "correlate/task-embedding-*/correlation.parquet"))
    values = table[table["seed"].isna()].set_index(["source", "target"])["value"]
    vectors = pd.read_parquet(run / "embeddings.parquet").set_index("task")["embedding"]
    assert len(values) == 6
    for (source, target), value in values.items():
        one, two = (vectors[task].astype(float) for task in (source, target))
        assert value == pytest.approx(one @ two / np.sqrt((one @ one) * (two @ two)))
    assert values.nunique() == 3  # symmetric, and no two pairs alike


# --------------------------------------------------------------------------------------- their adapters in other runs

RATE = ("--fusion-learning-rate", "0.01")
SAME_SHAPE = ("--adapter-config", "double_seq_bn")


def start(share: Share, runs: Path, *more: str) -> tuple[Any, ...]:
    """A train-single of one update without effect: what it ends with is what it started from."""
    still = ("--learning-rate", "0", "--max-steps", "1", *SAME_SHAPE)
    return ("train-single", *share(runs, *still, *more, tasks="first")[1:])


def adapter(folder: Path, task: str) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / "tasks" / task / "adapter.safetensors")
    return {name.replace(f"adapters.{task}.", "adapters.first."): tensor for name, tensor in tensors.items()}


def test_a_new_task_starts_from_an_embedding(share: Share, runs: Path, tmp_path: Path) -> None:
    """From that of a task of the run, bit by bit, with its non-linearity and layer norm; or from a fresh one."""
    workspace = Path(shutil.copytree(runs, tmp_path / "w"))
    origin = only(workspace, "train-share/hyperformer++-*")
    ended = []
    for seed, more in (("0", ("--init", "score")), ("0", ()), ("1", ())):
        good(*start(share, workspace, "--from-run", origin.name, "--seed", seed, *more))
        found = Workspace(workspace).artefacts("train-single")
        ended.append(max((run.path for run in found), key=lambda path: path.stat().st_mtime))
    described = [
        json.loads((run / "tasks/first/adapter_config.json").read_text())["config"] for run in (origin, *ended)
    ]
    assert all(config == described[0] for config in described) and described[0]["ln_after"]
    theirs, copied, fresh, other = (
        adapter(run, task) for run, task in zip((origin, *ended), ("score", *["first"] * 3), strict=True)
    )
    assert theirs.keys() == copied.keys() == fresh.keys()
    assert all(torch.equal(theirs[name], copied[name]) for name in theirs)
    network, embeddings = load_hypernetwork(origin)
    for seed, tensors in enumerate((fresh, other)):
        written = network(fresh_embedding(len(embeddings["score"]), "first", seed))
        assert sorted(t.sum().item() for t in written.values()) == pytest.approx(
            sorted(t.sum().item() for t in tensors.values()), abs=1e-6
        )
        assert any(not torch.equal(tensors[name], theirs[name]) for name in theirs)


def test_starts_that_do_not_fit(share: Share, runs: Path) -> None:
    plus = ("--from-run", "hyperformer++")
    refused(*start(share, runs, *plus, "--init-head"), says=("--init-head needs --init", "first, score, second"))
    refused(*start(share, runs, *plus, "--init", "third"), says=("no task 'third'",))
    norms = ("--from-run", "hyperformer", "--adapter-config", "seq_bn")
    refused(*start(share, runs, *norms, "--init", "first"), says=("layer norms too", "--train-layer-norms"))


def test_fusion_attends_over_what_they_wrote(share: Share, runs: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(runs, tmp_path / "w"))
    origin = only(workspace, "train-share/hyperformer++-*")
    fusing = ("--method", "adapterfusion", "--fusion-over", origin.name, *RATE, *SAME_SHAPE)
    good(*without(share(workspace, *fusing), "--learning-rate"))  # that of stage one, which is there already
    fusion = only(workspace, "train-share/adapterfusion-*")
    for task in TASKS:
        for name in ("adapter_config.json", "adapter.safetensors"):
            theirs, ours = origin / "tasks" / task / name, fusion / "tasks" / "first" / "adapters" / task / name
            assert theirs.read_bytes() == ours.read_bytes()
    folders = tmp_path / "adapters"
    for task, run in (("first", origin), ("score", only(workspace, "train-share/hyperformer-*"))):
        shutil.copytree(run / "tasks" / task, folders / task)
    given = ("--method", "adapterfusion", "--adapters", folders, *RATE, *SAME_SHAPE)
    refused(*without(share(workspace, *given), "--learning-rate"), says=("The adapter has", str(folders)))
