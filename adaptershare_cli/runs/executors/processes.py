"""Several trainings at once, each in a process of its own, as many as `--jobs` says.

A process ends with its training, so memory is given back, and one that is killed takes no other training with it. What
it tells is shown here; its artefact lies in the workspace, as if it had been made here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

from rich.table import Table

from adaptershare_cli.errors import AdapterShareError, Interrupted, RunError
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.executors.sequential import Done
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.results import find_run
from adaptershare_cli.runs.train import train_run
from adaptershare_cli.scratch import use_scratch
from adaptershare_cli.signals import interrupt, on_signals
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.workspace import Workspace

HEAVY = "adaptershare_cli.runs.training"  # imports torch: done once, in the process that all others are forked from
SECONDS = 10.0  # between two lines of a training that runs
TOLD, DONE, FAILED, BROKEN = "told", "done", "failed", "broken"


@dataclass
class Running:
    """A job that was taken on: it waits, runs, or has ended."""

    executor: Processes
    job: Job
    process: Any = None
    connection: Connection | None = None
    ended: bool = False
    error: BaseException | None = None

    def result(self) -> Artefact:
        """Its artefact, once that is there. Raises what the training raised, after the others have been stopped."""
        while not self.ended:
            self.executor.attend()
        if self.error is not None:
            self.executor.stop()
            raise self.error
        found = find_run(self.executor.context.workspace, self.job)
        if found is None:
            raise RunError("A training's artefact is gone", where=f"{self.job.stage}/{self.job.name}")
        self.executor.context.done[found.label] = found
        return found


@dataclass
class Processes:
    """Runs up to `jobs` trainings at once, in the order in which they were submitted."""

    context: StageContext
    jobs: int
    waiting: list[Running] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)

    def submit(self, job: Job) -> Running | Done:
        """Take a job on; what is there already is looked at here and now."""
        if not job.again and find_run(self.context.workspace, job) is not None:
            return Done(train_run(self.context, job))
        taken = Running(self, job)
        self.waiting.append(taken)
        self._fill()
        return taken

    def attend(self) -> None:
        """Wait until a running training tells something, and show it. An interruption stops them all first."""
        try:
            connections = {taken.connection: taken for taken in self.running}
            for connection in wait([found for found in connections if found is not None]):
                self._hear(connections[connection])  # type: ignore[index]
            self._fill()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Have every training that runs save its checkpoint and end; those that wait are forgotten."""
        self.waiting.clear()
        for taken in self.running:
            with suppress(ProcessLookupError):
                os.kill(taken.process.pid, signal.SIGTERM)
        while self.running:
            for taken in [*self.running]:
                self._hear(taken)

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.jobs:
            taken = self.waiting.pop(0)
            taken.connection, theirs = multiprocessing.Pipe(duplex=False)
            workspace = self.context.workspace
            given = (
                Path.cwd(),
                workspace.root,
                workspace.command,
                self.context.no_wait,
                self.context.prepared,
                taken.job,
            )
            taken.process = _processes().Process(target=_train, args=(theirs, *given), daemon=True)
            taken.process.start()
            theirs.close()
            self.running.append(taken)

    def _hear(self, taken: Running) -> None:
        """Show what a training tells, or note how it ended."""
        assert taken.connection is not None
        try:
            kind, *said = taken.connection.recv()
        except EOFError:
            taken.process.join()
            kind, said = BROKEN, [f"it ended with {taken.process.exitcode}"]
        if kind == TOLD:
            name, arguments = said
            getattr(self.context.reporter, name)(*arguments)
            return
        if kind == FAILED:
            error, *words = said
            taken.error = error(*words)
        elif kind == BROKEN:
            what = f"The process that trained {taken.job.name} (seed {taken.job.seed}) broke: {said[0]}"
            fix = "The same command goes on from the last checkpoint; fewer --jobs take less memory."
            taken.error = RunError(what, fix=fix)
        taken.ended = True
        self.running.remove(taken)
        taken.process.join()
        taken.connection.close()


def make(context: StageContext) -> Processes:
    """The executor for a command."""
    return Processes(context, context.runtime.jobs)


def _processes() -> ForkServerContext | SpawnContext:
    """Where processes come from: a server that has torch imported and has computed nothing yet, where there is one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([HEAVY])
    return context


def _train(
    connection: Connection, here: Path, root: Path, command: str, no_wait: bool, prepared: list[Artefact], job: Job
) -> None:
    """In the process: run the job, and say how it ended."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C reaches the command alone, which then stops its processes
    os.chdir(here)
    use_scratch(root)
    try:
        with on_signals(interrupt, signal.SIGTERM):
            context = StageContext(Workspace(root, command=command), Relay(connection), no_wait=no_wait)
            context.prepared = prepared
            train_run(context, job)
            ending: tuple[Any, ...] = (DONE,)
    except AdapterShareError as error:
        ending = (FAILED, type(error), error.what, error.where, error.fix)
    except KeyboardInterrupt:
        ending = (FAILED, Interrupted, "Stopped; what was made is kept")
    except Exception:  # a fault of the program: told as one where the command runs
        ending = (BROKEN, traceback.format_exc())
    with suppress(OSError):
        connection.send(ending)


@dataclass
class Relay:
    """The `Screen` of a training in another process: what it tells is shown where the command runs."""

    connection: Connection

    def tell(self, name: str, *arguments: Any) -> None:
        """Have a method of the command's screen called. Where the command is gone, this process asks itself to stop."""
        try:
            self.connection.send((TOLD, name, arguments))
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)

    def line(self, text: str) -> None:
        """One plain line."""
        self.tell("line", text)

    def kept_artefact(self, label: str, detail: str = "", quiet: bool = False) -> None:
        """An artefact is there already."""
        self.tell("kept_artefact", label, detail, quiet)

    def made_artefact(self, label: str, detail: str = "", quiet: bool = False) -> None:
        """An artefact was made."""
        self.tell("made_artefact", label, detail, quiet)

    def taken(self, what: str, how: str) -> None:
        """What was chosen where the user did not."""
        self.tell("taken", what, how)

    def fault(self, error: AdapterShareError) -> None:
        """Something is wrong that does not stop the command."""
        self.tell("fault", error)

    def path(self, text: str) -> None:
        """Where something is."""
        self.tell("path", text)

    def table(self, table: Table) -> None:
        """A table."""
        self.tell("table", table)

    def aside(self) -> None:
        """The command itself knows where its lines go."""

    @contextmanager
    def counting(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Rows are not counted from afar."""
        yield lambda more: None

    @contextmanager
    def training(self, name: str, total: int, done: int = 0) -> Iterator[RelayedTraining]:
        """A line now and then; as several trainings run, none has the screen for itself."""
        yield RelayedTraining(self, name, total)


@dataclass
class RelayedTraining:
    """One training as it is seen from afar."""

    relay: Relay
    name: str
    total: int
    told: float = field(default_factory=time.monotonic)

    def step(self, step: int, task: str, loss: float, rows: int) -> None:
        """One update was made."""
        if time.monotonic() - self.told >= SECONDS:
            self.told = time.monotonic()
            self.relay.line(f"{self.name}: step {step}/{self.total}  task {task}  loss {loss:.3f}")

    def resume(self, step: int) -> None:
        """The training goes on after this update."""
        self.relay.line(f"{self.name}: goes on after update {step} of {self.total}")

    def note(self, text: str) -> None:
        """One line that stays."""
        self.relay.line(f"{self.name}: {text}")

    def table(self, table: Table) -> None:
        """A table that stays."""
        self.relay.table(table)

    def scoring(self, task: str, split: str, rows: int) -> None:
        """Scoring of a part begins: not worth a line of its own."""
