"""How much better one side of paired runs is than the other: by task, split and metric, and the rows that tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptershare_cli.kinds import metric_title
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.statistics.missing import or_none
from adaptershare_cli.statistics.paired import (
    Difference,
    clusters_of,
    drawn_copies,
    mean_difference,
    over_seeds,
    sign_test,
)
from adaptershare_cli.studies.pairing import PairedSplit, PairedTask, Prepared, answers_with_texts

ALL = "all"  # stands for all splits of a task, and for all tasks
Row = dict[str, Any]


@dataclass(frozen=True)
class Differing:
    """What a comparison found: rows for a table and for programs, and what to know of each task."""

    rows: list[Row]
    notes: list[str]


def compare_tasks(tasks: Sequence[PairedTask]) -> Differing:
    """Every metric of every split, the main one over all splits of a task, and over all tasks.

    A row says: task, split, metric, main; `a` and `b` (means over the seeds), `difference` (a - b), `low` and `high`
    (of 95 %); `rows` and `texts` (different ones); `only_a` and `only_b`: how many answers, of all seeds, only one side
    has right, and `p_value` (all three missing where labels are scores); `seeds` with each pair's `a` and `b`.
    """
    rows, notes, mains = [], [], []
    for task in tasks:
        notes += [f"{task.task}: {note}" for note in task.notes]
        of_splits = []
        for split, pairs in task.splits.items():
            found = _of_split(pairs)
            told = _told_of_rows(pairs)
            rows += [_row(task, split, name, difference, told) for name, difference in found.items()]
            of_splits.append(found[task.info.metrics[0]])
        main = mean_difference(of_splits)
        if len(of_splits) > 1:
            rows.append(_row(task, ALL, task.info.metrics[0], main, {}))
        mains.append(main)
    if len(mains) > 1:
        over = mean_difference(mains)
        rows.append({"task": ALL, "split": ALL, "metric": "mean of main metrics", "main": True, **_numbers(over)})
    return Differing(rows, notes)


def _of_split(pairs: Sequence[PairedSplit]) -> dict[str, Difference]:
    """Of each metric how the sides differ; all metrics and seeds have the same draws of rows."""
    first = pairs[0]
    scored = {name: [_Scored.of(pair, name) for pair in pairs] for name in first.info.metrics}
    draws: dict[str, list[np.ndarray]] = {name: [] for name in scored}
    for copies in drawn_copies(_clusters(first), f"{first.info.name} {first.split}"):
        for name, of_pairs in scored.items():
            draws[name].append(np.stack([one.drawn(copies) for one in of_pairs], axis=1))
    found = {}
    for name, of_pairs in scored.items():
        a, b = np.array([one.values() for one in of_pairs]).T
        found[name] = over_seeds(a, b, np.concatenate(draws[name]))
    return found


def _clusters(pair: PairedSplit) -> np.ndarray:
    """A number for each answer (A,), the same for those of one text."""
    return clusters_of(pair.rows if pair.contents is None else pair.contents)


@dataclass(frozen=True)
class _Scored:
    """What both runs predicted, and what is right, as one metric takes them; `starts` are where its lists begin."""

    metric: Metric
    a: Any
    b: Any
    labels: Any
    starts: np.ndarray | None

    @classmethod
    def of(cls, pair: PairedSplit, name: str) -> _Scored:
        kind, metric = pair.kind, pair.kind.metric_of(pair.info, name)
        answers = kind.published_answers(pair.info, pair.table)
        a, b, labels = (kind.scored(pair.info, metric, values, answers) for values in (pair.a, pair.b, pair.labels))
        # A list is what a row's answers, which stand one after the other, are together.
        starts = np.flatnonzero(np.diff(np.array(pair.rows), prepend=-1)) if metric.in_lists else None
        return cls(metric, a, b, labels, starts)

    def values(self) -> tuple[float, float]:
        """The metric of both runs, nan where it is undefined."""
        a, b = (self.metric.compute(side, self.labels) for side in (self.a, self.b))
        return math.nan if a is None else a, math.nan if b is None else b

    def drawn(self, copies: np.ndarray) -> np.ndarray:
        """How much more A has than B in each of d draws (d,), given as copies (d, A) of answers."""
        copies = copies if self.starts is None else copies[:, self.starts]
        of_copies = self.metric.of_copies
        return of_copies(self.a, self.labels, copies) - of_copies(self.b, self.labels, copies)


def _told_of_rows(pairs: Sequence[PairedSplit]) -> Row:
    """How many rows and texts there are, and which side has more of them right."""
    first, clusters = pairs[0], _clusters(pairs[0])
    told: Row = {"rows": len({*first.rows}), "texts": len(np.unique(clusters))}
    if not first.kind.labelled:
        return told
    better = np.stack([pair.better for pair in pairs])
    only = {"only_a": int((better > 0).sum()), "only_b": int((better < 0).sum())}
    return {**told, **only, "p_value": sign_test(better.sum(axis=0), clusters)}


def _row(task: PairedTask, split: str, metric: str, difference: Difference, told: Row) -> Row:
    seeds = [
        {"a_seed": a, "b_seed": b, "a": or_none(one), "b": or_none(other)}
        for (a, b), one, other in zip(task.seeds, difference.a, difference.b, strict=True)
    ]
    title = metric_title(metric, task.info.positive)
    main = metric == task.info.metrics[0]
    return {"task": task.task, "split": split, "metric": title, "main": main, **_numbers(difference), **told,
            "seeds": seeds}  # fmt: skip


def _numbers(difference: Difference) -> Row:
    low, high = difference.interval
    values = {"a": float(difference.a.mean()), "b": float(difference.b.mean()), "difference": difference.value}
    return {name: or_none(value) for name, value in {**values, "low": low, "high": high}.items()}


def flips(prepared: Prepared, tasks: Sequence[PairedTask]) -> Iterator[Row]:
    """The answers of which the sides are not equally right, those that differ most first in each task and seed.

    Where labels are scores that is nearly every row. Words of a sentence say their place in it and the word.
    """
    for task in tasks:
        for (a_seed, b_seed), pair, texts, ids in answers_with_texts(prepared, task):
            better = pair.better
            order = np.argsort(-np.abs(better), kind="stable")
            told = pair.table.to_pylist()
            for place in order[: np.count_nonzero(better)].tolist():
                row, b = told[place], pair.b[place]
                text, text_pair = texts.get(row["row"], (None, None))
                yield {
                    "task": task.task, "split": pair.split, "seed_a": a_seed, "seed_b": b_seed, "row": row["row"],
                    "place": row.get("place"), "word": row.get("word"), "label": row["label"],
                    "a": row["prediction"], "b": pair.kind.label_text(pair.info, b),
                    "better": "a" if better[place] > 0 else "b", "text": text, "text_pair": text_pair,
                    "id": ids.get(row["row"]),
                }  # fmt: skip
