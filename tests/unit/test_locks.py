"""Locks where the file system has them, where it has none, and what a reader can tell of them without writing."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest
from filelock import Timeout

from adaptershare_cli.store import locks
from adaptershare_cli.store.locks import lock_state, open_lock
from adaptershare_cli.store.workspace import Workspace

fcntl = pytest.importorskip("fcntl")
KEY = "0123abcd"


@pytest.fixture(params=[0, *locks.NO_LOCKS], ids=lambda error: errno.errorcode[error] if error else "locks")
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock's name in a file system with locks, or in one that answers every question for one with an error."""
    if request.param:

        def refuse(descriptor: int, operation: int) -> None:
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", refuse)
    return tmp_path / "locks" / "a.lock"


def test_one_at_a_time(file: Path) -> None:
    assert lock_state(file) == "free" and not file.parent.exists()
    with open_lock(file):
        assert lock_state(file) == "held"
        with pytest.raises(Timeout):
            open_lock(file).acquire(timeout=0.01)
        held = sorted(path.name for path in file.parent.iterdir())
    assert lock_state(file) == "free"
    with open_lock(file):  # the files that an earlier one left are in nobody's way
        assert sorted(path.name for path in file.parent.iterdir()) == held


def test_a_workspace_without_locks(file: Path, tmp_path: Path) -> None:
    """The second waits for the first."""
    told: list[str] = []
    waits, done = threading.Event(), threading.Event()

    def waiting(line: str) -> None:
        told.append(line)
        waits.set()

    def second() -> None:
        with Workspace(tmp_path / "w").lock("prepro", "task", KEY, waiting):
            done.set()

    with Workspace(tmp_path / "w").lock("prepro", "task", KEY, pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30) and not done.is_set()
        assert Workspace(tmp_path / "w").lock_state(tmp_path / "w" / "prepro" / f"task-{KEY}") == "held"
    thread.join(30)
    assert done.is_set()
    (line,) = told
    assert line.startswith(f"waiting for another process that makes prepro/task-{KEY}")


def test_a_look_writes_nothing_and_needs_no_right_to(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with open_lock(file):
        file.chmod(0o444)
        tmp_path.chmod(0o555)
        before = file.stat()
        assert lock_state(file) == "held"
    assert lock_state(file) == "free" and file.stat() == before
    tmp_path.chmod(0o755)


def test_a_lock_that_cannot_be_read_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.lock"
    file.touch()

    def refuse(*given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert lock_state(file) == "unknown"


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (f"{os.getpid()}\n{socket.gethostname()}\n", "held"),
        (f"{2**22 + 1}\n{socket.gethostname()}\n", "free"),  # more than a process's number can be
        (f"{os.getpid()}\nanother-machine\n", "unknown"),
        ("", "unknown"),
    ],
    ids=["lives", "dead", "elsewhere", "empty"],
)
def test_whose_marker_it_is(content: str, state: str, tmp_path: Path) -> None:
    (tmp_path / "a.held").write_text(content)
    assert lock_state(tmp_path / "a.lock") == state
