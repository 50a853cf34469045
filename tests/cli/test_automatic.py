"""Values that are left to the program: a run is found again, and gone on with, wherever it was begun."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.model import precision
from adaptershare_cli.store.artefact import META
from tests.cli.conftest import NOTHING, Share, call, good, hashed, interrupt_at, kept, only, refused, snapshot, without

OWN = ((1, False, "1 thread, fp32"), (2, True, "2 threads, bf16"), (2, False, "2 threads, fp32"))
Machine = Callable[[int, bool], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Let this process have so many cores, of a processor that multiplies bf16 or not."""

    def become(cores: int, bf16: bool) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
        monkeypatch.setattr(precision, "supports_bf16", lambda device: bf16)

    return become


@pytest.fixture
def single(share: Share) -> Share:
    """The arguments of a quick train-single that leaves everything to the program."""

    def arguments(workspace: Path, *more: Any) -> tuple:
        words = without(without(share(workspace, tasks="first"), "--threads"), "--precision")
        return ("train-single", *words[1:], "--checkpoint-steps", "1", *more)

    return arguments


def runs(workspace: Path) -> list[tuple[int, str]]:
    """Threads and precision of all single-task runs."""
    requests = [json.loads(file.read_text())["request"] for file in workspace.glob(f"train-single/*/{META}")]
    return sorted((request["threads"], request["precision"]) for request in requests)


def stopped(arguments: tuple, monkeypatch: pytest.MonkeyPatch, after: int = 4) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(after, patch)
        assert call(*arguments).exit_code == 130


def test_a_finished_run_is_found_elsewhere(single: Share, machine: Machine, tmp_path: Path) -> None:
    """Of several, this machine's own comes first; a value that is given means itself."""
    arguments = single(tmp_path)
    machine(2, True)
    good(*arguments)
    machine(1, False)
    before = snapshot(tmp_path, times=True)
    result = good(*arguments)
    assert NOTHING in result.stdout and "made with 2 threads, bf16 (here 1)" in result.stdout
    assert snapshot(tmp_path, times=True) == before
    assert NOTHING not in good(*arguments, "--threads", "1").stdout
    assert NOTHING not in good(*arguments, "--precision", "fp32", "--threads", "2").stdout
    assert runs(tmp_path) == [(1, "fp32"), (2, "bf16"), (2, "fp32")]
    for cores, bf16, made in OWN:
        machine(cores, bf16)
        text = good(*arguments).stdout
        assert NOTHING in text and f"made with {made}" in text and "(here" not in text
    machine(4, True)
    assert "made with 2 threads, fp32 (here 4)" in good(*arguments).stdout  # the newest
    assert "made with 2 threads, bf16 (here 4)" in good(*arguments, "--precision", "bf16").stdout
    assert len(runs(tmp_path)) == 3


def test_an_interrupted_run_is_refused_elsewhere(
    single: Share, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names both values, and what it advises goes on: bit for bit, or marked."""
    machine(2, False)
    good(*single(tmp_path / "whole"))
    stopped(single(tmp_path / "parts"), monkeypatch)
    machine(1, False)
    text = refused(*single(tmp_path / "parts"), says=("after update 5", "threads 2, here 1", "--inexact", "--force"))
    assert "--threads 2 to go on here bit for bit" in text and not list((tmp_path / "parts").glob("train-single/*"))
    status = good("status", "-w", tmp_path / "parts").stdout
    assert "threads 2, here 1" in status and "--threads 2" in status
    assert "goes on after update 5" in good(*single(tmp_path / "parts", "--threads", "2")).stdout
    assert hashed(tmp_path / "parts") == hashed(tmp_path / "whole")


def test_inexact_goes_on_with_this_machines_values(
    single: Share, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its first name, so that it is found on both machines; a mix of precisions shows in the report."""
    arguments = single(tmp_path)
    machine(2, True)
    stopped(arguments, monkeypatch)
    machine(1, False)
    text = refused(*arguments, says=("precision bf16, here fp32", "threads 2, here 1", "--inexact"))
    assert "bit for bit, or" not in text
    stopped((*arguments, "--inexact"), monkeypatch, after=7)
    assert "goes on after update 8" in good(*arguments).stdout  # as it went on last
    run = json.loads(only(tmp_path, f"train-single/*/{META}").read_text())
    assert runs(tmp_path) == [(2, "bf16")]
    assert (run["info"]["exact"], run["info"]["precision"]) == (False, "bf16+fp32")
    assert not list(tmp_path.glob("checkpoints/*"))
    for cores, bf16 in ((1, False), (2, True)):
        machine(cores, bf16)
        assert NOTHING in good(*arguments).stdout
    assert "bf16+fp32" in good("report", "-w", tmp_path).stdout


def test_force_begins_with_this_machines_values(
    single: Share, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is left over of the other is told; an interrupted --force is found again elsewhere, too."""
    arguments = single(tmp_path)
    machine(2, False)
    stopped(arguments, monkeypatch)
    machine(1, False)
    assert "goes on" not in good(*arguments, "--force").stdout
    assert runs(tmp_path) == [(1, "fp32")]
    status = good("status", "-w", tmp_path).stdout
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("checkpoints/*/*"))
    assert f"{', '.join(left)}:\n  of no use any more; delete the folders" in status
    assert "left over: its run stands as train-single/first-" in status
    stopped((*arguments, "--force"), monkeypatch)
    machine(3, False)
    text = refused(*arguments, "--force", says=("threads 1, here 3", "delete", "to train anew"))
    assert "--force" not in text
    assert kept(good(*arguments).stdout)[-1].startswith("train-single/first-")
    assert "goes on after update 5" in good(*arguments, "--force", "--threads", "1").stdout


def test_stages_are_found_elsewhere(share: Share, machine: Machine, tmp_path: Path) -> None:
    """Fusion over single-task runs: both stages."""
    words = without(without(share(tmp_path, tasks="first,second"), "--threads"), "--precision")
    arguments = (*words, "--method", "adapterfusion", "--max-steps", "8", "--task-sampling", "uniform")
    machine(2, True)
    good(*arguments)
    machine(1, False)
    result = good(*arguments)
    assert NOTHING in result.stdout
    assert result.stdout.count("made with 2 threads, bf16 (here 1)") == 3


def test_runs_of_several_numbers_of_threads_count_together(share: Share, tmp_path: Path) -> None:
    """Seeds that were spread over machines are replicates; a seed that was run on two is not its own replicate."""
    quick = share(tmp_path, "--method", "shared", "--max-steps", "2", "--first-check", "2", tasks="first,second")
    good(*quick, "--seed", "0", "--threads", "1")
    good(*quick, "--seed", "1", "--threads", "2")
    correlate = ("correlate", "--run", "shared", "--measure", "gradient", "-w", tmp_path)
    (made_of,) = json.loads(good(*correlate, "--json").stdout)["artefacts"]
    assert [Path(run).name[:7] for run in made_of["info"]["runs"]] == ["shared-"] * 2
    report = json.loads(good("report", "-w", tmp_path, "--json").stdout)
    (both,) = {row["key"] for row in report["artefacts"][0]["results"]}

    good(*quick, "--seed", "0", "--threads", "2")
    result = good(*correlate)
    assert "kept apart, as runs of one seed differ in nothing else" in result.output
    assert result.output.count("(threads 2)") == 2 and result.output.count("(threads 1)") == 1
    report = json.loads(good("report", "-w", tmp_path, "--json").stdout)
    keys = {(row["key"].split(" ")[1], row["seed"]) for row in report["artefacts"][0]["results"]}
    assert keys == {("threads=1", 0), ("threads=2", 0), ("threads=2", 1)}
    assert both not in {row["key"] for row in report["artefacts"][0]["results"]}
