"""The results of a comparison: scores and costs as tables that can be sorted, and which scores stand out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from adaptershare_cli.reporting.tables import Cell, ComparisonGroup, count_text, share_text
from adaptershare_cli.screen import CONSTANT
from adaptershare_cli.statistics.same_seeds import holm, p_values
from adaptershare_cli.statistics.verdict import LEVEL

BEST, NEAR = "best", "near"
MARKS = {BEST: "best", NEAR: "not told from the best", "": ""}
MARKED = (
    "Bold: the best of its column. \N{ALMOST EQUAL TO}: not told from it over the seeds that both have (paired by "
    "seed, corrected for the number of methods by Holm's procedure)."
)
ONE_SEED = "Bold: the best of its column. With fewer than two seeds in common, nothing is told from it."


@dataclass(frozen=True)
class Entry:
    """A cell: its text, what it is sorted by (None comes last), and its mark."""

    text: str
    value: float | None
    mark: str = ""

    @property
    def said(self) -> str:
        """The mark in words."""
        return MARKS[self.mark]


@dataclass(frozen=True)
class TableView:
    """A table with a caption, headers (name, unit) and rows, whose first cell is their header."""

    caption: str
    headers: list[tuple[str, str]]
    rows: list[tuple[str, list[Entry]]]
    notes: list[str]


def score_view(group: ComparisonGroup) -> TableView:
    """Methods as rows; the average, then each task."""
    averaged = len(group.columns) > 1
    headers = [("method", ""), *([("average", "")] if averaged else [])]
    headers += [(column.label, column.metric) for column in group.columns]
    columns = [[row.average for row in group.rows]] if averaged else []
    columns += [[row.cells[place] for row in group.rows] for place in range(len(group.columns))]
    seeds = [row.seed_numbers for row in group.rows]
    marked = [marks(column, seeds) for column in columns]
    rows = []
    for number, row in enumerate(group.rows):
        cells = [Entry(column[number].text, column[number].mean, mark[number])
                 for column, mark in zip(columns, marked, strict=True)]  # fmt: skip
        rows.append((row.label, cells))
    if group.constant:
        *of_columns, average = group.constant
        ordered = [average, *of_columns] if averaged else of_columns
        rows.append((CONSTANT, [Entry(cell.text, cell.mean) for cell in ordered]))
    common = max((len({*one} & {*other}) for one, other in combinations(seeds, 2)), default=0)
    legend = [MARKED if common > 1 else ONE_SEED] if len(group.rows) > 1 else []
    if common > 1 and min(map(len, seeds)) < 2:
        legend.append("Where the best has one seed, nothing is told from it.")
    return TableView("Scores times 100: mean \N{PLUS-MINUS SIGN} standard deviation over seeds", headers, rows,
                     [*legend, *group.notes])  # fmt: skip


def cost_view(group: ComparisonGroup) -> TableView:
    """What each method costs."""
    headers = [("method", ""), ("seeds", ""), ("trained parameters", ""), ("trained a task", "% of encoder"),
               ("stored parameters", ""), ("inference", "+ % of encoder"), ("time", "s")]  # fmt: skip
    rows = []
    for row in group.rows:
        cells = [
            Entry(str(row.seeds), row.seeds),
            Entry(count_text(row.parameters), row.parameters),
            Entry(share_text(row.trained_share), row.trained_share),
            Entry(count_text(row.stored), row.stored),
            Entry(share_text(row.inference), row.inference),
            Entry(count_text(row.seconds), row.seconds),
        ]
        rows.append((row.label, cells))
    return TableView("What they cost: means over seeds", headers, rows, [])


def marks(cells: Sequence[Cell], seeds: Sequence[Sequence[int]]) -> list[str]:
    """The mark of each method's score: the best, or not told from it; none where there is nothing to compare.

    `seeds` are those of each method. Told apart are methods with all of the best one's seeds, two at least.
    """
    known = [number for number, cell in enumerate(cells) if cell.mean is not None and not cell.degenerate]
    if len(known) < 2:
        return [""] * len(cells)
    best = max(known, key=lambda number: _mean(cells[number]))
    tied = [number for number in known if math.isclose(_mean(cells[number]), _mean(cells[best]), abs_tol=1e-12)]
    found = [BEST if [number] == tied else "" for number in range(len(cells))]
    wanted = [seed for seed, value in zip(seeds[best], cells[best].values, strict=True) if value is not None]
    rivals = [best, *(n for n in known if n != best and _has(cells[n], seeds[n], wanted))]
    if len(wanted) < 2 or len(rivals) < 2:
        return found
    values = np.array([[cells[n].values[seeds[n].index(seed)] for seed in wanted] for n in rivals], dtype=float)
    for number, adjusted in zip(rivals, holm(p_values(values, 0)), strict=True):
        if number != best and adjusted > LEVEL:
            found[number] = NEAR
    return found


def _mean(cell: Cell) -> float:
    return -math.inf if cell.mean is None else cell.mean


def _has(cell: Cell, own: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a method has a value for each of the wanted seeds."""
    known = {seed for seed, value in zip(own, cell.values, strict=True) if value is not None and value == value}
    return set(wanted) <= known
