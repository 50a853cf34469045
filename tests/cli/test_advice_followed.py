"""What a message tells to do is done, literally, and then the command works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Share, good, refused

Commands = dict[str, tuple[Any, ...]]


@pytest.fixture
def commands(share: Share, workspace: Path, own_project: Path) -> Commands:
    """The beginnings of commands in a workspace with a run, on data with one bad row."""
    file = own_project / "data" / "set" / "second-dev.csv"
    file.write_text(file.read_text() + "the film,no such label\n")
    trained = share(workspace, "--max-steps", "2", tasks="first")[1:]
    own = ("--task-dir", own_project / "tasks", "--from", own_project / "data", "-w", workspace)
    return {
        "download": ("download", "-t", "second", *own),
        "train-single": ("train-single", *trained),
        "correlate": ("correlate", "-w", workspace),
    }


# Of each the command, what makes it fail, and what the message says: the groups are what to type.
FAULTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a bad row": ("download", (), r"with (--max-rejected) (\d+)\."),
    "longer than the encoder takes": ("train-single", ("--max-seq-length", "65"), r"Use (--max-seq-length) (\d+) or"),
    "no task named": ("train-single", ("--from-run", "adaptershare"), r"Give (--init) one of: (\w+)"),
    "other adapters": (
        "train-single",
        ("--from-run", "adaptershare", "--init", "first", "--adapter-config", "par_bn", "--reduction-factor", "4"),
        r"Give (--adapter-config) (\w+) (--reduction-factor) (\d+)\.",
    ),
    "no such measure": ("correlate", ("--measure", "gradeint"), r"Did you mean ()(\w+)\?"),
    "no such run": ("correlate", ("--measure", "plan", "--run", "nope"), r"Runs \(newest last\): ()([\w-]+)\."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_advice_works(fault: str, commands: Commands) -> None:
    command, options, told = FAULTS[fault]
    found = re.search(told, " ".join(refused(*commands[command], *options).split()))
    assert found is not None
    advised = [part for part in found.groups() if part]
    if len(advised) == 1:  # another value of the option that was given last
        advised = [options[-2], *advised]
    good(*commands[command], *options, *advised)


@pytest.mark.parametrize("limit", ["0", "100"])
def test_a_split_of_bad_rows_is_not_said_to_be_rejectable(limit: str, commands: Commands, own_project: Path) -> None:
    file = own_project / "data" / "set" / "second-train.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], *(f"{line.rpartition(',')[0]},x" for line in lines[1:])]) + "\n")
    told = refused(
        *commands["download"], "--max-rejected", limit, says=("no row of the split `train`", "Most often (50")
    )
    assert "--max-rejected" not in told
