"""`compare`: runs side by side, paired by seed and row; what cannot be compared, and rows that tell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adaptershare_cli.runs.results import main_scores
from adaptershare_cli.store.artefact import read_artefact
from tests.cli.conftest import TASKS, Share, call, good, only, refused, snapshot, without, write_rows


@pytest.fixture(scope="module")
def several(trained: Path, share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside the adaptershare run shared ones of two seeds, and a task alone; tests read it only."""
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("several") / "workspace"))
    good(*share(root, "--method", "shared", "--seeds", "0,1", "--max-steps", "6"))
    alone = without(share(root, "--max-steps", "3"), "--tasks")
    good("train-single", "--tasks", "first", *alone[1:])
    return root


def compared(workspace: Path, a: Any, b: Any, *more: Any) -> dict[str, Any]:
    return json.loads(good("compare", a, b, "-w", workspace, "--json", *more).stdout)


def test_values_are_those_that_the_runs_were_scored_with(several: Path) -> None:
    before = snapshot(several, times=True)
    found = compared(several, "adaptershare", "shared")
    assert snapshot(several, times=True) == before
    a, (b, *_) = (sorted((several / "train-share").glob(f"{name}-*")) for name in ("adaptershare", "shared"))
    runs = {read_artefact(path).info["seed"]: path for path in (several / "train-share").glob("shared-*")}  # type: ignore[union-attr]
    sides = [main_scores(read_artefact(path)) for path in (a[0], runs[0])]  # type: ignore[arg-type]
    rows = {row["task"]: row for row in found["rows"]}
    assert [*rows] == [*TASKS, "all"]
    for task in TASKS:
        assert [rows[task]["a"], rows[task]["b"]] == pytest.approx([side[task] for side in sides])
        assert rows[task]["difference"] == pytest.approx(sides[0][task] - sides[1][task])
        assert rows[task]["low"] <= rows[task]["difference"] <= rows[task]["high"]
        assert rows[task]["rows"] == 12
    assert rows["first"]["p_value"] <= 1 and rows["score"].get("p_value") is None
    assert rows["all"]["difference"] == pytest.approx(sum(rows[task]["difference"] for task in TASKS) / 3)
    assert f"{TASKS[0]}: seeds that one side lacks are left out: 1" in found["notes"]
    assert b.name.startswith("shared")


def test_a_run_and_itself(several: Path) -> None:
    for word in ("adaptershare", "shared"):
        for row in compared(several, word, word)["rows"]:
            assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
            assert row.get("p_value") in (1.0, None) and len(row.get("seeds", [])) in (0, 1 + (word == "shared"))


def test_tasks_that_one_side_lacks_are_told(several: Path) -> None:
    found = compared(several, "adaptershare", "train-single/*")
    assert [row["task"] for row in found["rows"]] == ["first"] and sorted(found["refused"]) == ["score", "second"]
    text = good("compare", "adaptershare", "train-single/*", "-w", several).stdout
    assert "score: not compared: no run of 'train-single/*' has it" in text


def test_runs_of_other_seeds_are_a_pair_if_there_is_one_of_each(several: Path) -> None:
    paths = {read_artefact(path).info["seed"]: path for path in (several / "train-share").glob("shared-*")}  # type: ignore[union-attr]
    found = compared(several, paths[0], paths[1])
    assert "first: the runs have different seeds (0 and 1)" in found["notes"]


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_rows_that_flipped(several: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"flips of ü.{form}"
    found = compared(several, "adaptershare", "shared", "--output", file)
    readers = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda path: pd.read_json(path, lines=True)}
    flips = readers[form](file)
    for row in found["rows"][:2]:
        own = flips[flips["task"] == row["task"]]
        assert (own["better"] == "a").sum() == row["only_a"] and (own["better"] == "b").sum() == row["only_b"]
        assert ((own["a"] == own["label"]) == (own["better"] == "a")).all()
    texts = pd.read_parquet(only(several, "download/score-*") / "dev.parquet").set_index("row")["text"]
    scores = flips[flips["task"] == "score"]
    assert len(scores) > 5 and (scores["text"].to_numpy() == texts[scores["row"]].to_numpy()).all()


def test_flips_are_shown(several: Path) -> None:
    text = good("compare", "adaptershare", "shared", "-w", several, "--flips", 2, "--task", "score").stdout
    assert text.count("│ score") == 3


def test_other_data_is_refused(share: Share, several: Path, own_project: Path, tmp_path: Path) -> None:
    """A run of the same tasks by name, whose rows are others: what they have in common is compared."""
    workspace = Path(shutil.copytree(several, tmp_path / "w"))
    write_rows(own_project / "data" / "set" / "first-dev.csv", ("bad", "good"), 12, "others")
    good(*share(workspace, "--max-steps", "2", "--method", "private", root=own_project))
    found = compared(workspace, "adaptershare", "private")
    assert [row["task"] for row in found["rows"]] == ["second", "score", "all"]
    assert "other data: " in found["refused"]["first"]["what"]
    says = ("first cannot be compared: other data",)
    refused("compare", "adaptershare", "private", "-w", workspace, "--task", "first", says=says)


def test_bad_words(several: Path, tmp_path: Path) -> None:
    refused("compare", "adaptershare", "x", "-w", several, says=("No run matches 'x'",))
    refused("compare", "*", "shared", "-w", several, says=("names two runs of", "with seed 0"))
    refused("compare", "adaptershare", "shared", "-w", several, "--task", "frist", says=("Did you mean `first`",))
    refused("compare", "adaptershare", "shared", "-w", several, "-o", tmp_path / "x.png", says=("--output",))
    refused("compare", "adaptershare", "shared", "-w", tmp_path / "none", says=("No run matches",))
    assert not list(tmp_path.iterdir())


def test_without_the_prepared_rows(several: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(several, tmp_path / "w"))
    shutil.rmtree(workspace / "prepro")
    found = compared(workspace, "adaptershare", "shared", "--output", tmp_path / "flips.csv")
    assert len(found["rows"]) == 4 and any("the prepared rows are gone" in note for note in found["notes"])
    assert pd.read_csv(tmp_path / "flips.csv")["text"].isna().all()


def test_a_damaged_run_among_whole_ones_is_left_out(several: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(several, tmp_path / "w"))
    runs = {read_artefact(path).info["seed"]: path for path in (workspace / "train-share").glob("shared-*")}  # type: ignore[union-attr]
    (runs[1] / "metrics.parquet").unlink()
    result = call("compare", "adaptershare", "shared", "-w", workspace, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"] == 1 and "metrics.parquet is missing" in found["damaged"][0]["what"]
    assert [row["task"] for row in found["rows"]] == [*TASKS, "all"]
    refused("compare", "adaptershare", runs[1].name, "-w", workspace, says=("metrics.parquet is missing",))
