"""A sharing plan as a table of tasks x layers, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.table import Table

from adaptershare_cli.methods.start import PastRun
from adaptershare_cli.sharing.plan import SharingPlan


def plan_table(plan: SharingPlan, title: str, before: SharingPlan | None = None) -> Table:
    """The plan, a row a task, a column for layers that follow each other and are alike; tasks with one letter share.

    Layers that differ from the plan `before` are marked.
    """
    table = Table(title=f"Sharing plan, {title} ({plan.growth:.1f} groups a layer)")
    table.add_column("task \\ layer")
    changed = [before is not None and before.layers[layer] != groups for layer, groups in enumerate(plan.layers)]
    alike = [list(same) for _, same in groupby(range(len(plan.layers)), lambda at: (plan.layers[at], changed[at]))]
    for first, *others in alike:
        name = f"{first}-{others[-1]}" if others else str(first)
        table.add_column(f"* {name}" if changed[first] else name, justify="center")
    letters = [
        {task: letter(number) for number, group in enumerate(plan.layers[first]) for task in group}
        for first, *_ in alike
    ]
    for task in plan.tasks:
        table.add_row(task, *(of_layer[task] for of_layer in letters))
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
