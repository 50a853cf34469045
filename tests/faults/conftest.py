"""A tiny project, commands over it as forked processes, and workspaces in every state of making."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.methods import METHODS
from adaptershare_cli.store.artefact import ORIGIN, TIMING
from tests.cli.conftest import LABELS, TASKS, add_task, snapshot
from tests.conftest import make_encoder
from tests.faults.processes import Command
from tests.methods import method_arguments

ALL = ",".join(TASKS)
# 14 updates with checkpoints, select scores and checks on the way.
QUICK = (
    "--max-steps", "14", "--per-device-train-batch-size", "4", "--threads", "1", "--precision", "fp32",
    "--learning-rate", "0.01", "--checkpoint-steps", "3", "--eval-steps", "5",
)  # fmt: skip
CHECKS = ("--first-check", "2", "--check-every", "4")
LENGTH = ("--max-seq-length", "32")
MEMORY = "/dev/shm"


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """A folder in memory where there is one: what is tried here happens many times, and asks for fsync each time."""
    parent = MEMORY if os.path.isdir(MEMORY) and os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="adaptershare-faults-", dir=parent))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def place(room: Path) -> Iterator[Path]:
    """An empty folder of `room` for one test."""
    folder = Path(tempfile.mkdtemp(dir=room))
    yield folder
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Project:
    """Three small tasks, a tiny encoder, and workspaces that are made once and copied."""

    root: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)
    references: dict[str, tuple[dict[str, str], float]] = field(default_factory=dict)

    def places(self, workspace: Path) -> tuple[Any, ...]:
        """The options that say where things lie."""
        root = self.root
        return ("--task-dir", root / "tasks", "--from", root / "data", "--model", root / "encoder", "-w", workspace)

    def command(self, stage: str, workspace: Path, *more: Any) -> tuple[Any, ...]:
        """The command line of a stage; `stage` may be `train-share METHOD`."""
        name, _, method = stage.partition(" ")
        tasks = ("-t", ALL, *self.places(workspace))
        if name == "download":
            return (name, *tasks[:6], "-w", workspace, *more)
        if name == "prepro":
            return (name, *tasks, *LENGTH, *more)
        if name == "train-single":
            return (name, *tasks, "-t", "first,score", *LENGTH, *QUICK, *more)
        if name == "train-share":
            checks = CHECKS if "check_every" in METHODS[method].options else ()
            return (name, *tasks, *LENGTH, *QUICK, *checks, *method_arguments(method), *more)
        return (name, *(("--plot",) if name == "correlate" else ()), "-w", workspace, *more)

    def run(self, stage: str, workspace: Path, *more: Any, prepare: tuple[Any, ...] = ()) -> Command:
        """Start the stage as a process; `prepare` is what `Command` takes after the command line."""
        log = self.root / f"{next(self.numbers)}.log"
        return Command(log, self.command(stage, workspace, *more), *prepare)

    def finished(self, stage: str, workspace: Path, *more: Any) -> Command:
        """Run the stage to its end, which must be a good one."""
        command = self.run(stage, workspace, *more)
        assert command.wait() == 0, command.output
        return command

    def unbroken(self, stage: str) -> tuple[dict[str, str], float]:
        """What an undisturbed making of the stage leaves (`exact`), and how many seconds it took."""
        if stage not in self.references:
            workspace = self.start_of(stage, self.root / f"whole-{stage}")
            command = self.finished(stage, workspace)
            self.references[stage] = exact(workspace), command.seconds
        return self.references[stage]

    @cached_property
    def prepared(self) -> Path:
        """A workspace with everything up to prepro."""
        self.finished("prepro", self.root / "prepared")
        return self.root / "prepared"

    @cached_property
    def trained(self) -> Path:
        """A workspace with an adaptershare run and its correlations too."""
        workspace = Path(shutil.copytree(self.prepared, self.root / "trained"))
        self.finished("train-share adaptershare", workspace)
        self.finished("correlate", workspace)
        return workspace

    def start_of(self, stage: str, workspace: Path) -> Path:
        """Make `workspace` hold what the stage builds on, but not what it makes."""
        name, _, method = stage.partition(" ")
        if name == "download":
            return workspace
        if name == "prepro":
            return Path(shutil.copytree(self.prepared, workspace, ignore=shutil.ignore_patterns("prepro")))
        needs_run = name in ("correlate", "report") or (method and METHODS[method].needs_plan)
        origin = self.trained if needs_run else self.prepared
        ignored = shutil.ignore_patterns("correlate") if name == "correlate" else None
        return Path(shutil.copytree(origin, workspace, ignore=ignored))


@pytest.fixture(scope="session")
def project(room: Path, command_server: None) -> Project:
    """The project; tests read it only."""
    root = room / "project"
    for name in TASKS:
        add_task(root, name, LABELS[name], 30)
    make_encoder(root / "encoder", "bert", hidden=16)
    return Project(root)


def exact(workspace: Path) -> dict[str, str]:
    """The SHA-256 of every file of a workspace that two makings have in common: all but durations and places."""
    files = snapshot(workspace)
    return {name: digest for name, digest in files.items() if name.rpartition("/")[2] not in (TIMING, ORIGIN)
            and name != "sources.json"}  # fmt: skip


def leftovers(workspace: Path) -> list[str]:
    """What is half made, and checkpoints."""
    found = [*workspace.rglob(".partial-*"), *workspace.rglob(".aside-*"), *workspace.glob("checkpoints/*")]
    return sorted(path.relative_to(workspace).as_posix() for path in found)


KILLS = "kills"  # what the tests of kills note of themselves


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count the kills: each of them hit a process that was not done."""
    passed = terminalreporter.stats.get("passed", [])
    kills = [value for report in passed for name, value in getattr(report, "user_properties", ()) if name == KILLS]
    if kills:
        tries, resumed = sum(kill["tries"] for kill in kills), sum(kill["resumed"] for kill in kills)
        left = sum(bool(kill["left"]) for kill in kills)
        terminalreporter.write_line(
            f"{len(kills)} kills hit ({tries - len(kills)} came too late and were made again); {left} left something "
            f"half made or a checkpoint; {resumed} trainings went on from a checkpoint"
        )
