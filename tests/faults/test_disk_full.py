"""A disk that is full, or takes no large files: a clear error with the bytes needed, nothing lost, and on it goes."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Project, exact, leftovers

SIZE = 4 << 20
STAGES = ["download", "prepro", "train-single", "train-share adaptershare", "correlate", "report"]


@pytest.fixture
def disk(place: Path) -> Iterator[Path]:
    """A file system of its own, of four megabytes."""
    folder = place / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def half_made(workspace: Path) -> list[str]:
    """What is left half made."""
    return [name for name in leftovers(workspace) if "/." in f"/{name}"]


def fill(folder: Path) -> None:
    """Leave no free byte, but for half a page of a file that is already there."""
    with open(folder / "ballast", "wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


def fill_after(folder: Path, saved: int) -> None:
    """In a command's process: fill the disk once so many checkpoints are saved."""
    from adaptershare_cli.runs.checkpoints import CheckpointStore

    save, count = CheckpointStore.save, []

    def saving(self: CheckpointStore, checkpoint: object) -> None:
        save(self, checkpoint)  # type: ignore[arg-type]
        count.append(checkpoint)
        if len(count) == saved:
            fill(folder)

    CheckpointStore.save = saving  # type: ignore[method-assign]


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(stage: str, project: Project, disk: Path) -> None:
    workspace = project.start_of(stage, disk / "w")
    workspace.mkdir(exist_ok=True)
    before = exact(workspace)
    fill(disk)
    command = project.run(stage, workspace)
    assert command.wait() == 1, command.output
    check_message(command.output)
    assert exact(workspace) == before and not half_made(workspace)
    (disk / "ballast").unlink()
    project.finished(stage, workspace)
    assert exact(workspace) == project.unbroken(stage)[0]


def check_message(output: str) -> None:
    """One error that says how many bytes are needed and free."""
    assert output.count("error:") == 1 and "Traceback" not in output, output
    assert "Could not publish" in output and "No space left on device" in output
    assert re.search(r"at least [\d,]+ bytes are needed, 0 are free", output), output
    assert "Make room, then run the same command again" in output


@pytest.mark.parametrize("saved", [1, 3])
def test_a_disk_that_fills_up_in_the_middle_of_a_training(saved: int, project: Project, disk: Path) -> None:
    stage = "train-share adaptershare"
    workspace = project.start_of(stage, disk / "w")
    command = project.run(stage, workspace, prepare=(fill_after, disk, saved))
    assert command.wait() == 1, command.output
    check_message(command.output)
    found = re.search(r"at least ([\d,]+) bytes are needed", command.output)
    assert found is not None and int(found[1].replace(",", "")) > 4 * 3 * 100  # weights and two moments of a run
    (run,) = (workspace / "checkpoints").iterdir()
    steps = sorted(int(path.name[-8:]) for path in run.iterdir())
    assert steps == [3 * number for number in range(max(1, saved - 1), saved + 1)]
    again = project.run(stage, workspace)  # there is still no room
    assert again.wait() == 1, again.output
    assert sorted(int(path.name[-8:]) for path in run.iterdir()) == steps
    (disk / "ballast").unlink()
    command = project.finished(stage, workspace)
    assert command.lines(f"goes on after update {3 * saved} of 14")
    assert exact(workspace) == project.unbroken(stage)[0] and not leftovers(workspace)


def limit(largest: int) -> None:
    """In a command's process: no file may grow beyond this, as where a quota or `ulimit -f` is set."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))


@pytest.mark.parametrize("stage", STAGES)
def test_files_that_may_not_grow(stage: str, project: Project, place: Path) -> None:
    """Needs no rights: the system's answer (EFBIG) comes from the same places as that of a full disk."""
    workspace = project.start_of(stage, place / "w")
    before = exact(workspace)
    command = project.run(stage, workspace, prepare=(limit, 1500))
    assert command.wait() == 1, command.output
    assert command.output.count("error:") == 1 and "Traceback" not in command.output, command.output
    assert "Could not publish" in command.output and "File too large" in command.output
    assert re.search(r"at least [\d,]+ bytes are needed", command.output), command.output
    assert exact(workspace) == before and not half_made(workspace)
    project.finished(stage, workspace)
    assert exact(workspace) == project.unbroken(stage)[0]
