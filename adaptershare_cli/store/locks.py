"""An artefact's lock: the system's, which ends with its process; a file of its own where the file system has none."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Literal

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows, whose file systems all have locks
    fcntl = None  # type: ignore[assignment]

State = Literal["held", "free", "unknown"]
HELD = ".held"  # the end of the file that stands for a lock where there are none
# What a file system without locks answers.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


def open_lock(file: Path) -> BaseFileLock:
    """The lock of this name, not yet acquired; its folder is made. Raises OSError where that cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file) if _has_locks(file) else SoftFileLock(_marker(file))


def _has_locks(file: Path) -> bool:
    if fcntl is None:
        return True
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        return _try(descriptor) != "missing"
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> Literal["held", "free", "missing"]:
    """Whether another process holds the system's lock of an open file; none is left behind. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return "held"
        if error.errno in NO_LOCKS:
            return "missing"
        raise
    return "free"


def _marker(file: Path) -> Path:
    return file.with_suffix(HELD)


def lock_state(file: Path) -> State:
    """Whether a process holds the lock of this name now. Writes nothing, so it needs no right to."""
    try:
        if os.path.lexists(_marker(file)):
            return _marker_state(_marker(file))
        if not os.path.lexists(file):
            return "free"
        if fcntl is None:
            return _acquired_state(file)
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            state = _try(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return "free"  # a marker that went while it was looked at
    except OSError:
        return "unknown"
    return "free" if state == "missing" else state


def _acquired_state(file: Path) -> State:
    try:
        with FileLock(file).acquire(timeout=0):
            return "free"
    except Timeout:
        return "held"


def _marker_state(marker: Path) -> State:
    """What the file says that a process left which holds, or held, the lock: its number, then its machine."""
    number, _, machine = marker.read_text(encoding="utf-8", errors="replace").partition("\n")
    if not number.isdecimal() or not machine.startswith(socket.gethostname()):
        return "unknown"
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return "free"
    except PermissionError:
        return "held"
    return "held"
