"""How much each layer conflicted, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from adaptershare_cli.methods.start import PastRun


def conflicts(run: PastRun, title: str) -> Iterator[Table]:
    """A row a layer; those that became private are marked."""
    table = Table(title=f"Conflicts, {title} (cosines below {run.record.settings['recon_threshold']:g} in stage one)")
    for name in ("layer", "score", "mean cosine", "cosines"):
        table.add_column(name, justify="right")
    for row in run.table("conflicts").to_pylist():
        mark = "* " if row["private"] else ""
        table.add_row(f"{mark}{row['layer']}", f"{row['score']:.2f}", f"{row['mean']:+.2f}", str(row["cosines"]))
    yield table
