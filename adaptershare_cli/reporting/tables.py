"""Tables that compare methods: only what may be compared, and never an average over different things.

Scores are the tasks' main metrics times 100, one decimal. With the seeds s of a method, the columns c (task, scored
split) and the splits C(t) of task t:

    cell[c]    = mean over s of value[s, c]                       (± sample standard deviation, for two or more seeds)
    average    = mean over s of  mean over tasks t of  mean over c in C(t) of value[s, c]

An average exists only where every seed has a defined value in every column of the group. Below the methods stands what
a constant prediction scores, where that is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import pandas as pd

from adaptershare_cli.screen import CONSTANT, DEGENERATE

if TYPE_CHECKING:
    from rich.table import Table

SINGLE = "single"  # the method's name of train-single runs, one run a task
RUN = ["key", "seed"]
MISSING, UNDEFINED = "\N{EN DASH}", "n/a"
CONSTANT_NOTE = (
    f"{CONSTANT}: what one prediction for all rows scores, the commonest train label or the mean; {MISSING} where that "
    "is undefined, as correlations are."
)

Identity = tuple[str, str, str]  # task, split, metric


@dataclass(frozen=True)
class Column:
    """A task's main metric on one scored split."""

    task: str
    split: str
    metric: str
    label: str  # the task, and the split where the task has several


@dataclass(frozen=True)
class Cell:
    """A score (x 100) over the seeds that have one; `mean` is None if the score is missing or undefined."""

    mean: float | None = None
    deviation: float | None = None  # sample standard deviation; None for fewer than two seeds
    undefined: bool = False
    degenerate: tuple[str, ...] = ()  # how predictions of some seeds tell nothing of the rows
    values: tuple[float | None, ...] = ()  # one a seed of the row: None where it has no such score, NaN if undefined

    @property
    def text(self) -> str:
        mark = DEGENERATE if self.degenerate else ""
        if self.mean is None:
            return (UNDEFINED if self.undefined else MISSING) + mark
        deviation = "" if self.deviation is None else f" ± {self.deviation:.1f}"
        return f"{_rounded(self.mean):.1f}{mark}{deviation}"


@dataclass(frozen=True)
class Row:
    """A method (or one run of it) with its scores, one a column of the group."""

    label: str
    cells: tuple[Cell, ...]
    average: Cell
    parameters: float | None  # trained parameters, mean over seeds
    trained_share: float | None  # trained a task, in percent of the encoder, without heads; mean over runs
    stored: float | None  # parameters to serve all tasks, mean over seeds
    inference: float | None  # multiply-adds beyond the encoder's, in percent of these; mean over runs and tasks
    seconds: float | None  # mean over seeds
    method: str
    seed_numbers: tuple[int, ...]
    runs: tuple[str, ...]  # their names, by seed

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.seed_numbers)


@dataclass(frozen=True)
class ComparisonGroup:
    """The runs that may be compared with each other."""

    comparison: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    constant: tuple[Cell, ...] = ()  # what a constant prediction scores in each column, then the average, if known


@dataclass(frozen=True)
class Shown:
    """A cell as every renderer shows it."""

    text: str
    best: bool = False


def comparison_table(results: pd.DataFrame) -> list[ComparisonGroup]:
    """Arrange the results of many runs (`schemas.RESULTS`) into groups, one a value of `comparison`, in their order.

    Only main metrics count, and never those on select rows. A key stands for a method's settings, whatever the seed:
    a method with one key is one row over its seeds, with several keys each is a row of its own. `single` runs are
    joined to one row, parameters and seconds summed over the tasks of a seed; of several runs of a task and seed the
    one that stands last is used, and a note says so.
    `trained_parameters`, `stored_parameters` and `seconds` belong to the run and are the same in all its rows.
    Raises ValueError if a run has two values for one score.
    """
    rows = results[results["main"].astype(bool) & (results["split"] != "select")]
    rows = rows.drop_duplicates().reset_index(drop=True)
    score = ["comparison", "method", "key", "seed", "task", "split", "metric"]
    twice = rows[rows.duplicated(score)]
    if len(twice):
        raise ValueError(f"two values for one score: {twice.iloc[0][score].to_dict()}")
    return [_group(str(comparison), runs) for comparison, runs in rows.groupby("comparison", sort=False)]


def _group(comparison: str, runs: pd.DataFrame) -> ComparisonGroup:
    notes: list[str] = []
    runs = _newest(runs, notes)
    columns = _columns(runs)
    rows = []
    for method in sorted(runs["method"].unique(), key=lambda name: (name != SINGLE, name)):
        of_method = runs[runs["method"] == method]
        if method != SINGLE and of_method["key"].nunique() > 1:
            notes.append(f"{method}: runs with several settings, so each key is a row.")
            for key, of_key in of_method.groupby("key", sort=False):
                rows.append(_row(f"{method} {key}", of_key, columns, notes))
        else:
            rows.append(_row(method, of_method, columns, notes))
    constant = _constant(runs, columns)
    notes += [*_degenerate_notes(columns, rows), *([CONSTANT_NOTE] if constant else [])]
    return ComparisonGroup(comparison, columns, tuple(rows), tuple(notes), constant)


def _constant(runs: pd.DataFrame, columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    """What a constant prediction scores in each column, and the average; nothing where that is known of no column."""
    values: dict[tuple[int, Identity], float] = {
        (0, (row.task, row.split, row.metric)): 100 * float(row.constant)
        for row in runs.itertuples()
        if pd.notna(row.constant)
    }
    if not values:
        return ()
    cells = (_cell([values.get((0, (column.task, column.split, column.metric)))]) for column in columns)
    return (*cells, _cell([_average(values, 0, columns)]))


def _columns(runs: pd.DataFrame) -> tuple[Column, ...]:
    found = sorted({*runs[["task", "split", "metric"]].itertuples(index=False, name=None)})
    splits: dict[str, set[str]] = {}
    for task, split, _ in found:
        splits.setdefault(task, set()).add(split)
    return tuple(
        Column(task, split, metric, f"{task} ({split})" if len(splits[task]) > 1 else task)
        for task, split, metric in found
    )


def _newest(runs: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Keep, of the single runs of one task and seed, the one that stands last; other methods stay as they are."""
    single = runs[runs["method"] == SINGLE]
    used = single.groupby(["task", "seed"])["key"].transform("last")
    left_out = single[single["key"] != used]
    for (task, seed), others in left_out.groupby(["task", "seed"]):
        newest, older = used[others.index[0]], ", ".join(others["key"].unique())
        notes.append(f"{SINGLE}: {task}, seed {seed} has several runs; {newest} (the newest) is used, not {older}.")
    return runs.drop(index=left_out.index)


def _row(label: str, runs: pd.DataFrame, columns: tuple[Column, ...], notes: list[str]) -> Row:
    values: dict[tuple[int, Identity], float] = {
        (row.seed, (row.task, row.split, row.metric)): 100 * float(row.value) if pd.notna(row.value) else math.nan
        for row in runs.itertuples()
    }
    seeds = sorted(runs["seed"].unique())
    cells = []
    for column in columns:
        of_seeds = [values.get((seed, (column.task, column.split, column.metric))) for seed in seeds]
        cells.append(replace(_cell(of_seeds), degenerate=_degenerate(runs, column)))
        counted, undefined = sum(value is not None for value in of_seeds), sum(value != value for value in of_seeds)
        if 0 < counted < len(seeds):
            notes.append(f"{label}: {column.label} has {counted} of {len(seeds)} seeds.")
        if 0 < undefined < counted:
            notes.append(f"{label}: {column.label} is undefined for {undefined} of {counted} seeds.")
    averages = [_average(values, seed, columns) for seed in seeds]
    return Row(
        label=label,
        cells=tuple(cells),
        average=Cell() if any(mean is None or math.isnan(mean) for mean in averages) else _cell(averages),
        parameters=_cost(runs, "trained_parameters"),
        trained_share=_percent(runs, "trained_share"),
        stored=_cost(runs, "stored_parameters"),
        inference=_percent(runs, "inference_cost", beyond=1),
        seconds=_cost(runs, "seconds"),
        method=str(runs["method"].iloc[0]),
        seed_numbers=tuple(int(seed) for seed in seeds),
        runs=tuple(dict.fromkeys(runs.sort_values("seed", kind="stable")["run"])),
    )


def _degenerate_notes(columns: tuple[Column, ...], rows: Iterable[Row]) -> list[str]:
    """What the mark of degenerate scores means, by column, with the methods that have it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for column, cell in zip(columns, row.cells, strict=True):
            for words in cell.degenerate:
                found.setdefault(f"{DEGENERATE} {column.label}, {words}", []).append(row.label)
    return [f"{what}: {', '.join(labels)}." for what, labels in found.items()]


def _degenerate(runs: pd.DataFrame, column: Column) -> tuple[str, ...]:
    """How the predictions of some seeds tell nothing of the column's rows, and of which seeds, if not of all."""
    own = runs[(runs["task"] == column.task) & (runs["split"] == column.split)]
    found = own.dropna(subset=["degenerate"])
    notes = []
    for words, seeds in found.groupby("degenerate")["seed"]:
        which = f" (seed {', '.join(map(str, seeds))})" if len(seeds) < len(own) else ""
        notes.append(f"{words}{which}")
    return tuple(notes)


def _cell(of_seeds: list[float | None]) -> Cell:
    """None: the seed has no such score; NaN: it has, but the metric is undefined, and then so is the mean."""
    found = [value for value in of_seeds if value is not None]
    if any(math.isnan(value) for value in found):
        return Cell(undefined=True, values=tuple(of_seeds))
    deviation = stdev(found) if len(found) > 1 else None
    return Cell(fmean(found) if found else None, deviation, values=tuple(of_seeds))


def _average(values: dict[tuple[int, Identity], float], seed: int, columns: tuple[Column, ...]) -> float | None:
    """Mean over tasks of the mean over the task's columns; None if a score is missing, NaN if one is undefined."""
    of_tasks: dict[str, list[float]] = {}
    for column in columns:
        value = values.get((seed, (column.task, column.split, column.metric)))
        if value is None:
            return None
        of_tasks.setdefault(column.task, []).append(value)
    return fmean(fmean(scores) for scores in of_tasks.values())


def _cost(runs: pd.DataFrame, column: str) -> float | None:
    """Mean over seeds of the sum over a seed's runs (several only for `single`); seeds that lack tasks are left out."""
    single = runs["method"].iloc[0] == SINGLE
    of_runs = runs.drop_duplicates(["seed", "key", "task"] if single else RUN)
    if single:
        tasks = of_runs.groupby("seed")["task"].transform("nunique")
        of_runs = of_runs[tasks == of_runs["task"].nunique()]
    if of_runs.empty or of_runs[column].isna().any():
        return None
    return float(of_runs.groupby("seed")[column].sum().mean())


def _percent(runs: pd.DataFrame, column: str, beyond: float = 0) -> float | None:
    """100 times the mean over runs and their tasks of how far the column lies above `beyond`."""
    values = runs.drop_duplicates(["key", "seed", "task"])[column].astype(float)
    return None if values.isna().any() else 100 * (float(values.mean()) - beyond)


def shown(group: ComparisonGroup) -> tuple[list[tuple[str, str]], list[list[Shown]]]:
    """The group as text: headers (name, metric or unit), and rows of cells with the best of each score marked.

    The best is the highest at the shown precision, if it stands alone there and its predictions tell something of the
    rows, and only where two rows can be compared.
    """
    averaged = len(group.columns) > 1
    headers = [("method", "")] + [(column.label, column.metric) for column in group.columns]
    headers += [("average", "")] if averaged else []
    headers += [("trained parameters", ""), ("trained a task", "% of encoder"), ("stored parameters", "")]
    headers += [("inference", "+ % of encoder"), ("time", "s"), ("seeds", "")]
    scores = [[*row.cells, *([row.average] if averaged else [])] for row in group.rows]
    best = [_best(column) for column in zip(*scores, strict=True)]
    body = []
    for row, cells in zip(group.rows, scores, strict=True):
        marked = [Shown(cell.text, cell is top) for cell, top in zip(cells, best, strict=True)]
        sizes = [
            count_text(row.parameters),
            share_text(row.trained_share),
            count_text(row.stored),
            share_text(row.inference),
        ]
        costs = [Shown(text) for text in (*sizes, count_text(row.seconds), str(row.seeds))]
        body.append([Shown(row.label), *marked, *costs])
    if group.constant:
        texts = [CONSTANT, *(cell.text for cell in group.constant[: len(scores[0])])]
        body.append([Shown(text) for text in (*texts, *[MISSING] * (len(headers) - len(texts)))])
    return headers, body


def _best(cells: Iterable[Cell]) -> Cell | None:
    """The one cell that is better than all others as they are shown; None where there is none."""
    known = sorted((_rounded(cell.mean), number, cell) for number, cell in enumerate(cells) if cell.mean is not None)
    if len(known) < 2 or known[-1][0] == known[-2][0] or known[-1][2].degenerate:
        return None
    return known[-1][2]


def _rounded(value: float) -> float:
    return round(value, 1) + 0.0  # + 0.0: no "-0.0"


def count_text(number: float | None) -> str:
    """A count, or seconds, as tables show them."""
    if number is None:
        return MISSING
    return f"{number:.1f}" if number < 10 and number != int(number) else f"{number:,.0f}"


def share_text(percent: float | None) -> str:
    """A share in percent as tables show it."""
    return MISSING if percent is None else f"{percent:.2f}"


def to_markdown(groups: list[ComparisonGroup]) -> str:
    """One heading, table and list of notes a group, in GitHub's Markdown."""
    return "\n".join(_markdown(group) for group in groups)


def _markdown(group: ComparisonGroup) -> str:
    headers, rows = shown(group)
    names = [f"{plain(name)} [{plain(unit)}]" if unit else plain(name) for name, unit in headers]
    lines = [f"## {plain(group.comparison)}", "", _line(names), _line([":--"] + ["--:"] * (len(names) - 1))]
    for row in rows:
        lines.append(_line([f"**{plain(cell.text)}**" if cell.best else plain(cell.text) for cell in row]))
    if group.notes:
        lines += ["", *(f"- {plain(note)}" for note in group.notes)]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", " ".join(text.split()))


def to_rich(group: ComparisonGroup) -> Table:
    """The group as a table for the terminal, a method a column: there are more scores and costs than methods.

    Names are shown as they are, not read as markup; the group's notes are left to the caller.
    """
    from rich.table import Table
    from rich.text import Text

    headers, rows = shown(group)
    names = [f"{name} [{unit}]" if unit else name for name, unit in headers]
    columns = [[Text(name, style="bold") for name in names]]
    columns += [[Text(cell.text, style="bold" if cell.best else "") for cell in row] for row in rows]
    lines = list(zip(*columns, strict=True))
    table = Table(title=Text(group.comparison))
    for place, header in enumerate(lines[0]):
        table.add_column(header, justify="right" if place else "left", overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    return table
