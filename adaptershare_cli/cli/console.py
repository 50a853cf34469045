"""What a person sees: lines, progress bars, tables and errors. Programs get one JSON object on stdout instead."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from adaptershare_cli.errors import AdapterShareError
from adaptershare_cli.screen import shown

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_EVERY_SECONDS = 15.0
LONG_RUN_SECONDS = 3600
PLAIN_WIDTH = 140


def show_error(error: AdapterShareError) -> None:
    """What happened, where, and what to do, on stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[red]error:[/red] {shown(error.what)}")
    if error.where:
        console.print(f"  where: {shown(error.where)}")
    if error.fix:
        console.print(f"  fix:   {shown(error.fix)}")


class Terminal:
    """The `Screen` of a command: a terminal, a pipe or a file.

    With `as_json`, all that is for people goes to stderr, and `finish` prints the summary on stdout.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        interactive = (sys.stderr if as_json else sys.stdout).isatty()
        # In a pipe or a file there is no width to fit: wide enough that tables stay whole.
        width = None if interactive or "COLUMNS" in os.environ else PLAIN_WIDTH
        self.console = Console(stderr=as_json, highlight=False, soft_wrap=not interactive, width=width)
        self.made: list[str] = []
        self.kept: list[str] = []

    def line(self, text: str) -> None:
        """One plain line."""
        self.console.print(shown(text))

    def kept_artefact(self, label: str, detail: str = "", quiet: bool = False) -> None:
        """Say that an artefact is there already (`quiet`: only in the summary)."""
        self.kept.append(label)
        if not quiet:
            self.console.print(f"[dim]kept[/dim]  {shown(label)}{'  ' + shown(detail) if detail else ''}")

    def made_artefact(self, label: str, detail: str = "", quiet: bool = False) -> None:
        """Say that an artefact was made (`quiet`: only in the summary)."""
        self.made.append(label)
        if not quiet:
            self.console.print(f"[green]made[/green]  {shown(label)}{'  ' + shown(detail) if detail else ''}")

    def path(self, text: str) -> None:
        """Where something is that the command made or kept."""
        self.console.print(f"  {shown(text)}", style="cyan")

    def table(self, table: Table) -> None:
        """A table."""
        self.console.print(table)

    def finish(self, summary: dict[str, Any]) -> None:
        """The end of a command: the summary as JSON if that was asked for, else a line if nothing was to do."""
        if self.as_json:
            print(json.dumps({**summary, "made": self.made, "kept": self.kept}, ensure_ascii=False))
        elif not self.made:
            self.line("Nothing to do: everything asked for is there already (--force makes it again).")

    @contextmanager
    def training(self, name: str, total: int, done: int = 0) -> Iterator[TrainingProgress]:
        """A view of one training: a bar on a terminal, a line now and then elsewhere."""
        with TrainingProgress(self, name, total, done) as view:
            yield view


class TrainingProgress:
    """Task, step, loss, rows per second and time left of one training, as a bar or as lines."""

    def __init__(self, terminal: Terminal, name: str, total: int, done: int) -> None:
        self.terminal, self.name, self.total, self.first = terminal, name, total, done
        self.rows, self.loss = 0, 0.0
        self.started = self.printed = time.monotonic()
        self.warned = False
        self.bar: Progress | None = None
        if terminal.console.is_terminal:
            self.bar = _bar(terminal.console)

    def __enter__(self) -> TrainingProgress:
        if self.bar:
            self.bar.start()
            self.line = self.bar.add_task(shown(self.name), total=self.total, completed=self.first, state="")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, step: int, task: str, loss: float, rows: int) -> None:
        """One update was made."""
        self.rows += rows
        if math.isfinite(loss):  # that of a skipped update is not
            self.loss = loss if step == self.first + 1 else 0.98 * self.loss + 0.02 * loss
        now = time.monotonic()
        rate = self.rows / max(now - self.started, 1e-9)
        left = (now - self.started) / max(step - self.first, 1) * (self.total - step)
        if not self.warned and step - self.first == 20:
            self.warned = True
            if left > LONG_RUN_SECONDS:
                self.terminal.line(
                    f"{self.name}: about {left / 3600:.1f} hours to go; --max-steps, --num-train-epochs, "
                    "--max-train-examples and --max-seq-length shorten it."
                )
        if self.bar:
            state = f"{task[:20]:<20} loss {self.loss:.3f}  {rate:.0f} rows/s"
            self.bar.update(self.line, completed=step, state=shown(state))
        elif now - self.printed >= PLAIN_EVERY_SECONDS:
            self.printed = now
            self.terminal.line(
                f"{self.name}: step {step}/{self.total}  task {task}  loss {self.loss:.3f}  {rate:.0f} rows/s  "
                f"{left:.0f} s left"
            )

    def resume(self, step: int) -> None:
        """The training goes on after this update."""
        self.first = step
        self.terminal.line(f"{self.name}: goes on after update {step} of {self.total}")

    def note(self, text: str) -> None:
        """One line that stays."""
        self.terminal.line(f"{self.name}: {text}")

    def table(self, table: Table) -> None:
        """A table that stays."""
        self.terminal.table(table)

    def scoring(self, task: str, split: str, rows: int) -> None:
        """Scoring of a part begins."""
        if self.bar:
            self.bar.update(self.line, state=shown(f"scoring {task} {split} ({rows} rows)"))


def _bar(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    state = TextColumn("{task.fields[state]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), state)
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)
