"""One training after the other, in this process."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.train import train_run
from adaptershare_cli.store.artefact import Artefact


@dataclass(frozen=True)
class Done:
    """A job that was run when it was submitted."""

    artefact: Artefact

    def result(self) -> Artefact:
        """Its artefact."""
        return self.artefact


@dataclass(frozen=True)
class Sequential:
    """Runs each job when it is submitted."""

    context: StageContext
    jobs: int = 1

    def submit(self, job: Job) -> Done:
        """Run the job to its end."""
        return Done(train_run(self.context, job))


def make(context: StageContext) -> Sequential:
    """The executor for a command."""
    return Sequential(context)
