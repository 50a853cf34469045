"""The program as processes: killed and interrupted ones, two at a time, and what goes to which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.training.checkpoint import Checkpoint
from tests.cli.conftest import ENVIRONMENT, SPLITTING, Share, call, good, hashed
from tests.faults.processes import Command, send_at

# Splits at updates 3 and 13: checkpoints have split groups to bring back, and the plan goes on changing after them.
LONG = ("--max-steps", "24", *SPLITTING, "--first-check", "3", "--check-every", "10")
# Generators, embeddings and layer norms have to come back.
GENERATED = ("--method", "hyperformer++", "--train-layer-norms", "--max-steps", "24", "--check-every", "10")
SAVED = ("adaptershare_cli.runs.checkpoints", "CheckpointStore.save")
Start = Callable[..., Command]


@pytest.fixture
def start(command_server: None, tmp_path: Path) -> Start:
    """Starts a command line; with `at`, what `send_at` takes, it sends itself a signal there."""

    def started(arguments: tuple[Any, ...], at: tuple[Any, ...] = ()) -> Command:
        log = tmp_path / f"{len(Command.all)}.log"
        return Command(log, arguments, *((send_at, *at) if at else ()))

    return started


@pytest.mark.parametrize(("options", "changed"), [(LONG, {0, 3, 13}), (GENERATED, {0})], ids=["split", "generated"])
def test_killed_then_interrupted_then_finished(
    options: tuple[str, ...], changed: set[int], share: Share, tmp_path: Path, start: Start
) -> None:
    """The bytes of a run that was killed once and interrupted once are those of a run that went through."""
    workspace = tmp_path / "parts"
    arguments = share(workspace, *options, "--checkpoint-steps", "3")

    assert start(arguments, (*SAVED, 3, signal.SIGKILL)).wait() == -signal.SIGKILL  # after update 6
    assert list(workspace.glob("train-share/.partial-*"))

    stopped = start(arguments, (*SAVED, 3, signal.SIGINT))
    assert stopped.wait() == 130, stopped.output
    assert "goes on after update 6 of 24" in stopped.output and len(stopped.lines("kept ")) == 6
    assert "error: Stopped after update" in stopped.output and "Run the same command again" in stopped.output
    assert "Traceback" not in stopped.output
    assert not list(workspace.glob("train-share/.*")) and not list(workspace.glob("train-share/*"))

    reached = max(int(path.name[-8:]) for path in workspace.glob("checkpoints/*/main-*"))
    assert reached > 6 and f"goes on after update {reached} of 24" in good(*arguments).stdout
    good(*share(tmp_path / "whole", *options))
    assert hashed(workspace) == hashed(tmp_path / "whole")
    (run,) = Workspace(workspace).artefacts("train-share")
    assert {row["step"] for row in run.table("sharing.parquet").to_pylist()} == changed


def kill_in(phase: str) -> None:
    """In a command's process: kill it once a checkpoint of that phase stands."""
    save = CheckpointStore.save

    def saving(self: CheckpointStore, checkpoint: Checkpoint) -> None:
        save(self, checkpoint)
        if checkpoint.phase == phase:
            os.kill(os.getpid(), signal.SIGKILL)

    CheckpointStore.save = saving  # type: ignore[method-assign]


def test_adapterfusion_killed_in_both_stages(share: Share, tmp_path: Path, command_server: None) -> None:
    """Killed while stage one trains, then in a later phase of stage two: the same bytes in the end."""
    workspace = tmp_path / "parts"
    long = ("--method", "adapterfusion", "--max-steps", "48", "--fusion-learning-rate", "0.01")
    arguments = share(workspace, *long, "--checkpoint-steps", "2")
    for number, phase in enumerate(("main", "fusion-second")):
        killed = Command(tmp_path / f"{number}.log", arguments, kill_in, phase)
        assert killed.wait() == -signal.SIGKILL, killed.output
        assert list(workspace.glob(f"checkpoints/*/{phase}-*/artefact.json"))
        assert not list(workspace.glob("train-share/[!.]*"))
    assert "goes on after update" in good(*arguments).stdout
    good(*share(tmp_path / "whole", *long))
    assert hashed(workspace) == hashed(tmp_path / "whole")
    (run,) = Workspace(workspace).artefacts("train-share")
    assert {row["phase"] for row in run.table("steps.parquet").to_pylist()} == {
        f"fusion-{task}" for task in ("first", "second", "score")
    }


def test_streams(share: Share, tmp_path: Path) -> None:
    """A process of its own: with --json, stdout holds one object and nothing of any library, stderr all else."""
    environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words = [*map(str, share(tmp_path / "w", "--max-steps", "3", "--json"))]
    command = [sys.executable, "-m", "adaptershare_cli", *words]
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert len(json.loads(done.stdout)["made"]) == 7
    assert done.stderr.count("made ") == 7 and "Warning" not in done.stderr


def test_errors_go_to_stderr(tmp_path: Path) -> None:
    done = call("correlate", "-w", tmp_path / "empty")
    assert done.exit_code == 2 and all(line.startswith("taken ") for line in done.stdout.splitlines())
    assert done.stderr.startswith("error: There is no run in the workspace yet\n  where: ")


def test_two_processes_make_an_artefact_once(project: Path, tmp_path: Path, start: Start) -> None:
    places = ("--task-dir", project / "tasks", "--from", project / "data", "-w", tmp_path / "w", "--json")
    pair = [start(("download", "-t", "first,second,score", *places)) for _ in range(2)]
    summaries = []
    for process in pair:
        assert process.wait() == 0, process.output
        summaries.append(json.loads(process.lines('{"')[0]))
    made = summaries[0]["made"] + summaries[1]["made"]
    kept = summaries[0]["kept"] + summaries[1]["kept"]
    assert len(made) == 3 and sorted(made) == sorted(kept)
    assert len(Workspace(tmp_path / "w").artefacts("download")) == 3
    assert not list((tmp_path / "w").rglob(".partial-*"))


def test_a_second_process_waits_for_the_first(project: Path, tmp_path: Path, start: Start) -> None:
    arguments = ("download", "-t", "first", "--task-dir", project / "tasks", "--from", project / "data", "-w")
    good(*arguments, tmp_path / "other")
    (artefact,) = Workspace(tmp_path / "other").artefacts("download")
    with Workspace(tmp_path / "w").lock("download", "first", artefact.key, print):
        process = start((*arguments, tmp_path / "w"))
        process.wait_for(f"waiting for another process that makes download/first-{artefact.key}\n")
    assert process.wait() == 0, process.output
    assert process.lines(f"made  download/first-{artefact.key}")


def test_ctrl_c_while_waiting(project: Path, tmp_path: Path, start: Start) -> None:
    arguments = ("download", "-t", "first", "--task-dir", project / "tasks", "--from", project / "data", "-w")
    good(*arguments, tmp_path / "other")
    (artefact,) = Workspace(tmp_path / "other").artefacts("download")
    with Workspace(tmp_path / "w").lock("download", "first", artefact.key, print):
        process = start((*arguments, tmp_path / "w"))
        process.wait_for("waiting for another process")
        process.send(signal.SIGINT)
        assert process.wait() == 130
    assert "Traceback" not in process.output and "again" in process.output
