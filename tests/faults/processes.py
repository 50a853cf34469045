"""Command lines as processes, forked from one that has torch imported: one starts in a few hundredths of a second."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, ClassVar

SECONDS = 120  # a process that is not done by then is a failure
ROOT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.imports"])


def start_server(environment: Mapping[str, str], log: Path) -> None:
    """Start the process that others are forked from, with the repository on its path, and wait until it is ready.

    It keeps the environment that it is started in, and so do all that are forked from it.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    own = {**environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        forkserver.ensure_running()
        Command(log, ("--version",)).wait()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Command:
    """One command line that runs as a process; its output goes to a file.

    `prepare(*its arguments)`, a function of a module, is called in the process before the command.
    """

    all: ClassVar[list[Command]] = []

    def __init__(self, log: Path, arguments: Iterable[Any], prepare: Callable | None = None, *given: Any) -> None:
        self.log = log
        words = [str(argument) for argument in arguments]
        self.process = CONTEXT.Process(target=_run, args=(str(log), words, prepare, given), daemon=True)
        self.started = time.monotonic()
        self.process.start()
        self.all.append(self)

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process.pid is not None
        return self.process.pid

    def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        self.process.join(SECONDS)
        assert self.process.exitcode is not None, f"still running: {self.output}"
        self.seconds = time.monotonic() - self.started
        return self.process.exitcode

    def kill_after(self, seconds: float, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal so long after the start; whether the process was still running then."""
        self.process.join(max(0.0, self.started + seconds - time.monotonic()))
        running = self.process.exitcode is None
        if running:
            os.kill(self.pid, number)
        return running

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait_until_stopped(self) -> None:
        """Wait until SIGSTOP has stopped it."""
        end = time.monotonic() + SECONDS
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] not in "Tt":
            assert time.monotonic() < end and self.process.exitcode is None, self.output
            time.sleep(0.005)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def lines(self, text: str) -> list[str]:
        """Printed lines that hold `text`."""
        return [line for line in self.output.splitlines() if text in line]

    def labels(self, word: str) -> list[str]:
        """The artefacts of lines that begin with a word: `made` or `kept`."""
        return [line.split()[1] for line in self.output.splitlines() if line.startswith(f"{word} ")]

    def wait_for(self, text: str) -> None:
        """Wait until `text` is printed."""
        end = time.monotonic() + SECONDS
        while text not in self.output:
            assert time.monotonic() < end and self.process.exitcode is None, f"{text!r} is not in: {self.output}"
            time.sleep(0.005)


def kill_all() -> None:
    """Kill what still runs, or is stopped, at the end of the tests."""
    for command in Command.all:
        if command.process.is_alive():
            command.process.kill()


def _run(log: str, arguments: list[str], prepare: Callable | None, given: tuple) -> None:
    """In the process: send output to the file, prepare, run the command, end with its exit code."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if prepare is not None:
        prepare(*given)
    from adaptershare_cli.cli.app import app

    app(arguments, prog_name="adaptershare")


def send_at(module: str, attribute: str, count: int, number: int) -> None:
    """Have this process send itself a signal when a function or method of `module` is called for the n-th time.

    For `Command`: the moment of a kill does not depend on how fast the machine is.
    """
    owner: Any = import_module(module)
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), itertools.count(1)

    def signalling(*args: Any, **options: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), number)
        return function(*args, **options)

    setattr(owner, name, signalling)


def elsewhere(function: Callable, *arguments: Any) -> None:
    """Call a function of a module in a process of its own, which must end well."""
    process = CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    process.join(SECONDS)
    assert process.exitcode == 0, process.exitcode
