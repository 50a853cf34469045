"""Two processes, one workspace: the second waits or, with --no-wait, fails; the dead hold nothing; readers read."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from adaptershare_cli.store.artefact import read_artefact
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import only
from tests.faults.conftest import Project, exact, leftovers
from tests.faults.processes import Command, send_at

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, to see a process stop")
WRITING = ["download", "prepro", "train-single", "train-share adaptershare", "correlate", "report"]
# Stops (as Ctrl-Z does) a process that is making an artefact, so that it holds the lock for as long as a test wants.
HELD = {
    "download": ("adaptershare_cli.commands.download", "read_task", 1),
    "prepro": ("adaptershare_cli.commands.prepro", "prepare_task", 1),
    "train-single": ("adaptershare_cli.training.optimizer", "Optimizer.step", 5),
    "train-share adaptershare": ("adaptershare_cli.training.optimizer", "Optimizer.step", 5),
    "correlate": ("adaptershare_cli.studies.correlation", "summarise", 1),
    "report": ("adaptershare_cli.commands.report", "result_rows", 1),
}


def holder(stage: str, project: Project, workspace: Path, *more: str) -> Command:
    """A process that is in the midst of making the stage's artefact, and stopped there."""
    command = project.run(stage, workspace, *more, prepare=(send_at, *HELD[stage], signal.SIGSTOP))
    command.wait_until_stopped()
    return command


@pytest.mark.parametrize("stage", WRITING)
def test_the_second_waits_or_fails(stage: str, project: Project, place: Path) -> None:
    workspace = project.start_of(stage, place / "w")
    first = holder(stage, project, workspace)

    hasty = project.run(stage, workspace, "--no-wait")
    assert hasty.wait() == 1
    assert "error: Another process is making " in hasty.output and "--no-wait" in hasty.output
    assert "Traceback" not in hasty.output and hasty.output.count("error:") == 1

    patient = project.run(stage, workspace)
    patient.wait_for("waiting for another process that makes ")
    first.send(signal.SIGCONT)
    assert (first.wait(), patient.wait()) == (0, 0), first.output + patient.output
    made = [*first.labels("made"), *patient.labels("made")]
    assert len(set(made)) == len(made)
    waited = {line.split()[-1] for line in patient.lines("waiting for another process that makes ")}
    assert waited <= set(first.labels("made")) and waited <= set(patient.labels("kept"))
    assert exact(workspace) == project.unbroken(stage)[0] and not leftovers(workspace)


@pytest.mark.parametrize("stage", WRITING)
def test_a_dead_holders_lock_is_taken_over(stage: str, project: Project, place: Path) -> None:
    workspace = project.start_of(stage, place / "w")
    first = holder(stage, project, workspace)
    waiting = project.run(stage, workspace)
    waiting.wait_for("waiting for another process that makes ")
    first.send(signal.SIGKILL)
    assert (first.wait(), waiting.wait()) == (-signal.SIGKILL, 0), waiting.output
    assert exact(workspace) == project.unbroken(stage)[0] and not leftovers(workspace)


def test_a_dead_holder_is_not_waited_for(project: Project, place: Path) -> None:
    workspace = project.start_of("prepro", place / "w")
    first = holder("prepro", project, workspace)
    first.send(signal.SIGKILL)
    first.wait()
    second = project.finished("prepro", workspace, "--no-wait")
    assert not second.lines("waiting")


def test_readers_are_never_blocked(project: Project, place: Path) -> None:
    """While a run is being made again, with every lock of the workspace held too, all that only reads it goes on."""
    workspace = Path(shutil.copytree(project.trained, place / "w"))
    shutil.rmtree(workspace / "correlate")
    forced = holder("train-share adaptershare", project, workspace, "--force")
    run = only(workspace, "train-share/adaptershare-*")
    found = read_artefact(run)
    assert found is not None
    space = Workspace(workspace)
    for stage in ("download", "prepro"):
        for artefact in space.artefacts(stage):
            lock = space.lock(stage, artefact.name, artefact.key, pytest.fail)
            lock.__enter__()
    for stage in ("correlate", "report"):
        assert f"train-share/{run.name}" in project.finished(stage, workspace, "--no-wait").output or stage == "report"
    status = Command(place / "status.log", ("status", "--verify", "-w", workspace))
    assert status.wait() == 0, status.output
    assert "being made now" in status.output and "its run goes on now" in status.output
    forced.send(signal.SIGCONT)
    assert forced.wait() == 0, forced.output


def test_other_artefacts_go_on_beside(project: Project, place: Path) -> None:
    workspace = project.start_of("train-share shared", place / "w")
    first = holder("train-share adaptershare", project, workspace)
    project.finished("train-share shared", workspace, "--no-wait")
    first.send(signal.SIGCONT)
    assert first.wait() == 0, first.output
    names = {path.name.split("-")[0] for path in (workspace / "train-share").iterdir()}
    assert names == {"adaptershare", "shared"} and not leftovers(workspace)


def test_leftovers_are_cleared_only_under_the_lock(project: Project, place: Path) -> None:
    """A process that starts while another one is in the midst of things leaves its half made folder alone."""
    workspace = project.start_of("prepro", place / "w")
    first = holder("prepro", project, workspace)
    partial = only(workspace, "prepro/.partial-*")
    project.finished("download", workspace)
    assert partial.is_dir()
    first.send(signal.SIGKILL)
    first.wait()
    project.finished("download", workspace)
    assert not partial.exists()
