"""A shim around all that changes files: it counts the changes and lets the n-th one fail, or the process 'die' there.

Dying is played within the process: from then on every change fails with `Died`, those of clean-up code too, so the
disk stays as a killed process leaves it. Writers that do not go through Python count as one change a file. A write
that fails leaves half of what was to be written.

`refusing` lets a file system refuse every call of one kind, as one does that does not know it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import safetensors.torch

CHANGES = ("open", "fsync", "replace", "mkdir", "unlink", "rmdir", "chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Died(BaseException):
    """The process was killed here."""


class Shim:
    """Counts the changes (`kinds`) made inside its block; the one with the number `fails_at` (from 1) fails.

    It raises OSError with the number `error`, or without one `Died`.
    """

    def __init__(self, fails_at: int = 0, error: int | None = None) -> None:
        self.fails_at, self.error = fails_at, error
        self.kinds: list[str] = []

    def change(self, kind: str, tear: Callable[[], Any] = lambda: None) -> None:
        """Count a change that is about to be made; where it fails, `tear` makes half of it."""
        if self.error is None and 0 < self.fails_at <= len(self.kinds):
            raise Died
        self.kinds.append(kind)
        if len(self.kinds) == self.fails_at:
            tear()
            raise Died if self.error is None else OSError(self.error, os.strerror(self.error))

    def __enter__(self) -> Shim:
        self.patch = pytest.MonkeyPatch()
        for name in CHANGES:
            self.patch.setattr(os, name, self._counted(name, getattr(os, name)))
        opener = self._opener(builtins.open)
        self.patch.setattr(builtins, "open", opener)
        self.patch.setattr(io, "open", opener)
        self.patch.setattr(pq, "write_table", self._native(pq.write_table))
        self.patch.setattr(safetensors.torch, "save_file", self._native(safetensors.torch.save_file))
        return self

    def __exit__(self, *exception: object) -> None:
        self.patch.undo()

    def _counted(self, kind: str, function: Callable) -> Callable:
        def counted(*args: Any, **options: Any) -> Any:
            if kind != "open" or args[1] & WRITING:
                self.change(kind)
            return function(*args, **options)

        return counted

    def _opener(self, function: Callable) -> Callable:
        def opener(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+"):
                return function(file, mode, *args, **options)
            self.change("open")
            return _Torn(self, function(file, mode, *args, **options))

        return opener

    def _native(self, function: Callable) -> Callable:
        def native(content: Any, path: Any, **options: Any) -> None:
            def tear() -> None:
                function(content, path, **options)
                os.truncate(path, os.path.getsize(path) // 2)

            self.change("write", tear)
            function(content, path, **options)

        return native


class _Torn:
    """A file whose writes are counted."""

    def __init__(self, shim: Shim, file: Any) -> None:
        self.shim, self.file = shim, file

    def write(self, data: Any) -> Any:
        """Write all, or half and fail."""
        self.shim.change("write", lambda: self.file.write(data[: len(data) // 2]))
        return self.file.write(data)

    def __enter__(self) -> _Torn:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


# Every call of the system by which artefacts get to their places, and where it is looked up.
CALLS: dict[str, tuple[Any, str]] = {
    "rename a folder": (os, "replace"),
    "rename a file": (os, "replace"),
    "sync": (os, "fsync"),
    "modes": (os, "chmod"),
    "times": (os, "utime"),
    "make a folder": (os, "mkdir"),
    "remove a file": (os, "unlink"),
    "remove a folder": (os, "rmdir"),
    "free room": (shutil, "disk_usage"),
}
try:
    import fcntl
except ImportError:  # Windows
    pass
else:
    CALLS["lock"] = (fcntl, "flock")


@contextmanager
def refusing(call: str, error: int) -> Iterator[list[str]]:
    """Every such call is answered with the error inside the block; gives what was asked in vain."""
    place, name = CALLS[call]
    function, refused = getattr(place, name), []

    def refuse(*given: Any, **options: Any) -> Any:
        if name == "replace" and Path(given[0]).is_dir() != (call == "rename a folder"):
            return function(*given, **options)
        refused.append(call)
        raise OSError(error, os.strerror(error), str(given[0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, refuse)
        yield refused


ANSWERS = (
    errno.EXDEV, errno.EPERM, errno.EACCES, errno.EBUSY, errno.ENOTEMPTY, errno.EINVAL, errno.ENOSYS,
    errno.EOPNOTSUPP, errno.ENOLCK, errno.EROFS, errno.EIO,
)  # fmt: skip
