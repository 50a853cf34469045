"""What commands, studies and runs tell a person, as they see it; `cli.console` shows it on a terminal or in a pipe."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from rich.markup import escape
from rich.table import Table

from adaptershare_cli.errors import AdapterShareError

LONGEST_TEXT = 4000  # characters of a text that are shown
CONSTANT = "constant"  # what tables call one prediction for all rows
DEGENERATE = "*"  # marks a score of predictions that tell nothing of the rows


def shown(text: str) -> str:
    """Text of a user's or a file's for the console: no markup, control characters written out, of bounded length."""
    cut = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    odd = {ord(sign) for sign in cut if unicodedata.category(sign) in ("Cc", "Cs", "Cf") and sign != "\n"}
    return escape(cut.translate({sign: ascii(chr(sign))[1:-1] for sign in odd}))


class TrainingView(Protocol):
    """One training while it runs."""

    def step(self, step: int, task: str, loss: float, rows: int) -> None:
        """One update was made."""

    def resume(self, step: int) -> None:
        """The training goes on after this update."""

    def note(self, text: str) -> None:
        """One line that stays."""

    def table(self, table: Table) -> None:
        """A table that stays."""

    def scoring(self, task: str, split: str, rows: int) -> None:
        """Scoring of a part begins."""


class Screen(Protocol):
    """Where lines and tables go."""

    def line(self, text: str) -> None:
        """One plain line."""

    def kept_artefact(self, label: str, detail: str = "", quiet: bool = False) -> None:
        """An artefact is there already (`quiet`: it stands in the summary only)."""

    def made_artefact(self, label: str, detail: str = "", quiet: bool = False) -> None:
        """An artefact was made (`quiet`: it stands in the summary only)."""

    def taken(self, what: str, how: str) -> None:
        """What the command chose where the user did not, and how to choose otherwise; said once."""

    def fault(self, error: AdapterShareError) -> None:
        """Something is wrong that does not stop the command, which ends with exit code 1."""

    def path(self, text: str) -> None:
        """Where something is that the command made or kept."""

    def table(self, table: Table) -> None:
        """A table."""

    def aside(self) -> None:
        """From here on nothing goes to standard output, which is for the command's result."""

    def counting(self, name: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """A view of rows that are worked on, `total` of them if that is known; it is told how many more are done."""
        ...

    def training(self, name: str, total: int, done: int = 0) -> AbstractContextManager[TrainingView]:
        """A view of one training of `total` updates."""
        ...
