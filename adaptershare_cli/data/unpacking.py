"""Files as they really come, read as UTF-8: packed ones are unpacked, other encodings written anew, piece by piece."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from adaptershare_cli.errors import UserError

_PIECE = 2**16  # bytes that are unpacked, or written anew, at once
_SAMPLE = 2**18  # bytes by which an encoding is guessed
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
_UTF8 = "utf-8"
# What is tried where text is no UTF-8: what offices, shells and old systems write.
_LIKELY = ["utf_16", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "cp850", "shift_jis", "gb18030",
           "big5", "euc_kr"]  # fmt: skip


def open_text(path: Path, encoding: str = "", stream: IO[bytes] | None = None) -> IO[bytes]:
    """A file's text in UTF-8, whatever `encoding` it has ("" is UTF-8 too); packed ones are unpacked on the way.

    With a `stream` it is read from that, and the path is only told.

    Raises UserError, here or while it is read, for a file that cannot be read, is damaged, or is no such text.
    """
    try:
        stream = _unpacked(path, stream)
    except _BROKEN as error:
        raise _damaged(path, error) from error
    if codecs.lookup(encoding or _UTF8).name == _UTF8:
        return stream
    return io.BufferedReader(_Anew(stream, encoding, path), _PIECE)


def is_encoding(name: str) -> bool:
    """Whether texts can be in an encoding of that name."""
    try:
        return "a".encode(name) is not None
    except (LookupError, ValueError):  # none of that name, or one that is not of texts
        return False


def likely_encoding(path: Path) -> str:
    """The encoding that a file probably has, by its first 256 KiB; "" if none is likely, or it is damaged UTF-8."""
    from charset_normalizer import from_bytes

    with _unpacked(path) as stream:
        data = stream.read(_SAMPLE)
    others = [sign for sign in data.decode(_UTF8, "surrogateescape") if sign > "\x7f"]
    if 2 * sum("\udc80" <= sign <= "\udcff" for sign in others) <= len(others):
        return ""  # most of what is not ASCII is UTF-8
    found = from_bytes(data, cp_isolation=_LIKELY).best()
    if found is None:
        return ""
    western = found.encoding in ("cp1250", "cp1254", "mac_roman", "cp850")
    if western and _is(data, "cp1252"):  # between neighbours that fit alike, the commonest by far
        return "cp1252"
    return found.encoding.replace("_", "-") if found.encoding.startswith("utf") else str(found.encoding)


def _is(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _unpacked(path: Path, given: IO[bytes] | None = None) -> IO[bytes]:
    """The file's bytes; of a packed one what is in it. Raises UserError for an archive of several files."""
    source = path.open("rb") if given is None else given
    stream: Any = source if hasattr(source, "peek") else io.BufferedReader(source)  # type: ignore[type-var]
    head = stream.peek(16)
    unpack = next((how for signature, how in _PACKED.items() if head.startswith(signature)), None)
    if unpack is None:
        return stream
    return io.BufferedReader(_Unpacking(unpack(stream, path), path), _PIECE)


def _in_zip(stream: IO[bytes], path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(stream)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if "xl/workbook.xml" in names:
        raise UserError("the file is an Excel workbook", str(path), "Write `reader: xlsx` in the definition.")
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise UserError("the file is an office file", str(path), "Save it as .xlsx or as CSV.")
    if len(names) != 1:
        raise UserError(
            f"the archive holds {len(names)} files ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})",
            str(path),
            "Unpack it, and name the file that is meant.",
        )
    return archive.open(names[0])


_PACKED: dict[bytes, Callable[[Any, Path], Any]] = {
    b"\x1f\x8b": lambda stream, path: gzip.GzipFile(fileobj=stream),
    b"BZh91AY&SY": lambda stream, path: bz2.BZ2File(stream),
    b"\xfd7zXZ\x00": lambda stream, path: lzma.LZMAFile(stream),
    b"PK\x03\x04": _in_zip,
}


def _damaged(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None)
    if reason:
        return UserError(f"the file cannot be read: {reason}", str(path), "Check its rights.")
    return UserError(f"the packed file cannot be unpacked: {error}", str(path), "Get it anew, or unpack it yourself.")


class _Raw(io.RawIOBase):
    """Bytes that are made piece by piece."""

    def __init__(self) -> None:
        self.left = b""

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def more(self) -> bytes | None:
        """The next bytes; None at the end."""
        raise NotImplementedError

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase` has it."""
        while not self.left:
            piece = self.more()
            if piece is None:
                return 0
            self.left = piece
        count = min(len(buffer), len(self.left))
        buffer[:count] = self.left[:count]
        self.left = self.left[count:]
        return count


class _Unpacking(_Raw):
    """What is in a packed stream; damage becomes a UserError."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        super().__init__()
        self.stream, self.path = stream, path

    def more(self) -> bytes | None:
        """The next piece."""
        try:
            return self.stream.read(_PIECE) or None
        except _BROKEN as error:
            raise _damaged(self.path, error) from error


class _Anew(_Raw):
    """A stream's text in UTF-8; what is none in its encoding becomes a UserError."""

    def __init__(self, stream: IO[bytes], encoding: str, path: Path) -> None:
        super().__init__()
        self.stream, self.encoding, self.path, self.read_so_far = stream, encoding, path, 0
        self.decoder = codecs.getincrementaldecoder(encoding)("strict")
        self.ended = False

    def more(self) -> bytes | None:
        """The next piece."""
        if self.ended:
            return None
        data = self.stream.read(_PIECE)
        self.ended = not data
        try:
            text = self.decoder.decode(data, final=self.ended)
            self.read_so_far += len(data)
            return text.encode()
        except UnicodeError as error:
            at = self.read_so_far + getattr(error, "start", 0)
            raise UserError(
                f"the file is not in the encoding {self.encoding}: {getattr(error, 'reason', error)}, near byte {at}",
                str(self.path),
                "Write another `encoding` in the definition.",
            ) from error
