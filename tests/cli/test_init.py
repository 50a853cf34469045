"""`init`: from files to definitions, what is told and asked, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import call, good, refused

ROWS = "".join(f'"a longer text {n}";{"yes" if n % 2 else "no"}\r\n' for n in range(60))
CLEAR = "text;label\r\n" + ROWS
STARS = "text,stars\n" + "".join(f'"a longer text {n}",{n % 5}\n' for n in range(60))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "clear.csv").write_bytes(CLEAR.encode("cp1252"))
    (tmp_path / "stars.csv").write_text(STARS)
    return tmp_path


def test_a_clear_file_needs_no_question_and_can_be_prepared(files: Path) -> None:
    printed = good("init", str(files / "clear.csv")).stdout
    for words in ("clear: classification", "parted by ;", "train 48, dev 12", "no 24", "a longer text 0"):
        assert words in printed
    command = next(line for line in printed.splitlines() if "adaptershare train-share" in line)
    assert f"--tasks clear --task-dir {files}" in " ".join(printed.split()), command
    good("download", "--tasks", "clear", "--task-dir", str(files), "-w", str(files / "w"))


def test_what_is_not_certain_is_asked_or_refused(files: Path) -> None:
    both = [str(files / "clear.csv"), str(files / "stars.csv")]
    refused("init", *both, says=("Not everything is certain of stars", "--yes"))
    assert not list(files.glob("*.yaml"))
    good("init", *both, "--yes")
    assert {file.name for file in files.glob("*.yaml")} == {"clear.yaml", "stars.yaml"}
    refused("init", *both, "--yes", says=("has a definition", "--overwrite"))
    good("init", both[1], "--label", "stars", "--kind", "regression", "--yes", "--overwrite")
    assert "range: [0, 4]" in (files / "stars.yaml").read_text()


def test_definitions_elsewhere_are_told_where_the_data_lies(files: Path) -> None:
    printed = good("init", str(files / "clear.csv"), "--task-dir", str(files / "defs"), "--name", "mine").stdout
    assert f"--task-dir {files / 'defs'} --from {files}" in " ".join(printed.split())
    place = ("--tasks", "mine", "--task-dir", str(files / "defs"), "--from", str(files), "-w", str(files / "w"))
    good("download", *place)


def test_rows_that_cannot_be_used_are_told_and_the_definition_stays(files: Path) -> None:
    (files / "broken.csv").write_text(CLEAR + "one field\r\n")
    result = call("init", str(files / "broken.csv"))
    assert result.exit_code == 2 and "the definition is written" in result.output
    assert (files / "broken.yaml").exists()


def test_missing_files(tmp_path: Path) -> None:
    refused("init", str(tmp_path / "nothing.csv"), says=("no such file",))
