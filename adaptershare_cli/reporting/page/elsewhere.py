"""What did better on the same tasks in a comparison of its own, such as a method that spends more trainings."""

from __future__ import annotations

from collections.abc import Sequence

from adaptershare_cli.reporting.page.roles import Contest

MOST = 3


def better_elsewhere(main: Contest, others: Sequence[Contest]) -> str:
    """Methods of other comparisons of the same tasks that select rows put above the chosen one; "" for none.

    They had other data, or another budget, so that their lead says nothing of sharing alone.
    """
    chosen = main.chosen
    bar = main.select_mean(chosen) if chosen is not None else None
    if bar is None:
        return ""
    found = [
        (value, row.label, row.average.text)
        for other in others
        if set(other.tasks) == set(main.tasks)
        for row in other.whole
        if (value := other.select_mean(row)) is not None and value > bar
    ]
    if not found:
        return ""
    named = [f"{label} ({text} on average)" for _, label, text in sorted(found, reverse=True)[:MOST]]
    return (
        f"Above it on the rows that choose, but with another budget, other rows or another precision: "
        f"{', '.join(named)}; see Other comparisons. How much of that is the budget is not told here; for a plan "
        "that is the same in all layers, adaptershare correlate --verdict tells."
    )
