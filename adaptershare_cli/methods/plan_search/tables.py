"""What a search tried, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from adaptershare_cli.methods.start import PastRun


def rounds(run: PastRun, title: str) -> Iterator[Table]:
    """What was proposed, and what was trained for it."""
    table = Table(title=f"Proposals, {title} (points a task over each alone)")
    for name, side in (("round", "right"), ("plan", "left"), ("predicted", "right"), ("spent", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for row in run.table("search").to_pylist():
        table.add_row(str(row["round"]), _words(row["plan"]), f"{100 * row['predicted']:+.1f}", str(row["spent"]))
    yield table


def groups(run: PastRun, title: str) -> Iterator[Table]:
    """What each group of two or more brought its tasks on select rows, the best first."""
    gains: dict[tuple[tuple[str, ...], str], list[float]] = {}
    chosen = set()
    for row in run.table("groups").to_pylist():
        tried = tuple(row["group"]), row["layers"]
        gains.setdefault(tried, []).append(row["value"] - row["alone"])
        if row["chosen"]:
            chosen.add(tried)
    table = Table(title=f"Groups that were trained, {title} (points over alone, on select rows)")
    table.add_column("group")
    table.add_column("gain of each task", justify="right")
    table.add_column("sum", justify="right")
    for (group, layers), found in sorted(gains.items(), key=lambda item: -sum(item[1])):
        if len(group) > 1:
            mark = "* " if (group, layers) in chosen else "  "
            where = "" if layers == "all" else f" ({layers} layers)"
            each = ", ".join(f"{100 * gain:+.1f}" for gain in found)
            table.add_row(mark + " ".join(group) + where, each, f"{100 * sum(found):+.1f}")
    yield table


def _words(plan: list[list[str]]) -> str:
    return " | ".join(" ".join(group) for group in plan)
