"""What merging did to each task, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from adaptershare_cli.methods.start import PastRun


def merges(run: PastRun, title: str) -> Iterator[Table]:
    """Each task's main metric on select rows with its own adapter and with the merged one."""
    rows = run.table("merges").to_pylist()
    tried = len({tuple(row["group"]) for row in rows if len(row["group"]) > 1})
    table = Table(title=f"Merged adapters, {title} (main metric on select rows; {tried} mergings tried)")
    for name in ("task", "merged with", "alone", "merged"):
        table.add_column(name, justify="right" if name in ("alone", "merged") else "left")
    for task in run.record.tasks:
        (row,) = (row for row in rows if row["chosen"] and row["task"] == task)
        others = " ".join(other for other in row["group"] if other != task)
        table.add_row(task, others, f"{100 * row['alone']:.1f}", f"{100 * row['value']:.1f}" if others else "")
    yield table
