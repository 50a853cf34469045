"""The verdict on a plan in words and as a table for the terminal. Differences are in points: hundredths of a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adaptershare_cli.statistics.verdict import LEVEL

if TYPE_CHECKING:
    from rich.table import Table

    from adaptershare_cli.store.records import VerdictRecord

NAMES = {"shared": "sharing all", "private": "keeping all apart"}


def words(record: VerdictRecord) -> list[str]:
    """The answer first, then what it rests on, and what would be needed where it cannot be told."""
    found = {name: item for name, item in record.differences.items() if name in NAMES}
    beside = " and ".join(f"{difference(item)} beside {NAMES[name]}" for name, item in found.items())
    lines = [_answer(record, beside)]
    if record.answer != "share as planned" and beside:
        lines.append(f"The plan is worth {beside}.")
    lines += _random(record)
    if len(record.seeds) < 2:
        lines.append("With one seed nobody knows what seeds do to a plan: give --seeds with two or more.")
    elif record.answer == "cannot tell":
        lines += [_needed(NAMES[name], item) for name, item in found.items() if item["gain"]]
    return lines


def _answer(record: VerdictRecord, beside: str) -> str:
    both, seeds = difference(record.differences["both"]), len(record.seeds)
    if record.answer == "share as planned":
        return f"Share as planned: {_plan(record.plan)}. On {seeds} fresh seeds it is worth {beside}."
    if record.answer == "share all":
        return f"Share all: it is worth {both} beside keeping all apart, and the plan adds nothing."
    if record.answer == "keep apart":
        return f"Keep all apart: sharing all is worth {both} beside it, and the plan adds nothing."
    if record.answer == "nothing to find":
        return (
            "Nothing to find here: who shares with whom matters no more than the seed does. Share all: it takes the "
            "fewest parameters."
        )
    return f"These {seeds} seeds and these rows cannot tell whether the plan pays."


def _random(record: VerdictRecord) -> list[str]:
    """Where the plan stands among random ones, and how much these differ."""
    random, spread, lines = record.random, record.spread, []
    if random["percentile"] is not None:
        standing = f"It is better than {random['percentile']:.0f} % of {random['same sizes']} random plans of its sizes"
        lines.append(f"{standing} (p = {random['p_value']:.3f}; their mean is {100 * random['mean']:.1f}).")
        if record.answer == "share as planned" and random["p_value"] > LEVEL:
            lines.append("Random plans of its sizes do about as well: how many share counts here, not who.")
    if spread["p_value"] is not None:
        lines.append(
            f"Random plans differ by {100 * spread['plans']:.2f} points (standard deviation) beyond what seeds do to "
            f"one, which is {100 * spread['seeds']:.2f}; p = {spread['p_value']:.3f} that it is by chance alone."
        )
    return lines + _possible(record)


def _possible(record: VerdictRecord) -> list[str]:
    """Which share of what the best plan has over sharing all and keeping apart the plan has too."""
    found = [record.differences[name]["gain"] for name in NAMES if name in record.differences]
    base = record.value - min(found) if len(found) == len(NAMES) else record.value - min(0.0, *found)
    possible = record.best["value"] - base
    if possible <= 0 or record.value <= base:
        return []
    share = 100 * (record.value - base) / possible
    return [
        f"It has {share:.0f} % of the {100 * possible:.1f} points that the best plan of all trained groups, chosen "
        "with hindsight, has over the better of sharing all and keeping apart."
    ]


def _needed(name: str, item: Mapping[str, Any]) -> str:
    what = f"A difference of {100 * item['gain']:+.1f} points from {name}"
    if item["seeds"] is not None:
        return f"{what} would be told by about {math.ceil(item['seeds'])} seeds."
    return (
        f"{what} cannot be told on these rows, however many seeds there are: it takes about {item['rows']:.1f} times "
        "as many scored rows."
    )


def difference(item: Mapping[str, Any]) -> str:
    """A gain in points with its interval of 95 %."""
    if item["low"] is None:
        return f"{100 * item['gain']:+.1f} points"
    return f"{100 * item['gain']:+.1f} points [{100 * item['low']:+.1f}, {100 * item['high']:+.1f}]"


def _plan(plan: list[list[str]]) -> str:
    return " | ".join(" ".join(group) for group in plan)


def verdict_table(record: VerdictRecord) -> Table:
    """The plan beside the others: mean score over tasks and seeds, and how much higher the plan's is."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"The plan of {', '.join(record.runs)} with seeds {', '.join(map(str, record.seeds))}"))
    for name, side in (("plan", "left"), ("mean score", "right"), ("the plan beside it", "right")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    table.add_row(Text(_plan(record.plan)), f"{100 * record.value:.1f}", "")
    for name, label in NAMES.items():
        if name in record.differences:
            item = record.differences[name]
            table.add_row(label, f"{100 * (record.value - item['gain']):.1f}", Text(difference(item)))
    if record.random["mean"] is not None:
        label = f"{record.random['same sizes']} random plans of its sizes"
        table.add_row(label, f"{100 * record.random['mean']:.1f}", f"p = {record.random['p_value']:.3f}")
    best = record.best
    gap = Text(f"{100 * (record.value - best['value']):+.1f} points")
    table.add_row(Text(f"best with hindsight: {_plan(best['plan'])}"), f"{100 * best['value']:.1f}", gap)
    return table
