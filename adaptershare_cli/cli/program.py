"""The program's group of commands: signals while a command runs, and the one place where errors become exit codes.

Our errors are no subclasses of Typer's: the class that Typer catches (`ClickException`) is private, its own printing
knows neither `where` nor `fix`, and what is used from Python would have to import Typer. `Program.invoke` catches ours
before Typer would see them, and turns Typer's complaints about bounds into ours. Anything else is a fault of the
program and keeps its traceback.
"""

from __future__ import annotations

import errno
import signal
from dataclasses import replace
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from adaptershare_cli.cli.console import as_json, print_json, show_error
from adaptershare_cli.cli.streams import loss, make_reliable
from adaptershare_cli.errors import AdapterShareError, Interrupted, RunError, UserError
from adaptershare_cli.settings.fields import flag, out_of_bounds
from adaptershare_cli.signals import interrupt, on_signals

AS_JSON = "adaptershare.json"  # in the context's `meta`: whether a program asks
VERBOSE = "adaptershare.verbose"  # in the context's `meta`: whether --verbose stands beside --version
INVOCATION = "adaptershare.invocation"  # in the context's `meta`: the command that goes on where this one stopped
# What a full, read-only or failing disk says, or one that knows less than others; any other OSError is a fault of the
# program.
DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.EFBIG, errno.ELOOP, errno.EBUSY, errno.ENOTEMPTY, errno.EXDEV,
    errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ETXTBSY, errno.EMLINK, errno.EMFILE,
    errno.ENFILE, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN,
)  # fmt: skip


class Program(TyperGroup):
    """The group of all commands."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program on streams that can be relied on; it does not end well where its output was lost."""
        output = make_reliable()
        try:
            return super().main(*args, **options)
        except SystemExit as end:
            if end.code or not (reason := loss(output)):
                raise
            lost = RunError(f"Not all that was printed could be written: {reason}", where="standard output")
            show_error(lost)
            raise SystemExit(lost.exit_code) from end

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether a program asks, for errors that come before the command's options are known, and how much."""
        ctx.meta[AS_JSON] = "--json" in args
        ctx.meta[VERBOSE] = "--verbose" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with --json, an error is one JSON object on stdout too, whatever it is."""
        try:
            return self._invoke(ctx)
        except typer.Exit as end:
            if isinstance(end.__cause__, AdapterShareError) and ctx.meta[AS_JSON]:
                print_json({"exit_code": end.exit_code, "error": as_json(end.__cause__)})
            raise
        except Exception as error:  # of the command line's words, which Typer shows, or a fault of the program
            if ctx.meta[AS_JSON]:
                is_usage = isinstance(error, TyperException)
                what = error.format_message() if is_usage else f"{type(error).__name__}: {error}"  # type: ignore[attr-defined]
                told = UserError(what) if is_usage else RunError(f"A fault of the program: {what}")
                print_json({"exit_code": told.exit_code, "error": as_json(told)})
            raise

    def _invoke(self, ctx: Any) -> Any:
        """Parse the command's options and run it; a known error is shown and ends with its exit code."""
        try:
            with on_signals(interrupt, signal.SIGTERM):
                return super().invoke(ctx)
        except (Interrupted, KeyboardInterrupt) as error:
            stopped = error if isinstance(error, Interrupted) else Interrupted("Stopped; what was made is kept")
            again = f": {ctx.meta[INVOCATION]}" if INVOCATION in ctx.meta else ""
            _end(replace(stopped, fix=f"Run the same command again to go on{again or '.'}"))
        except AdapterShareError as error:
            _end(error)
        except typer.BadParameter as error:
            refused = bounds_error(error)
            if refused is None:
                raise
            _end(refused)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            _end(RunError(f"A file cannot be read or written: {error.strerror}", where=str(error.filename or "")))


def bounds_error(error: typer.BadParameter) -> UserError | None:
    """Typer's complaint that a number is out of bounds with option, value and both bounds; None if it is another."""
    from pydantic import ValidationError

    if error.param is None or not isinstance(error.__cause__, ValidationError):
        return None
    complaint, *_ = error.__cause__.errors()
    if complaint["type"] not in ("greater_than_equal", "less_than_equal"):
        return None
    return out_of_bounds(flag(error.param.name), complaint["input"], error.param.min, error.param.max)  # type: ignore[attr-defined]


def _end(error: AdapterShareError) -> NoReturn:
    show_error(error)
    raise typer.Exit(error.exit_code) from error
