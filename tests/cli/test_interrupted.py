"""What goes wrong on the way: interruptions, damage, leftovers, and runs that fail."""

from __future__ import annotations

import errno
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adaptershare_cli.cli.app import app
from adaptershare_cli.commands import prepro as prepro_stage
from adaptershare_cli.kinds.metrics import modules
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.store import workspace as workspace_module
from adaptershare_cli.training import loop
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


def test_what_fails_after_the_last_update_costs_no_training(
    share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is, and wherever it happens, the next call goes on after the last update."""
    arguments = share(tmp_path / "w", "--method", "shared", "--max-steps", "2")
    good(*share(tmp_path / "unbroken", "--method", "shared", "--max-steps", "2"))
    failures = [
        (loop, "prediction_rows", KeyboardInterrupt(), 130),
        (loop, "prediction_rows", OSError(errno.EACCES, "Permission denied"), 1),
        (loop, "prediction_rows", ArithmeticError("a fault of the program"), None),
        (PlannedMethod, "export", MemoryError(), None),
        (PlannedMethod, "export", OSError(errno.ENOSPC, "No space left on device"), 1),
        (workspace_module, "swap_in", OSError(errno.EIO, "Input/output error"), 1),
        (workspace_module, "seal", KeyboardInterrupt(), 130),
    ]
    for number, (place, name, error, code) in enumerate(failures):
        with monkeypatch.context() as patch:
            broken = fails_for_runs(getattr(place, name), error)
            patch.setattr(place, name, broken)
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        ended = type(result.exception) is type(error) if code is None else result.exit_code == code
        assert ended, (number, name, result.exit_code, result.exception, result.output)
        assert ("goes on after update 2 of 2" in result.stdout) == (number > 0)
        assert len(list((tmp_path / "w").glob("checkpoints/*/main-00000002"))) == 1
    assert "goes on after update 2 of 2" in good(*arguments).stdout
    assert hashed(tmp_path / "w") == hashed(tmp_path / "unbroken")


def fails_for_runs(function: Callable, error: BaseException) -> Callable:
    """The function, but for what is published of a run."""

    def broken(*given: Any, **options: Any) -> Any:
        stage = given[0].get("stage", "") if given and isinstance(given[0], dict) else str(given[-1])
        if stage.startswith("checkpoints/") or "/checkpoints/" in stage:
            return function(*given, **options)
        raise error

    return broken


def test_a_metric_that_cannot_be_had_is_found_before_the_first_update(
    share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/home/cache")

    arguments = share(tmp_path / "w", "--method", "shared", "--max-steps", "2")
    with monkeypatch.context() as patch:
        patch.setattr(modules, "module_of", nowhere)
        patch.setattr(loop.Trainer, "run", pytest.fail)
        result = call(*arguments)
    assert result.exit_code == 1 and "Permission denied" in result.stderr and "/home/cache" in result.stderr


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
    def stop(*arguments: Any, **options: Any) -> None:
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
    assert "No space left on device" in result.stderr and "publish adaptershare-" in result.stderr
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
