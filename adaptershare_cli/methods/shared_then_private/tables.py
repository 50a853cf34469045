"""What each task had to choose from, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from adaptershare_cli.methods.start import PastRun


def choices(run: PastRun, title: str) -> Iterator[Table]:
    """Each task's main metric on select rows after each training, what was chosen marked."""
    found: dict[str, dict[str, str]] = {}
    for row in run.table("choices").to_pylist():
        mark = "* " if row["chosen"] else ""
        found.setdefault(row["task"], {})[row["choice"]] = f"{mark}{100 * row['value']:.1f}"
    table = Table(title=f"Choices, {title} (main metric on select rows)")
    table.add_column("task")
    for name in next(iter(found.values())):
        table.add_column(name, justify="right")
    for task, values in found.items():
        table.add_row(task, *values.values())
    yield table
