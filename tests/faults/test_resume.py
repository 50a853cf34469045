"""Every stage and every method, stopped at any moment and given again, makes the bytes of an unbroken one."""

from __future__ import annotations

import random
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from adaptershare_cli.methods import METHODS
from adaptershare_cli.store.artefact import read_artefact, verify
from tests.faults.conftest import KILLS, Project, exact, leftovers
from tests.faults.processes import Command, send_at

TRAININGS = ["train-single", *(f"train-share {method}" for method in METHODS)]
STAGES = ["download", "prepro", *TRAININGS, "correlate", "report"]
SEEDS, SLOW_SEEDS = range(2), range(2, 22)
TRIES = 8  # a kill that comes after the end is no test: it is made again, earlier
# Where a training can be: module, function, the n-th call.
MOMENTS = {
    "reading": ("adaptershare_cli.store.artefact", "Artefact.table", 8),
    "an update": ("adaptershare_cli.training.optimizer", "Optimizer.step", 7),
    "a check": ("adaptershare_cli.methods.planned.method", "gram_matrices", 3),
    "a checkpoint's files": ("adaptershare_cli.runs.checkpoints", "write_parquet", 6),
    "a checkpoint's rename": ("adaptershare_cli.store.workspace", "os.replace", 3),
    "an old checkpoint's removal": ("adaptershare_cli.runs.checkpoints", "discard", 2),
    "scoring": ("adaptershare_cli.training.loop", "prediction_rows", 2),
    "the run's files": ("adaptershare_cli.runs.training", "write_parquet", 2),
    "the run's rename": ("adaptershare_cli.store.workspace", "os.replace", 6),
    "clearing up": ("adaptershare_cli.runs.checkpoints", "CheckpointStore.clear", 1),
}


def check_end(stage: str, command: Command, workspace: Path, project: Project, request: pytest.FixtureRequest,
              tries: int, left: list[str]) -> None:  # fmt: skip
    """The command that was given again ended as an unbroken one: the same bytes, all whole, nothing left."""
    resumed = bool(command.lines("goes on after update"))
    request.node.user_properties.append((KILLS, {"tries": tries, "left": left, "resumed": resumed}))
    assert exact(workspace) == project.unbroken(stage)[0]
    assert not leftovers(workspace)
    for meta in workspace.rglob("artefact.json"):
        artefact = read_artefact(meta.parent)
        assert artefact is not None
        verify(artefact)


# ---- killed ----


def killed(stage: str, project: Project, workspace: Path, draw: random.Random) -> int:
    """Start the stage and kill it at a random moment; how many tries it took until it was not done before."""
    longest = project.unbroken(stage)[1]
    for number in range(1, TRIES + 1):
        command = project.run(stage, project.start_of(stage, workspace))
        hit = command.kill_after(draw.uniform(0, longest))
        if command.wait() == -signal.SIGKILL and hit:
            return number
        longest = min(longest, 0.9 * command.seconds)
        shutil.rmtree(workspace)
    raise AssertionError(f"{stage} was done before each of {TRIES} kills")


def check_kill(stage: str, seed: int, project: Project, place: Path, request: pytest.FixtureRequest) -> None:
    workspace = place / "w"
    tries = killed(stage, project, workspace, random.Random(f"{stage} {seed}"))
    left = leftovers(workspace)
    check_end(stage, project.finished(stage, workspace), workspace, project, request, tries, left)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_a_random_moment(
    stage: str, seed: int, project: Project, place: Path, request: pytest.FixtureRequest
) -> None:
    check_kill(stage, seed, project, place, request)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SLOW_SEEDS)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_many_random_moments(
    stage: str, seed: int, project: Project, place: Path, request: pytest.FixtureRequest
) -> None:
    check_kill(stage, seed, project, place, request)


def resumable(workspace: Path) -> bool:
    """Whether there is a whole checkpoint of a run that is not published yet."""
    published = {run.name for run in workspace.glob("train-*/[!.]*")}
    return any(meta.parents[1].name not in published for meta in workspace.glob("checkpoints/*/[!.]*/artefact.json"))


def check_moment(stage: str, moment: str, project: Project, place: Path, request: pytest.FixtureRequest) -> None:
    workspace = project.start_of(stage, place / "w")
    command = project.run(stage, workspace, prepare=(send_at, *MOMENTS[moment], signal.SIGKILL))
    code = command.wait()
    if code == 0:
        pytest.skip(f"{stage} does not come to {moment}")
    assert code == -signal.SIGKILL, command.output
    left, begun = leftovers(workspace), resumable(workspace)
    command = project.finished(stage, workspace)
    check_end(stage, command, workspace, project, request, 1, left)
    if moment not in ("reading", "clearing up"):
        assert left
    if moment in ("an update", "a check", "an old checkpoint's removal", "scoring", "the run's files"):
        assert bool(command.lines("goes on after update")) == begun, command.output
        assert begun or stage == "train-share adapterfusion"  # its first stage's trainings have a few updates each


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_each_moment(moment: str, project: Project, place: Path, request: pytest.FixtureRequest) -> None:
    check_moment("train-share adaptershare", moment, project, place, request)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stage", [stage for stage in TRAININGS if stage != "train-share adaptershare"])
def test_killed_at_each_moment_of_every_method(
    stage: str, moment: str, project: Project, place: Path, request: pytest.FixtureRequest
) -> None:
    check_moment(stage, moment, project, place, request)


# ---- asked to stop ----

STOPS = {
    "downloading": ("download", "adaptershare_cli.commands.download", "read_task", 2),
    "tokenising": ("prepro", "adaptershare_cli.commands.prepro", "prepare_task", 2),
    "an update": ("train-share adaptershare", *MOMENTS["an update"]),
    "a check": ("train-share adaptershare", *MOMENTS["a check"]),
    "saving": ("train-share adaptershare", *MOMENTS["a checkpoint's files"]),
    "scoring": ("train-share adaptershare", *MOMENTS["scoring"]),
    "publishing": ("train-share adaptershare", *MOMENTS["the run's files"]),
    "relating": ("correlate", "adaptershare_cli.studies.correlation", "summarise", 2),
    "reporting": ("report", "adaptershare_cli.commands.report", "result_rows", 1),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", STOPS)
def test_a_signal_ends_with_130_and_the_command_that_goes_on(
    moment: str, number: signal.Signals, project: Project, place: Path, request: pytest.FixtureRequest
) -> None:
    stage, *where = STOPS[moment]
    workspace = project.start_of(stage, place / "w")
    command = project.run(stage, workspace, prepare=(send_at, *where, number))
    assert command.wait() == 130, command.output
    assert "Traceback" not in command.output and "error: Stopped" in command.output
    left = leftovers(workspace)
    assert all(name.startswith("checkpoints/") and "/." not in name for name in left)
    (line,) = command.lines("Run the same command again to go on: ")
    words = shlex.split(line.partition("go on: ")[2])
    assert words[0] == "adaptershare"
    again = Command(place / "again.log", words[1:])
    assert again.wait() == 0, again.output
    check_end(stage, again, workspace, project, request, 1, left)
    if moment in ("an update", "a check", "saving", "scoring", "publishing"):
        assert again.lines("goes on after update")


def test_force_goes_on_where_it_was_killed(project: Project, place: Path) -> None:
    """The run that stands stays until the new one is there; the same command goes on, another does not begin anew."""
    stage, workspace = "train-share adaptershare", place / "w"
    shutil.copytree(project.trained, workspace)
    before = exact(workspace)
    killing = (send_at, "adaptershare_cli.training.optimizer", "Optimizer.step", 8, signal.SIGKILL)
    assert project.run(stage, workspace, "--force", prepare=killing).wait() == -signal.SIGKILL
    left = leftovers(workspace)
    assert len(left) == 2  # the half made run, and its checkpoints
    kept = project.finished(stage, workspace)
    assert kept.lines("kept  train-share/") and not kept.lines("goes on")
    assert leftovers(workspace) == left[:1] == [name for name in left if name.startswith("checkpoints/")]
    again = project.finished(stage, workspace, "--force")
    assert again.lines("goes on after update 6 of 14")
    assert exact(workspace) == before and not leftovers(workspace)
    assert not project.finished(stage, workspace, "--force").lines("goes on")
