"""Who runs trainings: an executor takes jobs and answers with artefacts. One file each, found by its name."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.job import Job
from adaptershare_cli.store.artefact import Artefact


class Pending(Protocol):
    """A job that was taken on."""

    def result(self) -> Artefact:
        """Its artefact, once that is there. Raises what the training raised."""
        ...


class Executor(Protocol):
    """Takes jobs on, and has each of them made once. Whoever makes an artefact, it is the same.

    One that runs jobs in other processes tells the context's screen itself what was made there or kept.
    """

    jobs: int  # how many trainings it runs at once

    def submit(self, job: Job) -> Pending:
        """Take a job on. What it starts from must be there."""
        ...


def open_executor(context: StageContext) -> Executor:
    """The executor that the command asked for: `make(context)` in the module of this folder that has its name."""
    name = "processes" if context.runtime.jobs > 1 else "sequential"
    return import_module(f"{__name__}.{name}").make(context)
