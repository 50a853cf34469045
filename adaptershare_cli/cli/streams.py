"""Standard output and error that a command can rely on: closed, full, without a reader, of any encoding or width.

What is printed never stops the work: results are made and published whoever looks on. A reader that has gone (`| head`)
wanted no more, which is no fault; other output that is lost is told when the command ends.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import select
import sys
from typing import Any, BinaryIO, TextIO

READABLE = "adaptershare-readable"
SIGNS = {
    "…": "...", "±": "+/-", "–": "-", "—": "-", "−": "-", "×": "x", "·": "-", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
STRICT = ("strict", "surrogateescape", "backslashreplace")  # what Python takes by itself; another is the user's choice
WIDTHS = ("COLUMNS", "LINES", "TERMINAL_WIDTH")  # what rich and Typer read
_WIDTH = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


class Output(io.RawIOBase):
    """A descriptor that takes all that is written to it; the error after which it took nothing is `lost`."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor, self.name = descriptor, name
        self.lost: OSError | None = None

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of it, or remember why that cannot be and let the descriptor lead nowhere."""
        rest = memoryview(data).cast("B")
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:  # whoever shares the pipe has made it so
                select.select([], [self.descriptor], [])
            except OSError as error:
                self.lost = error
                _lead_nowhere(self.descriptor)
                break
        return len(data)


def make_reliable() -> Output | None:
    """Make standard output and error take whatever is printed; what became of standard output, where it is a file.

    Streams that are no files of this process (a caller's, a test's) only get an error handler.
    """
    for name in WIDTHS:
        if not _WIDTH.fullmatch(os.environ.get(name, "1")):
            os.environ.pop(name)
    _fill_closed()
    codecs.register_error(READABLE, _readable)
    outputs = {}
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name) or open(descriptor, "w", encoding="utf-8", closefd=False)
        if _descriptor(stream) == descriptor:
            outputs[name] = Output(descriptor, f"<{name}>")
            stream.flush()
            stream = io.TextIOWrapper(
                io.BufferedWriter(outputs[name]), stream.encoding, _errors(stream), line_buffering=stream.line_buffering
            )
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_errors(stream))
        setattr(sys, name, stream)
    return outputs.get("stdout")


def writable(text: str, encoding: str) -> str:
    """The text as a stream of this encoding will show it, so that its width is known before it is printed."""
    return text.encode(encoding, READABLE).decode(encoding)


def loss(output: Output | None) -> str:
    """Why output was lost, in words; empty where none was, or where its reader had gone."""
    sys.stdout.flush()
    if output is None or output.lost is None or output.lost.errno == errno.EPIPE:
        return ""
    return output.lost.strerror or str(output.lost)


class Printed:
    """Standard output as a stream of bytes, for a result that goes there."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self.stream: BinaryIO = sys.stdout.buffer

    def is_lost(self) -> bool:
        """Whether nothing more can be written, as the reader has gone or the disk is full."""
        self.stream.flush()
        raw = getattr(self.stream, "raw", None)
        return isinstance(raw, Output) and raw.lost is not None


def _fill_closed() -> None:
    """Let closed descriptors lead nowhere: else the next file that is opened is taken for a standard stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):  # a stream that is no file
        return None


def _errors(stream: io.TextIOWrapper | TextIO) -> str:
    return READABLE if stream.errors is None or stream.errors in STRICT else stream.errors


def _readable(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: a sign that an encoding lacks by what looks like it, or by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign) or ascii(sign)[1:-1] for sign in lacking), error.end
