"""Standard output and error that are closed, full, without a reader, or lack signs."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.cli import streams

ROOT = Path(__file__).parents[2]
PRINTS = """
import os, sys
from adaptershare_cli.cli import streams
output = streams.make_reliable()
{before}
for number in range(2000):
    print("naïve ± 1 … 中", number)
    sys.stdout.flush()
print("to people", file=sys.stderr)
lost = streams.loss(output)
sys.stderr.flush()
open({done!r}, "w").write(f"{{lost}};{{sys.stdout.isatty()}}")
"""


def run(
    tmp_path: Path, before: str = "", redirect: str = "", **environment: str
) -> tuple[subprocess.CompletedProcess, str]:
    """Let a process print through reliable streams, under a shell's redirection; what it found lost."""
    done, script = tmp_path / "done", tmp_path / "script.py"
    script.write_text(PRINTS.format(before=before, done=str(done)), encoding="utf-8")
    command = f"{sys.executable} {script} {redirect}"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return result, done.read_text() if done.exists() else ""


@pytest.mark.parametrize(
    ("redirect", "lost"),
    [
        (">&-", ""), ("2>&-", ""), ("<&-", ""), ("<&- >&- 2>&-", ""), ("| head -1", ""), ("2>&1 | true", ""),
        ("> /dev/full", "No space left on device"), ("2> /dev/full", ""), ("1< /dev/null", "Bad file descriptor"),
    ],
)  # fmt: skip
def test_work_goes_on_whatever_the_streams_are(redirect: str, lost: str, tmp_path: Path) -> None:
    if "full" in redirect and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    result, said = run(tmp_path, redirect=redirect)
    assert said == f"{lost};False", result.stderr.decode()
    assert b"Traceback" not in result.stderr and b"Exception ignored" not in result.stderr


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    made = str(tmp_path / "made")
    before = f"file = open({made!r}, 'w'); os.write(1, b'a library prints'); file.write('mine'); file.close()"
    _, said = run(tmp_path, before, redirect="<&- >&- 2>&-")
    assert said and (tmp_path / "made").read_text() == "mine"


def test_a_pipe_that_does_not_block_takes_all(tmp_path: Path) -> None:
    result, said = run(tmp_path, "os.set_blocking(1, False)", redirect="| (sleep 0.3; cat)")
    assert said == ";False" and result.stdout.count(b"\n") == 2000


@pytest.mark.parametrize(
    ("encoding", "first"),
    [
        ("utf-8", "naïve ± 1 … 中 0"), ("utf-16", "naïve ± 1 … 中 0"), ("ascii", r"na\xefve +/- 1 ... \u4e2d 0"),
        ("cp1252", r"naïve ± 1 … \u4e2d 0"), ("latin-1", r"naïve ± 1 ... \u4e2d 0"),
        ("ascii:strict", r"na\xefve +/- 1 ... \u4e2d 0"), ("ascii:replace", "na?ve ? 1 ? ? 0"),
        ("ascii:xmlcharrefreplace", "na&#239;ve &#177; 1 &#8230; &#20013; 0"),
    ],
)  # fmt: skip
def test_signs_that_an_encoding_lacks_are_written_otherwise(encoding: str, first: str, tmp_path: Path) -> None:
    result, said = run(tmp_path, PYTHONIOENCODING=encoding)
    assert said == ";False", result.stderr.decode("ascii", "replace")
    assert result.stdout.decode(encoding.partition(":")[0]).splitlines()[0] == first


def test_the_c_locale(tmp_path: Path) -> None:
    result, said = run(tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
    assert said == ";False", result.stderr.decode()


@given(st.text(), st.sampled_from(["ascii", "cp1252", "latin-1", "utf-8", "utf-16", "shift_jis", "koi8-r"]))
def test_every_text_can_be_written_in_every_encoding(text: str, encoding: str) -> None:
    streams.make_reliable()
    assert streams.writable(text, encoding).encode(encoding).decode(encoding) == streams.writable(text, encoding)
    if encoding == "ascii" and text.isascii():
        assert streams.writable(text, encoding) == text


def test_bytes_that_cannot_be_read_stay_an_error() -> None:
    streams.make_reliable()
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", streams.READABLE)
    assert codecs.lookup_error(streams.READABLE)


@pytest.mark.parametrize(
    ("value", "kept"),
    [("80", True), ("0", False), ("", False), ("wide", False), ("-5", False), ("²", False), ("1e9", False),
     ("99999999", False), ("080", False)],
)  # fmt: skip
@pytest.mark.parametrize("name", streams.WIDTHS)
def test_widths_that_are_no_widths_do_not_count(
    name: str, value: str, kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(name, value)
    streams.make_reliable()
    assert (os.environ.get(name) == value) == kept
