"""What is moved goes on working: a whole workspace in another place, and one run's folder in another workspace."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adaptershare_cli import Workspace
from adaptershare_cli.store.artefact import read_artefact
from tests.cli.conftest import NOTHING, SPLITTING, TASKS, Share, call, good, hashed, interrupt_at, only, refused


@pytest.fixture
def moved(workspace: Path, tmp_path: Path) -> Path:
    """The trained workspace where it was not made, and no more where it was."""
    target = tmp_path / "ein anderer Ort" / "Arbeits fläche"
    target.parent.mkdir()
    return workspace.rename(target)


def predicted(run: Any, *words: Any, file: Path) -> pd.DataFrame:
    """What a run says of two texts."""
    (file.parent / "texts.txt").write_text("a good film\nawful food\n")
    good("predict", run, "--input", file.parent / "texts.txt", "-o", file, "--threads", 1, *words)
    return pd.read_parquet(file)


def test_a_moved_workspace_goes_on(
    share: Share, trained: Path, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashed(moved)
    for words in (share(moved, *SPLITTING), ("correlate", "--plot", "-w", moved), ("report", "-w", moved)):
        assert NOTHING in good(*words).stdout
    states = json.loads(good("status", "-w", moved, "--verify", "--json").stdout)["artefacts"]
    assert {row["state"] for row in states} == {"whole"}
    assert all(shlex.split(row["command"])[-1] == str(moved) for row in states)
    run = only(moved, "train-share/*")
    expected = predicted(only(trained, "train-share/*"), "-w", trained, file=tmp_path / "there.parquet")
    pd.testing.assert_frame_equal(predicted(run.name, "-w", moved, file=tmp_path / "here.parquet"), expected)
    assert hashed(moved) == before

    # A link to a workspace is one, and so is a relative path.
    (tmp_path / "link").symlink_to(moved)
    assert NOTHING in good(*share(tmp_path / "link", *SPLITTING)).stdout
    monkeypatch.chdir(moved.parent)
    assert NOTHING in good(*share(Path(moved.name), *SPLITTING)).stdout


def test_an_interrupted_training_goes_on_where_it_was_moved_to(
    share: Share, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--method", "shared", "--checkpoint-steps", "2")
    whole = Path(shutil.copytree(workspace, tmp_path / "whole"))
    good(*share(whole, *words))
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert call(*share(workspace, *words)).exit_code == 130
    target = tmp_path / "ü x"
    workspace.rename(target)
    assert "goes on after update 5" in good(*share(target, *words)).stdout
    assert hashed(target) == hashed(whole)


def test_the_data_may_be_gone(own_project: Path, share: Share, tmp_path: Path) -> None:
    """What was downloaded stands for the source that the workspace remembers."""
    first = tmp_path / "first place"
    good(*share(first, "--max-steps", "2", root=own_project))
    target = first.rename(tmp_path / "second place")
    shutil.rmtree(own_project / "data")
    words = list(share(target, "--max-steps", "2", root=own_project))
    place = words.index("--from")
    assert NOTHING in good(*words[:place], *words[place + 2 :]).stdout


def test_a_run_in_another_workspace(share: Share, trained: Path, tmp_path: Path, encoder: Path) -> None:
    other, run = tmp_path / "other ü", only(trained, "train-share/*")
    shutil.copytree(run, other / "train-share" / run.name)
    expected = predicted(run, "-w", trained, file=tmp_path / "there.parquet")
    pd.testing.assert_frame_equal(predicted("adaptershare", "-w", other, file=tmp_path / "here.parquet"), expected)
    good("export", "adaptershare", "-w", other, "--to", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(TASKS)
    for task in TASKS:
        weights = "adapter.safetensors"
        assert (tmp_path / "out" / task / weights).read_bytes() == (run / "tasks" / task / weights).read_bytes()
    good("report", "-w", other)
    results = pd.read_parquet(other / "report" / "results.parquet")
    assert {*results["task"]} == {*TASKS} and {*results["run"]} == {run.name}
    rows = json.loads(good("ls", "-w", other, "--json").stdout)["runs"]
    assert [row["name"] for row in rows] == [f"train-share/{run.name}"]

    # With a run of that workspace, whose prepared rows are the same, and with one of rows that are not there.
    good(*share(other, "--method", "shared", "--max-steps", "2"))
    found = json.loads(good("compare", "adaptershare", "shared", "-w", other, "--json").stdout)
    assert [row["task"] for row in found["rows"]] == [*TASKS, "all"] and not found["refused"]
    others = share(other, "--method", "private", "--max-steps", "2", "--heldout-size", "4")
    good(*others)
    found = json.loads(good("compare", "private", "shared", "-w", other, "--json").stdout)
    assert [row["task"] for row in found["rows"]] == [*TASKS, "all"]
    alone = tmp_path / "alone"
    for path in (run, only(other, "train-share/private-*")):
        shutil.copytree(path, alone / "train-share" / path.name)
    refused("compare", "adaptershare", "private", "-w", alone, says=("prepared rows are not the same", "some are gone"))
    artefact = read_artefact(alone / "train-share" / run.name)
    assert artefact is not None and shlex.split(artefact.command)[-1] == str(alone)
    assert not (alone / "prepro").exists()


def test_rows_of_ones_own_move_with_their_workspace(tmp_path: Path, encoder: Path) -> None:
    rows = pd.DataFrame({"text": [f"a film {n}" for n in range(40)], "label": ["x", "y"] * 20})
    first = tmp_path / "first"
    options: dict[str, Any] = {"model": encoder, "max_seq_length": 64}
    Workspace(first, quiet=True).prepro({"mine": rows}, **options)
    target = first.rename(tmp_path / "second ü")
    before = hashed(target)
    there = Workspace(target, quiet=True)
    path = there.prepro({"mine": rows}, **options)["mine"]
    assert hashed(target) == before
    artefact = read_artefact(path)
    assert artefact is not None
    command = artefact.command
    shutil.rmtree(path)
    good(*shlex.split(command)[1:])
    assert hashed(target) == before
