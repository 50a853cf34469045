"""A training is plain values: whoever runs a job, in whichever process, the artefact is the same."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.executors import open_executor
from adaptershare_cli.runs.executors.sequential import Done
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.results import find_run
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import SPLITTING, Share, call, good, hashed, kept, made
from tests.faults.processes import elsewhere


def run_job(data: bytes, root: Path, answer: Path) -> None:
    """In another process: run a job that came as bytes, and write down what it made."""
    context = StageContext(Workspace(root), Terminal(as_json=True))
    answer.write_text(open_executor(context).submit(pickle.loads(data)).result().label)


@dataclass
class Elsewhere:
    """Sends each job to a process of its own, as bytes."""

    context: StageContext
    labels: list[str]

    def submit(self, job: Job) -> Done:
        """Run the job there, and find here what it made."""
        answer = self.context.workspace.root.with_suffix(".answer")
        elsewhere(run_job, pickle.dumps(job), self.context.workspace.root, answer)
        self.labels.append(answer.read_text())
        artefact = find_run(self.context.workspace, job)
        assert artefact is not None
        return Done(artefact)


@pytest.mark.parametrize(
    "method",
    [
        ("adaptershare", *SPLITTING),
        ("given-plan", "--init-plan", "adaptershare"),
        # Its first stage is a job for each task, and each is what the second one starts from.
        ("adapterfusion", "--task-sampling", "uniform", "--fusion-learning-rate", "0.01"),
    ],
)
def test_a_job_run_in_another_process_gives_the_same_bytes(
    method: tuple[str, ...], share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_server: None
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for workspace in (here, there):
        if "--init-plan" in method:
            good(*share(workspace, *SPLITTING))
    good(*share(here, "--method", *method))
    labels: list[str] = []
    monkeypatch.setattr(
        "adaptershare_cli.commands.train_share.open_executor", lambda context: Elsewhere(context, labels)
    )
    output = good(*share(there, "--method", *method)).stdout
    assert hashed(there) == hashed(here)
    assert len(labels) == (4 if method[0] == "adapterfusion" else 1)
    assert not set(labels) & {*made(output), *kept(output)}  # this process made the rows alone


def test_a_job_equals_what_comes_back_of_its_bytes(
    share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []

    class Refusing:
        def submit(self, job: Job) -> Any:
            seen.append(job)
            raise KeyboardInterrupt

    monkeypatch.setattr("adaptershare_cli.commands.train_share.open_executor", lambda context: Refusing())
    assert call(*share(tmp_path / "w", "--method", "sparse-sharing", "--rounds", "2")).exit_code == 130
    (job,) = seen
    back = pickle.loads(pickle.dumps(job))
    assert back == job and back.request() == job.request()
