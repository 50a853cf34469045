"""What a person sees: lines, progress bars, tables and errors. Programs get one JSON object on stdout instead."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.table import Table

from adaptershare_cli.cli.fitting import fitted
from adaptershare_cli.cli.progress import RowsProgress, TrainingProgress
from adaptershare_cli.errors import AdapterShareError
from adaptershare_cli.screen import shown

NO_WIDTH = 9999


def as_json(error: AdapterShareError) -> dict[str, str]:
    """An error as programs get it."""
    return {"what": error.what, "where": error.where, "fix": error.fix}


def print_json(summary: dict[str, Any]) -> None:
    """The one object on stdout. JSON knows no number that is not finite: null stands for it."""
    print(json.dumps(_finite(summary), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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

    With `as_json`, all that is for people goes to stderr, and `finish` prints the summary on stdout. A `quiet` one
    shows nothing but faults.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self._open(aside=as_json)
        self.made: list[str] = []
        self.kept: list[str] = []
        self.choices: list[str] = []
        self.faults: list[AdapterShareError] = []

    def _open(self, aside: bool) -> None:
        interactive = (sys.stderr if aside else sys.stdout).isatty()
        is_notebook = Console().is_jupyter
        # In a pipe or a file there is no width to fit: tables stay whole.
        self.has_width = interactive or is_notebook or "COLUMNS" in os.environ
        # Lines are broken by the terminal alone, so that paths and commands in them can be copied.
        self.console = Console(
            stderr=aside, highlight=False, soft_wrap=True, width=None if self.has_width else NO_WIDTH, quiet=self.quiet
        )
        can_move = bool(find_spec("ipywidgets")) if is_notebook else interactive and not self.console.is_dumb_terminal
        self.has_bar = can_move and not self.quiet

    def aside(self) -> None:
        """From here on all that is for people goes to stderr: stdout is for the command's result."""
        self._open(aside=True)

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

    def taken(self, what: str, how: str) -> None:
        """What the command chose where the user did not, and how to choose otherwise; said once."""
        if what not in self.choices:
            self.choices.append(what)
            self.console.print(f"[dim]taken[/dim] {shown(what)}  [dim]({shown(how)})[/dim]")

    def fault(self, error: AdapterShareError) -> None:
        """Say at once what is wrong; the command goes on, and ends with exit code 1."""
        self.faults.append(error)
        show_error(error)

    def path(self, text: str) -> None:
        """Where something is that the command made or kept."""
        self.console.print(f"  {shown(text)}", style="cyan")

    def table(self, table: Table) -> None:
        """A table, as wide as it can be shown."""
        for part in fitted(table, self.console, self.console.width if self.has_width else None):
            self.console.print(part, soft_wrap=not self.has_width)

    @property
    def exit_code(self) -> int:
        """That of a command that came to its end."""
        return 1 if self.faults else 0

    def finish(self, summary: dict[str, Any]) -> None:
        """The end of a command: the summary as JSON if that was asked for, else a line if nothing was to do."""
        if self.as_json:
            ended = {"exit_code": self.exit_code, "damaged": [as_json(error) for error in self.faults]}
            print_json({**ended, **summary, "made": self.made, "kept": self.kept, "taken": self.choices})
        elif not self.made:
            self.line("Nothing to do: everything asked for is there already (--force makes it again).")

    @contextmanager
    def counting(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A view of rows that are worked on, `total` of them if that is known; it is told how many more are done."""
        with RowsProgress(self, name, total) as view:
            yield view.add

    @contextmanager
    def training(self, name: str, total: int, done: int = 0) -> Iterator[TrainingProgress]:
        """A view of one training: a bar on a terminal, a line now and then elsewhere."""
        with TrainingProgress(self, name, total, done) as view:
            yield view
