"""The ways in which a command ends badly, and their exit codes: wrong input, a failed run, an interruption.

`cli.program` shows them and ends with their exit code; from Python they are exceptions like others. Any other exception
is a fault of the program.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class AdapterShareError(Exception):
    """An error with what happened, where, and what to do about it; shown without a traceback."""

    what: str
    where: str = ""
    fix: str = ""

    exit_code = 1

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, f"({self.where})" if self.where else "", self.fix) if part)


class UserError(AdapterShareError):
    """The user's input is wrong: exit code 2, nothing is written."""

    exit_code = 2


class RunError(AdapterShareError):
    """A run failed; what it had is kept: exit code 1."""

    exit_code = 1


class Interrupted(AdapterShareError):
    """SIGINT or SIGTERM arrived; the checkpoint is saved: exit code 130."""

    exit_code = 130
