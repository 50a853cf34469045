"""Who takes part in the answer: the method that select rows choose, and those that it must be held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

import numpy as np

from adaptershare_cli.reporting.page.facts import RowGains, RunFacts
from adaptershare_cli.reporting.tables import SINGLE, ComparisonGroup, Row

PRIVATE, SHARED, RANDOM = "private", "shared", "random-plan"
BASELINES = {PRIVATE: "keeping the tasks apart", SHARED: "sharing all", RANDOM: "random plans"}


@dataclass(frozen=True)
class Contest:
    """The methods of a comparison that have every score, and which of them select rows chose.

    Scores decide nothing but what is said of the chosen one: it is chosen on select rows, reported on scored ones.
    """

    group: ComparisonGroup
    runs: Mapping[str, RunFacts]
    over_rows: RowGains = field(default_factory=dict)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the table's order."""
        return tuple(dict.fromkeys(column.task for column in self.group.columns))

    @cached_property
    def joint(self) -> list[Row]:
        """The methods that train the tasks together."""
        return [row for row in self.group.rows if row.method != SINGLE]

    @cached_property
    def whole(self) -> list[Row]:
        """Those of them with all scores, the best on select rows first; of equals the one with fewer parameters."""
        ranked = [(row, self.select_mean(row)) for row in self.joint if row.average.mean is not None]
        known = [(row, value) for row, value in ranked if value is not None]
        found = sorted(known, key=lambda pair: (-pair[1], pair[0].parameters or math.inf))
        return [row for row, _ in found]

    @property
    def chosen(self) -> Row | None:
        """The best on select rows."""
        return self.whole[0] if self.whole else None

    @property
    def sharing(self) -> Row | None:
        """The best on select rows of those whose tasks share anything."""
        return next((row for row in self.whole if row.method != PRIVATE), None)

    def baseline(self, method: str) -> Row | None:
        """That method; of several settings the best on select rows."""
        return next((row for row in self.whole if row.method == method), None)

    @property
    def missing(self) -> list[str]:
        """The baselines that there are no runs of; random plans only where the chosen method has plans to draw like."""
        wanted = [method for method in BASELINES if method != RANDOM or self.planned]
        return [method for method in wanted if self.baseline(method) is None]

    @property
    def planned(self) -> list[str]:
        """Words that name the chosen method's runs, if their plans are neither all nor nothing.

        The method alone, where that names no two runs of a seed, so that it names those of further seeds too.
        """
        if self.chosen is None:
            return []
        histories = [self.runs[name].history for name in self.chosen.runs]
        if any(history is None or history.is_plain for history in histories):
            return []
        seeds = [run.seed for run in self.runs.values() if run.method == self.chosen.method]
        return [self.chosen.method] if len(set(seeds)) == len(seeds) else list(self.chosen.runs)

    @cached_property
    def compared(self) -> list[Row]:
        """The chosen method, the best that shares, and the baselines, each once."""
        rows = [self.chosen, self.sharing, *map(self.baseline, BASELINES)]
        return list({row.label: row for row in rows if row is not None}.values())

    @property
    def pairs(self) -> list[tuple[Row, Row]]:
        """What the answer compares: the chosen method and each baseline, and what shares with what does not."""
        private = self.baseline(PRIVATE)
        found = [(self.chosen, row) for row in map(self.baseline, BASELINES)] + [(self.sharing, private)]
        known = [(one, other) for one, other in found if one is not None and other is not None and one is not other]
        return list({(one.label, other.label): (one, other) for one, other in known}.values())

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that all `compared` have."""
        sets = [set(row.seed_numbers) for row in self.compared]
        return tuple(sorted(set.intersection(*sets))) if sets else ()

    @cached_property
    def entries(self) -> list[Row]:
        """All whole methods with these seeds: what seeds do is estimated from them together."""
        return [row for row in self.whole if set(self.seeds) <= set(row.seed_numbers)]

    def values(self, task: str | None = None) -> np.ndarray:
        """Points of `entries` with each of `seeds` (M, S): of one task, or the mean over tasks."""
        wanted = self.tasks if task is None else (task,)
        return np.array([[fmean(self._value(row, seed, one) for one in wanted) for seed in self.seeds]
                         for row in self.entries]).reshape(len(self.entries), len(self.seeds))  # fmt: skip

    def place(self, row: Row) -> int:
        """Where a row stands in `entries`."""
        return self.entries.index(row)

    def _value(self, row: Row, seed: int, task: str) -> float:
        """The mean over the task's scored splits."""
        at = row.seed_numbers.index(seed)
        cells = zip(self.group.columns, row.cells, strict=True)
        return fmean(cell.values[at] for column, cell in cells if column.task == task)  # type: ignore[misc]

    def select_mean(self, row: Row) -> float | None:
        """Mean over runs and tasks of the main metric on select rows; None where one is not known."""
        values = [self.runs[name].select.get(task) for name in row.runs for task in self.tasks]
        return None if any(value is None for value in values) else fmean(values)  # type: ignore[arg-type, type-var]


def main_group(groups: Sequence[ComparisonGroup]) -> int:
    """The comparison that the page answers first: of the most methods, then of the most runs."""
    sizes = [(sum(row.method != SINGLE for row in group.rows), sum(row.seeds for row in group.rows))
             for group in groups]  # fmt: skip
    return max(range(len(groups)), key=lambda number: (*sizes[number], number))
