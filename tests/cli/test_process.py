"""The program as processes: killed and interrupted ones, two at a time, and what goes to which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import ENVIRONMENT, SPLITTING, Share, good, hashed

SECONDS = 120  # a process that is not done by then is a failure
# Splits at updates 3 and 23: checkpoints have split groups to bring back, and the plan goes on changing after them.
LONG = ("--max-steps", "120", *SPLITTING, "--first-check", "3", "--check-every", "20")
# Generators, embeddings and layer norms have to come back.
GENERATED = ("--method", "hyperformer++", "--train-layer-norms", "--max-steps", "120", "--check-every", "20")


class Processes:
    """Starts the command line; what still runs at the end of a test is killed."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[str]] = []

    def start(self, *arguments: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "adaptershare_cli", *map(str, arguments)]
        # A shell that runs the tests in the background leaves SIGINT ignored; a user's Ctrl-C finds it at its default.
        process = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.all.append(process)
        return process


@pytest.fixture
def processes() -> Iterator[Processes]:
    found = Processes()
    yield found
    for process in found.all:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_checkpoint(process: subprocess.Popen[str], workspace: Path, after: int = 0, phase: str = "*/main") -> int:
    """Wait until a checkpoint of a later update stands; returns its update."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        steps = [int(path.parent.name[-8:]) for path in workspace.glob(f"checkpoints/{phase}-*/artefact.json")]
        if steps and max(steps) > after:
            return max(steps)
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no checkpoint came")


@pytest.mark.parametrize(("options", "changed"), [(LONG, {0, 3, 23}), (GENERATED, {0})], ids=["split", "generated"])
def test_killed_then_interrupted_then_finished(
    options: tuple[str, ...], changed: set[int], share: Share, tmp_path: Path, processes: Processes
) -> None:
    """The bytes of a run that was killed once and interrupted once are those of a run that went through."""
    workspace = tmp_path / "parts"
    arguments = share(workspace, *options, "--checkpoint-steps", "5")

    process = processes.start(*arguments)
    killed = wait_for_checkpoint(process, workspace)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL
    assert list(workspace.glob("train-share/.partial-*"))

    process = processes.start(*arguments)
    wait_for_checkpoint(process, workspace, after=killed + 5)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, error
    assert "goes on after update" in out and out.count("kept ") == 6
    assert "error: Stopped after update" in error and "Run the same command again" in error
    assert "Traceback" not in error
    assert not list(workspace.glob("train-share/.*")) and not list(workspace.glob("train-share/*"))

    reached = max(int(path.name[-8:]) for path in workspace.glob("checkpoints/*/main-*"))
    assert f"goes on after update {reached} of 120" in good(*arguments).stdout
    good(*share(tmp_path / "whole", *options))
    assert hashed(workspace) == hashed(tmp_path / "whole")
    (run,) = Workspace(workspace).artefacts("train-share")
    assert {row["step"] for row in run.table("sharing.parquet").to_pylist()} == changed


def test_adapterfusion_killed_in_both_stages(share: Share, tmp_path: Path, processes: Processes) -> None:
    """Killed while stage one trains, then in a later phase of stage two: the same bytes in the end."""
    workspace = tmp_path / "parts"
    long = ("--method", "adapterfusion", "--max-steps", "240", "--fusion-learning-rate", "0.01")
    arguments = share(workspace, *long, "--checkpoint-steps", "4")
    for phase in ("first-*/main", "adapterfusion-*/fusion-second"):
        process = processes.start(*arguments)
        wait_for_checkpoint(process, workspace, phase=phase)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=SECONDS)
        assert process.returncode == -signal.SIGKILL
        assert not list(workspace.glob("train-share/[!.]*"))
    assert "goes on after update" in good(*arguments).stdout
    good(*share(tmp_path / "whole", *long))
    assert hashed(workspace) == hashed(tmp_path / "whole")
    (run,) = Workspace(workspace).artefacts("train-share")
    assert {row["phase"] for row in run.table("steps.parquet").to_pylist()} == {
        f"fusion-{task}" for task in ("first", "second", "score")
    }


def test_streams(share: Share, tmp_path: Path, processes: Processes) -> None:
    """With --json, stdout holds one object and nothing of any library; without, errors alone go to stderr."""
    workspace = tmp_path / "w"
    process = processes.start(*share(workspace, "--max-steps", "3", "--json"))
    out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, error
    assert out.count("\n") == 1
    assert len(json.loads(out)["made"]) == 7
    assert error.count("made ") == 7 and "Warning" not in error

    process = processes.start("correlate", "-w", tmp_path / "empty")
    out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (2, "")
    assert error.startswith("error: There is no run in the workspace yet\n  where: ")


def test_two_processes_make_an_artefact_once(project: Path, tmp_path: Path, processes: Processes) -> None:
    places = ("--task-dir", project / "tasks", "--from", project / "data", "-w", tmp_path / "w", "--json")
    pair = [processes.start("download", "-t", "first,second,score", *places) for _ in range(2)]
    summaries = []
    for process in pair:
        out, error = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, error
        summaries.append(json.loads(out))
    made = summaries[0]["made"] + summaries[1]["made"]
    kept = summaries[0]["kept"] + summaries[1]["kept"]
    assert len(made) == 3 and sorted(made) == sorted(kept)
    assert len(Workspace(tmp_path / "w").artefacts("download")) == 3
    assert not list((tmp_path / "w").rglob(".partial-*"))


def test_a_second_process_waits_for_the_first(project: Path, tmp_path: Path, processes: Processes) -> None:
    arguments = ("download", "-t", "first", "--task-dir", project / "tasks", "--from", project / "data", "-w")
    good(*arguments, tmp_path / "other")
    (artefact,) = Workspace(tmp_path / "other").artefacts("download")
    with Workspace(tmp_path / "w").lock("download", "first", artefact.key, print):
        process = processes.start(*arguments, tmp_path / "w")
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"waiting for another process that makes download/first-{artefact.key}\n"
        assert process.poll() is None
    out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, error
    assert out.startswith(f"made  download/first-{artefact.key}")


def test_ctrl_c_while_waiting(project: Path, tmp_path: Path, processes: Processes) -> None:
    arguments = ("download", "-t", "first", "--task-dir", project / "tasks", "--from", project / "data", "-w")
    good(*arguments, tmp_path / "other")
    (artefact,) = Workspace(tmp_path / "other").artefacts("download")
    with Workspace(tmp_path / "w").lock("download", "first", artefact.key, print):
        process = processes.start(*arguments, tmp_path / "w")
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in error and "again" in error
