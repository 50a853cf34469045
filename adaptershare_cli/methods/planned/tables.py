"""A sharing plan as a table of layers x tasks, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from adaptershare_cli.methods.start import PastRun
from adaptershare_cli.sharing.plan import SharingPlan


def plan_table(plan: SharingPlan, title: str, before: SharingPlan | None = None) -> Table:
    """The plan, top layer first; tasks with one letter in a layer share its adapter.

    Layers that differ from the plan `before` are marked.
    """
    table = Table(title=f"Sharing plan, {title} ({plan.growth:.1f} groups a layer)")
    table.add_column("layer", justify="right")
    for task in plan.tasks:
        table.add_column(task, justify="center")
    for layer, groups in reversed(list(enumerate(plan.layers))):
        letters = {task: letter(number) for number, group in enumerate(groups) for task in group}
        changed = before is not None and before.layers[layer] != groups
        table.add_row(f"* {layer}" if changed else str(layer), *(letters[task] for task in plan.tasks))
    return table


def last_plan(run: PastRun, title: str) -> Iterator[Table]:
    """The plan under which a run ended."""
    yield plan_table(SharingPlan.from_json(run.record.plan), title)


def letter(number: int) -> str:
    """a, b, …, z, aa, ab, … for a group's number."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
