"""`--jobs`: several trainings at once make what one after the other makes, and each end of theirs is told here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.errors import AdapterShareError, RunError, UserError
from adaptershare_cli.runs.executors import processes
from adaptershare_cli.runs.executors.processes import Processes
from tests.cli.conftest import ENVIRONMENT, SEARCH, Share, call, good, hashed, kept, made
from tests.faults.processes import ROOT

JOBS = ("--jobs", "2")


def test_trainings_at_once_make_the_same_bytes(
    share: Share, searched: Path, tmp_path: Path, command_server: None
) -> None:
    output = good(*share(tmp_path / "w", *SEARCH, *JOBS)).stdout
    assert hashed(tmp_path / "w") == hashed(searched)
    assert len(made(output)) == len(set(made(output))) == len(snapshot_of_artefacts(tmp_path / "w"))
    again = good(*share(tmp_path / "w", *SEARCH, *JOBS)).stdout
    assert not made(again) and kept(again)


def snapshot_of_artefacts(workspace: Path) -> list[Path]:
    return [file.parent for file in workspace.glob("*/*/artefact.json")]


def test_seeds_are_trained_at_once_and_what_is_there_is_kept(
    share: Share, workspace: Path, command_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    fill = Processes._fill

    def counted(self: Processes) -> None:
        nonlocal most
        fill(self)
        most = max(most, len(self.running))

    monkeypatch.setattr(Processes, "_fill", counted)
    good(*share(workspace, "--method", "shared", "--seeds", "0"))
    result = good(*share(workspace, "--method", "shared", "--seeds", "0,1,2,3", *JOBS))
    assert len([label for label in made(result.stdout) if label.startswith("train-share/shared")]) == 3
    assert len([label for label in kept(result.stdout) if label.startswith("train-share/shared")]) == 1
    assert most == 2


@pytest.mark.parametrize(
    ("fails", "raised", "says"),
    [
        ("raise UserError('no such thing', 'there', 'mend it')", UserError, "no such thing (there) mend it"),
        ("raise KeyError('x')", RunError, "KeyError: 'x'"),
        ("os.kill(os.getpid(), signal.SIGKILL)", RunError, "ended with -9"),
    ],
)
def test_how_a_training_ends_badly_is_told(
    fails: str, raised: type[AdapterShareError], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = processes.StageContext(processes.Workspace(tmp_path / "w"), reporter=None)  # type: ignore[arg-type]
    monkeypatch.setattr(processes, "_processes", lambda: Thread)
    monkeypatch.setattr(processes, "find_run", lambda *_: None)
    executor = Processes(context, 2)
    job: Any = type("Job", (), {"again": False, "name": fails, "seed": 0, "stage": "groups"})()
    first = executor.submit(job)
    with pytest.raises(raised) as found:
        first.result()
    assert says in str(found.value)
    assert not executor.running


class Thread:
    """A process, forked here, whose job is to run a line of Python."""

    def __init__(self, target: Any, args: tuple, daemon: bool) -> None:
        self.args = args
        self.pid = 0
        self.exitcode: int | None = None

    Process: Any = None

    def start(self) -> None:
        self.pid = os.fork()
        if not self.pid:
            connection, *given = self.args
            _train_in_words(connection, *given)
            os._exit(0)

    def join(self) -> None:
        if self.exitcode is None:
            self.exitcode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


Thread.Process = Thread


def _train_in_words(*given: Any) -> None:
    def run(context: Any, job: Any) -> None:
        exec(job.name, {"UserError": UserError, "os": os, "signal": signal})

    processes.train_run = run
    processes._train(*given)


@pytest.mark.skipif(
    "ADAPTERSHARE_ROUNDING" in os.environ, reason="a real command's processes round as the processor does"
)
def test_a_stopped_command_stops_its_trainings_and_goes_on(share: Share, searched: Path, tmp_path: Path) -> None:
    """The checkpoints of all that run are saved, and the end is the same."""
    workspace = tmp_path / "w"
    words = [str(word) for word in share(workspace, *SEARCH, *JOBS, "--checkpoint-steps", "1")]
    with subprocess.Popen(
        [sys.executable, "-m", "adaptershare_cli", *words], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background may ignore it
    ) as process:  # fmt: skip
        wait_for_checkpoint(workspace, process)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output
    assert "Traceback" not in output and "Run the same command again" in output
    good(*share(workspace, *SEARCH))
    assert hashed(workspace) == hashed(searched)


def wait_for_checkpoint(workspace: Path, process: subprocess.Popen) -> None:
    """Until a training that was not there saves its first checkpoint."""
    seen = {*workspace.glob("checkpoints*/**/artefact.json"), *workspace.glob(".*/**/artefact.json")}
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if {*workspace.glob("checkpoints*/**/artefact.json")} - seen:
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was saved")


def test_jobs_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from adaptershare_cli.runs import runtime
    from adaptershare_cli.settings import RuntimeSettings

    monkeypatch.setattr(runtime, "cores", lambda: 8)
    for jobs, threads in ((1, 8), (3, 2), (8, 1), (20, 1)):
        assert runtime.resolve_runtime(RuntimeSettings("cpu", "fp32", jobs=jobs)).threads == threads
    assert runtime.resolve_runtime(RuntimeSettings("cpu", "fp32", threads=5, jobs=2)).threads == 5


def test_jobs_are_at_least_one(share: Share, tmp_path: Path) -> None:
    result = call(*share(tmp_path / "w", "--jobs", "0"))
    assert result.exit_code == 2 and "--jobs" in result.stderr
