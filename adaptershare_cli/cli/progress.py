"""The view of one training: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adaptershare_cli.cli.fitting import shortened

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

PLAIN_EVERY_SECONDS = 15.0
LONG_RUN_SECONDS = 3600
WIDEST_BAR, LEAST_BAR = 40, 10
WIDEST_TASK, LEAST_NAME = 20, 12


@dataclass(frozen=True)
class Standing:
    """Where a training stands: `doing` is the task that was trained, or what else goes on; times are seconds."""

    name: str
    done: int
    total: int
    doing: str = ""
    loss: float | None = None
    rate: float = 0.0  # rows a second
    elapsed: float = 0.0
    left: float | None = None  # not known before the first update

    def line(self, width: int) -> tuple[str, int, str]:
        """Name, length of the bar, and the rest of a line of `width` cells: bar, step and time left above all.

        What gives way first is the name, then what is done a second, the time until now, the task, and the loss.
        """
        step = f"{self.done:>{len(str(self.total))}}/{self.total}"
        parts = [step, f"{_clock(self.left)} left"]
        task = shortened([self.doing], WIDEST_TASK)[self.doing]
        wanted = {
            "loss": "" if self.loss is None else f"loss {self.loss:.3f}",
            "task": f"{task:<{WIDEST_TASK}}" if self.loss is not None else self.doing,
            "elapsed": f"{_clock(self.elapsed)} so far",
            "rate": f"{self.rate:.0f} rows/s",
        }
        fitting: list[str] = []
        for what, part in wanted.items():
            room = width - LEAST_BAR - _length([*parts, *fitting]) - 4
            if what == "task" and WIDEST_TASK <= room < len(part):
                part = shortened([part], room)[part]
            if len(part) > room:
                break
            fitting += [part] if part else []
        room = width - _length([*parts, *fitting]) - 2
        has_name = len(fitting) == len(list(filter(None, wanted.values()))) and room >= LEAST_BAR + 2 + LEAST_NAME
        bar = max(0, min(WIDEST_BAR, max(LEAST_BAR, room - 2 - len(self.name)) if has_name else room))
        name = shortened([self.name], room - bar - 2)[self.name] if has_name else ""
        return name, bar, "  ".join([*parts, *fitting])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name, bar, rest = self.line(options.max_width)
        line = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        cells = [Text(name)] if name else []
        cells += [ProgressBar(self.total, self.done, width=bar)] if bar else []  # type: ignore[list-item]
        for _ in (*cells, rest):
            line.add_column(no_wrap=True, overflow="crop")
        line.add_row(*cells, Text(rest))
        yield line


class Teller(Protocol):
    """What a view needs of the terminal."""

    console: Console
    has_bar: bool

    def line(self, text: str) -> None: ...

    def table(self, table: Table) -> None: ...


class _Shown:
    """Work that shows how far it is: as a bar where the terminal has one, else now and then as a line.

    `standing` is asked from the beginning, so what it tells of must be there already.
    """

    def __init__(self, terminal: Teller, name: str) -> None:
        self.terminal, self.name = terminal, name
        self.started = self.printed = time.monotonic()
        self.bar: Live | None = None
        if terminal.has_bar:
            from rich.live import Live

            self.bar = Live(get_renderable=self.standing, console=terminal.console, transient=True)

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar:
            self.bar.stop()

    def standing(self) -> Standing | Text:
        """Where the work stands now."""
        raise NotImplementedError

    def line_due(self) -> bool:
        """Whether a line is to be printed now, where there is no bar."""
        due = self.bar is None and time.monotonic() - self.printed >= PLAIN_EVERY_SECONDS
        if due:
            self.printed = time.monotonic()
        return due


class TrainingProgress(_Shown):
    """Task, step, loss, rows per second and time left of one training, as a bar or as lines."""

    def __init__(self, terminal: Teller, name: str, total: int, done: int) -> None:
        self.total, self.first, self.done = total, done, done
        self.rows, self.loss = 0, 0.0
        self.doing, self.scored = "", False
        self.warned = False
        super().__init__(terminal, name)

    def standing(self) -> Standing:
        """Where the training stands now."""
        elapsed = time.monotonic() - self.started
        made = self.done - self.first
        left = elapsed / made * (self.total - self.done) if made else None
        rate = self.rows / max(elapsed, 1e-9)
        loss = None if self.scored or not self.rows else self.loss
        return Standing(self.name, self.done, self.total, self.doing, loss, rate, elapsed, left)

    def step(self, step: int, task: str, loss: float, rows: int) -> None:
        """One update was made."""
        self.rows += rows
        self.done, self.doing, self.scored = step, task, False
        if math.isfinite(loss):  # that of a skipped update is not
            self.loss = loss if step == self.first + 1 else 0.98 * self.loss + 0.02 * loss
        now = self.standing()
        if not self.warned and step - self.first == 20:
            self.warned = True
            if now.left is not None and now.left > LONG_RUN_SECONDS:
                self.terminal.line(
                    f"{self.name}: about {now.left / 3600:.1f} hours to go; --max-steps, --num-train-epochs, "
                    "--max-train-examples and --max-seq-length shorten it."
                )
        if self.line_due():
            self.terminal.line(
                f"{self.name}: step {step}/{self.total}  task {task}  loss {self.loss:.3f}  {now.rate:.0f} rows/s  "
                f"{now.left or 0:.0f} s left"
            )

    def resume(self, step: int) -> None:
        """The training goes on after this update."""
        self.first = self.done = step
        self.terminal.line(f"{self.name}: goes on after update {step} of {self.total}")

    def note(self, text: str) -> None:
        """One line that stays."""
        self.terminal.line(f"{self.name}: {text}")

    def table(self, table: Table) -> None:
        """A table that stays."""
        self.terminal.table(table)

    def scoring(self, task: str, split: str, rows: int) -> None:
        """Scoring of a part begins."""
        self.doing, self.scored = f"scoring {task} {split} ({rows} rows)", True


class RowsProgress(_Shown):
    """How many rows are done, how many a second, and the time left where that is known: a bar, or lines."""

    def __init__(self, terminal: Teller, name: str, total: int | None) -> None:
        self.total, self.done = total, 0
        super().__init__(terminal, name)

    def standing(self) -> Standing | Text:
        """Where the work stands now."""
        elapsed = time.monotonic() - self.started
        rate = self.done / max(elapsed, 1e-9)
        if self.total is None:
            return Text(f"{self.name}  {self.done} rows  {rate:.0f} rows/s  {_clock(elapsed)} so far")
        left = elapsed / self.done * (self.total - self.done) if self.done else None
        return Standing(self.name, self.done, self.total, rate=rate, elapsed=elapsed, left=left)

    def add(self, rows: int) -> None:
        """So many more are done."""
        self.done += rows
        if self.line_due():
            rate = self.done / (self.printed - self.started)
            of = "" if self.total is None else f"/{self.total}"
            self.terminal.line(f"{self.name}: {self.done}{of} rows  {rate:.0f} rows/s")


def _clock(seconds: float | None) -> str:
    """Hours, minutes and seconds."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _length(parts: list[str]) -> int:
    return sum(map(len, parts)) + 2 * (len(parts) - 1)
