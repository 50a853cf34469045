"""Two runs on the same rows: laws of the comparison, its tests against scipy, and metrics of many resamples at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from adaptershare_cli.kinds import KINDS, METRICS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.statistics import paired
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.studies.differing import compare_tasks
from adaptershare_cli.studies.pairing import PairedSplit, PairedTask, Prepared

FEW = settings(max_examples=25, deadline=None)
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 5)), min_size=1,
                max_size=12)  # fmt: skip
NUMBERS = ("a", "b", "difference", "low", "high")
LABELLED = TaskInfo("t", "classification", ("x", "y", "z"), None, ("accuracy", "f1", "matthews"), positive="y")
SCORED = TaskInfo("s", "regression", (), (0, 5), ("pearson", "spearman"))
TAGGED = TaskInfo("w", "tagging", ("O", "B-x", "I-x"), None, ("span_f1", "span_recall", "accuracy", "macro_f1"))


@pytest.fixture(autouse=True, scope="module")
def few_draws() -> Iterator[None]:
    """Laws hold for any number of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "DRAWS", 40)
        yield


# ---- metrics of resamples ----


# Those of probabilities are never taken of resamples: predictions are names or numbers there.
@pytest.mark.parametrize("name", [*(name for name, one in METRICS.items() if not one.from_outputs), "f1 of 1"])
@FEW
@given(ROWS, st.integers(0, 99))
def test_a_metric_of_copies_is_that_of_the_rows_written_out(name: str, rows: list[tuple], seed: int) -> None:
    metric = METRICS["f1"].of_label(1) if name == "f1 of 1" else METRICS[name]
    predictions, references = (np.array([row[side] for row in rows]) for side in (0, 1))
    columns: list[Any] = [predictions, references]
    if metric.in_lists:
        columns = [[np.array(TAGGED.labels)[[value, 2 - value, 0]].tolist() for value in side] for side in columns]
    elif metric.of == "float64":
        columns = [side / 3 for side in columns]
    copies = np.random.default_rng(seed).multinomial(len(rows), [1 / len(rows)] * len(rows), size=4)
    found, plain = metric.of_copies(*columns, copies), Metric.of_copies(metric, *columns, copies)
    np.testing.assert_allclose(found, plain, atol=1e-9)


# ---- the pure parts ----


def test_copies_of_one_text_are_drawn_together() -> None:
    clusters = paired.clusters_of(["a", "b", "a", "c", "b"])
    assert clusters.tolist() == [0, 1, 0, 2, 1]
    copies = np.concatenate([*paired.drawn_copies(clusters, "x", 50)])
    assert copies.shape == (50, 5)
    assert (copies[:, 0] == copies[:, 2]).all() and (copies[:, 1] == copies[:, 4]).all()
    assert (copies[:, [0, 1, 3]].sum(axis=1) == 3).all() and copies[:, 3].std() > 0


def test_blocks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate([*paired.drawn_copies(np.arange(5), "x", 20)])
    monkeypatch.setattr(paired, "BLOCK_VALUES", 15)
    parts = [*paired.drawn_copies(np.arange(5), "x", 20)]
    assert len(parts) == 7 and (np.concatenate(parts) == whole).all()


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=40))
def test_the_sign_test_is_mcnemars_where_texts_do_not_repeat(values: list[int]) -> None:
    only_a, only_b = values.count(1), values.count(-1)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert paired.sign_test(np.array(values), np.arange(len(values))) == pytest.approx(expected)
    assert paired.sign_test(-np.array(values), np.arange(len(values))) == pytest.approx(expected)
    copies = np.tile(np.arange(len(values)), 3)  # three copies of each text tell no more than one
    assert paired.sign_test(np.tile(values, 3), copies) == pytest.approx(expected)


def test_the_interval_covers_what_rows_leave_open() -> None:
    """Of 200 samples whose true difference is known, about 95 % have it in their interval."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(200):
        better = random.choice([-1, 0, 1], p=[0.15, 0.6, 0.25], size=120)
        copies = np.concatenate([*paired.drawn_copies(np.arange(120), "x", 400)])
        draws = paired.over_seeds(np.array([better.mean()]), np.zeros(1), (copies @ better / 120)[:, None])
        low, high = draws.interval
        hits += low <= 0.1 <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_seeds_are_drawn_too() -> None:
    a, b = np.array([0.5, 0.7]), np.array([0.4, 0.4])
    found = paired.over_seeds(a, b, np.tile(a - b, (500, 1)))  # rows leave nothing open
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.1, 0.3))
    alone = paired.over_seeds(a[:1], b[:1], np.tile((a - b)[:1], (500, 1)))
    assert alone.interval == pytest.approx((0.1, 0.1))


def test_a_metric_that_is_undefined_stays_so() -> None:
    nothing = np.array([math.nan])
    found = paired.over_seeds(nothing, np.zeros(1), np.full((10, 1), math.nan))
    assert all(map(math.isnan, (found.value, *found.interval)))
    assert math.isnan(paired.mean_difference([found, found]).value)


# ---- whole comparisons ----


def split(info: TaskInfo, rows: list[tuple], swapped: bool = False) -> PairedSplit:
    """Each of `rows`: what A and B predicted, the label, a number for its text; of a tagging three words a row."""
    a, b, labels = (np.array([row[side] for row in rows]) for side in range(3))
    columns: dict[str, list] = {"row": [*range(len(rows))]}
    contents = [str(row[3]) for row in rows]
    if info.kind == "tagging":
        a, b, labels = (np.stack([side, 2 - side, side * 0], axis=1).ravel() for side in (a, b, labels))
        columns = {"row": [row for row in range(len(rows)) for _ in range(3)], "place": [0, 1, 2] * len(rows)}
        contents = [content for content in contents for _ in range(3)]
    elif info.kind == "regression":
        a, b, labels = a / 3, b / 3, labels / 3
    columns["label"] = [KINDS[info.kind].label_text(info, label) for label in labels]
    a, b = (b, a) if swapped else (a, b)
    return PairedSplit(info, "dev", pa.table(columns), labels, a, b, contents)


class Pairs(PairedTask):
    """Without runs: the seeds alone."""

    @property
    def seeds(self) -> list[tuple[int, int]]:
        return [(0, 0)] * len(self.splits["dev"])


@pytest.mark.parametrize("info", [LABELLED, SCORED, TAGGED], ids=lambda info: info.kind)
@settings(max_examples=10)
@given(ROWS, ROWS)
def test_laws(info: TaskInfo, rows: list[tuple], others: list[tuple]) -> None:
    same = [(*other[:2], *row[2:]) for row, other in zip(rows, others * len(rows), strict=False)]  # another seed
    there = compare_tasks([Pairs("t", [], {"dev": [split(info, rows), split(info, same)]})]).rows
    back = compare_tasks([Pairs("t", [], {"dev": [split(info, rows, True), split(info, same, True)]})]).rows
    for one, other in zip(there, back, strict=True):
        for name, mirrored in (("a", "b"), ("b", "a"), ("only_a", "only_b"), ("p_value", "p_value")):
            assert one.get(name) == pytest.approx(other.get(mirrored))
        for name, mirrored in (("difference", "difference"), ("low", "high"), ("high", "low")):
            value = other[mirrored]
            assert one[name] == pytest.approx(None if value is None else -value)
        if one["low"] is not None:
            assert one["low"] <= one["high"]
    both = [replace(part, b=part.a) for part in (split(info, rows), split(info, same))]
    for row in compare_tasks([Pairs("t", [], {"dev": both})]).rows:
        assert row["difference"] in (0.0, None) and row["low"] in (0.0, None) and row["high"] in (0.0, None)
        assert row.get("p_value") == (1.0 if KINDS[info.kind].labelled else None)
        assert row.get("only_a") in (0, None) and row.get("only_b") in (0, None)


# ---- rows that belong together ----


def test_rows_of_a_group_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"dev.parquet": pa.table({"row": [0, 1, 2, 3], "group": ["x", None, "x", None]}),
              "test.parquet": pa.table({"row": [0]})}  # fmt: skip
    prepared = Prepared(Workspace(tmp_path / "w", writing=False))
    monkeypatch.setattr(prepared, "download_of", lambda content: SimpleNamespace(table=tables.__getitem__))
    groups = prepared.groups("any", "dev")
    assert groups is not None and paired.clusters_of([*groups.values()]).tolist() == [0, 1, 0, 2]
    assert prepared.groups("any", "test") is None
