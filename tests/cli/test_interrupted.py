"""What goes wrong on the way: interruptions, damage, leftovers, and runs that fail."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.commands import prepro as prepro_stage
from tests.cli.conftest import (
    NOTHING,
    SPLITTING,
    Share,
    call,
    flip_byte,
    good,
    hashed,
    interrupt_at,
    only,
    refused,
    snapshot,
)


@pytest.mark.parametrize("step", [1, 4, 9])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    step: int, share: Share, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = share(tmp_path / "w", *SPLITTING, "--checkpoint-steps", "1")
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        result = call(*arguments)
    assert result.exit_code == 130
    assert f"Stopped after update {step + 1} of 10" in result.stderr
    assert "Run the same command again" in result.stderr
    assert not list((tmp_path / "w").glob("train-share/*"))
    points = only(tmp_path, "w/checkpoints/*")
    assert sorted(path.name for path in points.iterdir()) == [f"main-{n:08d}" for n in (step, step + 1)]
    result = good(*arguments)
    assert f"goes on after update {step + 1} of 10" in result.stdout
    assert not points.exists()
    train = {name: digest for name, digest in hashed(trained).items() if name.startswith("train-share/")}
    assert {n: digest for n, digest in hashed(tmp_path / "w").items() if n.startswith("train-share/")} == train


def test_best_step_survives_an_interruption(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = ("--load-best-model-at-end", "--eval-steps", "2", "--checkpoint-steps", "3", *SPLITTING)
    good(*share(tmp_path / "whole", *best))
    with monkeypatch.context() as patch:
        interrupt_at(6, patch)
        assert call(*share(tmp_path / "parts", *best)).exit_code == 130
    good(*share(tmp_path / "parts", *best))
    assert hashed(tmp_path / "parts") == hashed(tmp_path / "whole")


def test_force_forgets_checkpoints(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = share(tmp_path / "w", "--checkpoint-steps", "2")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        call(*arguments)
    assert "goes on" not in good(*arguments, "--force").stdout


def test_a_damaged_checkpoint_is_refused(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = share(tmp_path / "w", "--checkpoint-steps", "2")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        call(*arguments)
    folder = only(tmp_path, "w/checkpoints/*/*5")
    flip_byte(folder / "tensors.safetensors", -3)
    text = refused(*arguments, says=("tensors.safetensors", str(folder), "Delete the folder, then run: "))
    words = shlex.split(text.partition("then run: ")[2])[1:]
    assert words[-2:] == ["--workspace", str(tmp_path / "w")]
    shutil.rmtree(folder)
    assert "goes on after update 4 of 10" in good(*words).stdout


def test_ctrl_c_outside_training(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepro_stage, "prepare_task", stop)
        result = call(*share(tmp_path / "w"))
    assert result.exit_code == 130
    assert "again" in result.stderr
    assert not list((tmp_path / "w" / "prepro").iterdir())
    good(*share(tmp_path / "w", "--max-steps", "2"))


@pytest.mark.parametrize("place", [5, 200, -5])
def test_a_damaged_artefact_is_refused(place: int, share: Share, workspace: Path) -> None:
    file = only(workspace, "prepro/second-*/heldout.parquet")
    flip_byte(file, place)
    before = snapshot(workspace)
    refused(
        *share(workspace, "--seed", "5"), says=("heldout.parquet", str(file.parent), "SHA-256", "Delete the folder")
    )
    assert snapshot(workspace) == before


def test_damaged_runs_are_refused_by_correlate_and_report(workspace: Path) -> None:
    run = only(workspace, "train-share/*/artefact.json").parent
    shutil.rmtree(workspace / "correlate")
    shutil.rmtree(workspace / "report")
    for name, command, place in (("interference.parquet", "correlate", -60), ("metrics.parquet", "report", 300)):
        flip_byte(run / name, place)
        refused(command, "-w", workspace, says=(name, str(run)))
        assert not list(workspace.glob(f"{command}/*"))
        flip_byte(run / name, place)


def test_leftovers_of_a_killed_process(share: Share, workspace: Path) -> None:
    before = snapshot(workspace)
    run = only(workspace, "train-share/*/artefact.json").parent
    prepared = only(workspace, "prepro/first-*/artefact.json").parent
    partial = run.with_name(f".partial-{run.name}")
    partial.mkdir()
    (partial / "steps.parquet").write_bytes(b"half")
    prepared.rename(prepared.with_name(f".aside-{prepared.name}"))  # killed between the two renames
    assert "taken train-share/adaptershare-" in good("correlate", "-w", workspace).stdout
    assert NOTHING in good(*share(workspace, *SPLITTING)).stdout
    assert snapshot(workspace) == before
    assert not [path for path in workspace.rglob(".*-*") if path.is_dir()]


def test_a_run_that_fails_leaves_the_old_one(share: Share, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(workspace)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        result = call(*share(workspace, *SPLITTING, "--force"))
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr and "train-share/adaptershare-" in result.stderr
    assert snapshot(workspace) == before
    assert NOTHING in good(*share(workspace, *SPLITTING)).stdout


def test_a_loss_that_is_not_finite(share: Share, tmp_path: Path) -> None:
    result = call(*share(tmp_path / "w", "--learning-rate", "1e30", "--max-grad-norm", "0"))
    assert result.exit_code == 1
    assert "not finite" in result.stderr and "--learning-rate" in result.stderr and "update" in result.stderr
    assert "Traceback" not in result.output
    assert not list((tmp_path / "w").glob("train-share/*"))


def test_ties_are_told_as_such(share: Share, tmp_path: Path) -> None:
    good(*share(tmp_path / "w", "--method", "shared"))
    printed = good("correlate", "--measure", "plan", "-w", tmp_path / "w").stdout
    assert printed.count("all 2 others") == 3
    good(*share(tmp_path / "w", "--method", "private"))
    printed = good("correlate", "--measure", "plan", "--run", "private", "-w", tmp_path / "w").stdout
    assert printed.count("none") == 3 and "null 95" not in printed
