"""Sessions: demo, tests, lint, slow, bench. All share one environment, pinned by constraints.txt."""

from __future__ import annotations

import os

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]
ENVIRONMENT = ".nox/adaptershare"
DATA = os.environ.get("ADAPTERSHARE_DATA", "../shared/data")


def install(session: nox.Session) -> None:
    """Install torch first (a CPU build where one is at hand), then the package with its extras."""
    session.install("-c", "constraints.txt", "torch")
    session.install("-c", "constraints.txt", "-e", ".[offline,dev]")


@nox.session(venv_location=ENVIRONMENT)
def demo(session: nox.Session) -> None:
    """Train AdapterShare on the embedded tiny tasks, draw who shares with whom, and report."""
    install(session)
    session.run("adaptershare", "train-share", "--tasks", "tiny", "--num-train-epochs", "8", *session.posargs)
    session.run("adaptershare", "correlate", "--plot")
    session.run("adaptershare", "report")


@nox.session(venv_location=ENVIRONMENT)
def tests(session: nox.Session) -> None:
    """The fast tests; they need neither network nor data from outside."""
    install(session)
    # One thread a worker: small models gain nothing from more, and workers would wait for each other.
    session.run("pytest", "-n", "auto", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(venv_location=ENVIRONMENT)
def lint(session: nox.Session) -> None:
    """Style and types."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(venv_location=ENVIRONMENT)
def slow(session: nox.Session) -> None:
    """Minutes: real data (ADAPTERSHARE_DATA, by default ../shared/data) and the embedded encoder."""
    install(session)
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def bench(session: nox.Session) -> None:
    """About an hour: 8 GLUE tasks, private, shared (also with encoder dropout) and adaptershare, then the report."""
    install(session)
    common = ["--config", "tests/benchmarks/glue8.toml", "--from", DATA, "-w", "workspace/glue8"]
    for options in (["private"], ["shared"], ["shared", "--encoder-dropout"], ["adaptershare"]):
        session.run("adaptershare", "train-share", *common, "--method", *options, *session.posargs)
    session.run("adaptershare", "report", "-w", "workspace/glue8")
