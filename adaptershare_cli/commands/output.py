"""Where a command's result goes: a file, which is there once it is whole, or standard output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from adaptershare_cli.errors import UserError
from adaptershare_cli.store.disk import discard, replace_file, sync

PARTIAL = ".partial-"


class Stdout(Protocol):
    """Where a result without --output goes."""

    stream: BinaryIO

    def is_lost(self) -> bool:
        """Whether nothing more can be written there."""


@contextmanager
def opened_output(target: Path | None, out: Stdout | None = None) -> Iterator[BinaryIO]:
    """Where the result goes: a file is there once it is whole, and one that it replaces stands until then.

    Raises UserError where no file can be made there.
    """
    if target is None:
        assert out is not None
        yield out.stream
        return
    is_special = target.exists() and not stat.S_ISREG(target.stat().st_mode)
    if target.is_dir():
        raise UserError("A folder stands where the output is to be", str(target), "Name a file with --output.")
    partial = target if is_special else target.with_name(f"{PARTIAL}{target.name}-{os.getpid()}")
    try:
        stream = partial.open("wb")
    except OSError as error:
        what = f"The output cannot be written: {error.strerror}"
        raise UserError(what, str(target), "Name a file in a folder that you may write to.") from error
    try:
        with stream:
            yield stream
        if not is_special:
            sync(partial)
            replace_file(partial, target)
            sync(target.absolute().parent)
    except BaseException:
        if not is_special:
            discard(partial)
        raise
