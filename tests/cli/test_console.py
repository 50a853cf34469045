"""What a person sees of a training: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from adaptershare_cli.cli.app import app
from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.cli.progress import LEAST_BAR, Standing
from adaptershare_cli.errors import UserError

ROOT = Path(__file__).parents[2]
SHOWS = """
from adaptershare_cli.cli.console import Terminal
from rich.table import Table
terminal = Terminal()
with terminal.training("train-share adaptershare seed 0", 300) as view:
    for step in range(1, 30):
        view.step(step, "sentiment_of_books_reviews", 0.5, 8)
    if view.bar:
        view.bar.refresh()
    view.note("a note")
terminal.path("a/" * 60 + "end")
table = Table()
table.add_column("key")
for place in range(9):
    table.add_column(f"head{place}", justify="right")
table.add_row("row", *["0.123"] * 9)
terminal.table(table)
"""


class Screen(io.TextIOWrapper):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", ["xterm", "dumb", None])
def test_training_on_a_terminal_and_elsewhere(terminal: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours that are forced make no terminal of a pipe, and a terminal that cannot move its cursor gets lines."""
    kind = io.TextIOWrapper if terminal is None else Screen
    stream = kind(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", terminal or "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("adaptershare_cli.cli.progress.PLAIN_EVERY_SECONDS", 0.0)
    shows_bar = terminal == "xterm"
    with Terminal().training("a run", 3) as view:
        view.step(1, "rte", 0.5, 8)
        view.scoring("rte", "dev [1]", 12)
        if view.bar:
            view.bar.refresh()
        view.note("a note")
    stream.seek(0)
    out = stream.read()
    assert "a run: a note" in out
    assert ("scoring rte dev [1] (12 rows)" in out) == ("━" in out) == shows_bar
    assert ("a run: step 1/3  task rte  loss 0.500" in out) != shows_bar


@given(
    st.integers(36, 300), st.sampled_from(["a", "train-share adaptershare seed 0", "x" * 150]),
    st.sampled_from(["rte", "sentiment_of_books_reviews", "scoring sentiment_of_books_reviews dev_matched (99 rows)"]),
    st.sampled_from([None, 0.5]), st.sampled_from([None, 3.0, 300000.0]),
)  # fmt: skip
def test_the_line_of_a_training_keeps_bar_step_and_time(
    width: int, name: str, doing: str, loss: float | None, left: float | None
) -> None:
    standing = Standing(name, 12, 3000, doing, loss, 512.3, 4000.0, left)
    shown, bar, rest = standing.line(width)
    assert bar >= LEAST_BAR - 2 * (width < 40)
    assert rest.startswith("  12/3000  ") and " left" in rest
    assert (len(shown) + 2 if shown else 0) + bar + 2 + len(rest) <= width
    if shown:
        assert rest.endswith("512 rows/s")  # the name gives way first
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(standing)
    line = console.file.getvalue()  # type: ignore[attr-defined]
    assert line.count("\n") == 1 and len(line) <= width + 1 and rest in line


def on_terminal(width: int, script: str = SHOWS, **environment: str) -> str:
    """What a script prints on a terminal of that width (0: one that knows no width)."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if width else 0, width, 0, 0))
    without = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=follower, stdout=follower, stderr=follower,
        env={**without, "PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment},
    )  # fmt: skip
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(parts).decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("width", [0, 40, 80])
def test_a_terminal_of_any_width(width: int) -> None:
    out = on_terminal(width)
    assert re.search(r"━ +29/300  \d:\d\d:\d\d left", out)
    assert "a/" * 60 + "end\n" in out  # a path is not broken by us
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert max(map(len, rows)) <= (width or 80) and sum(row.count("0.123") for row in rows) == 9


def test_a_terminal_whose_widths_are_nonsense() -> None:
    main = SHOWS.replace(
        "terminal = ", "from adaptershare_cli.cli import streams; streams.make_reliable()\nterminal = "
    )
    assert "29/300" in on_terminal(80, main, COLUMNS="²", LINES="0", TERMINAL_WIDTH="wide")


@pytest.mark.parametrize("command", ["report", "status"])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_command_shows_can_be_written_in_any_encoding(command: str, encoding: str, trained: Path) -> None:
    result = CliRunner(charset=encoding).invoke(app, [command, "-w", str(trained)])
    assert result.exit_code == 0 and "+-" in result.stdout


def test_results_are_made_though_nobody_reads(project: Path, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    places = ("--task-dir", project / "tasks", "--from", project / "data", "-w", tmp_path / "w")
    command = [sys.executable, "-m", "adaptershare_cli", "download", "-t", "first,second", *map(str, places)]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(list((tmp_path / "w" / "download").iterdir())) == 2


def test_output_that_is_lost_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "adaptershare_cli", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: Not all that was printed could be written: No space left on device", "  where: standard output",
    ]  # fmt: skip


def test_what_was_chosen_for_the_user_is_said_once(capsys: pytest.CaptureFixture) -> None:
    terminal = Terminal(as_json=True)
    for _ in range(2):
        terminal.taken("data from [b]/x", "remembered")
    terminal.finish({"command": "report"})
    said = capsys.readouterr()
    assert said.err.splitlines() == ["taken data from [b]/x  (remembered)"]
    assert json.loads(said.out)["taken"] == ["data from [b]/x"]


def test_a_notebook_has_a_width_and_bars_if_it_can_move_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    for found in (None, object()):
        monkeypatch.setattr("adaptershare_cli.cli.console.find_spec", lambda name, found=found: found)
        terminal = Terminal()
        assert terminal.has_width and terminal.console.width < 300 and terminal.has_bar == (found is not None)
        assert not Terminal(quiet=True).has_bar


def test_a_quiet_terminal_shows_faults_alone(capsys: pytest.CaptureFixture) -> None:
    terminal = Terminal(quiet=True)
    terminal.line("a line")
    terminal.made_artefact("x/y")
    terminal.path("/x")
    terminal.fault(UserError("what"))
    shown = capsys.readouterr()
    assert shown.out == "" and "what" in shown.err and terminal.made == ["x/y"]
