"""What the report reads from runs: splits, curves, choices, and the rows that two methods answered otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adaptershare_cli.kinds import KINDS
from adaptershare_cli.reporting.page.intervals import points, strips
from adaptershare_cli.statistics.verdict import Difference
from adaptershare_cli.studies.reported import runs
from adaptershare_cli.studies.reported.answers import LONGEST, AnswersOf, MethodAnswers, _cut, _joined

TASKS = ("a", "b", "c")


def test_splits_name_the_parts_and_the_lowest_cosine_of_a_pair_that_parts() -> None:
    groups = {0: np.array([[0, 0, 0.0], [0, 1, 1], [0, 1, 2]]), 1: np.zeros((3, 3))}

    def pair(one: str, other: str, cosine: float) -> dict[str, Any]:
        return {"task_a": one, "task_b": other, "cosine": cosine, "cosine_error": math.nan}

    parted = {(10, 0): [pair("a", "b", 0.1), pair("a", "c", -0.4)]}
    first, second = runs._splits(TASKS, (0, 10, 20), groups, parted)
    assert (first.step, first.layer, first.parts) == (10, 0, (("a",), ("b", "c")))
    assert (first.pair, first.cosine, first.error) == (("a", "c"), -0.4, None)
    assert (second.step, second.parts, second.pair) == (20, (("b",), ("c",)), None)


def test_tasks_without_an_adapter_part_from_nobody() -> None:
    before, after = np.array([0.0, math.nan, 0.0]), np.array([0.0, math.nan, 1.0])
    assert runs._parts(TASKS, before, after) == [(("a",), ("c",))]


def test_what_chooses_is_the_score_of_the_weights_that_were_kept() -> None:
    def row(task: str, step: int, value: float | None, final: bool = False) -> dict[str, Any]:
        return {"task": task, "step": step, "value": value, "final": final}

    rows = [row("a", 10, 0.9, True), row("a", 20, 0.1), row("b", 10, 0.2), row("b", 20, 0.3), row("c", 5, math.nan)]
    assert runs._select(rows) == {"a": 0.9, "b": 0.3, "c": None}


def test_losses_are_means_over_spans_of_the_last_phase() -> None:
    steps = [{"phase": "first", "step": 1, "task": "a", "loss": 100.0}]
    steps += [{"phase": "main", "step": step, "task": "a", "loss": float(step)} for step in range(1, 101)]
    (curve,) = runs._losses(pd.DataFrame(steps), tasks=1).values()
    assert len(curve) == runs.BINS and curve[0] == (5, 3.0) and curve[-1] == (100, 98.0)
    assert len(runs._losses(pd.DataFrame(steps), tasks=25)["a"]) == 2  # every task has its turn in a span


def answers(errors: dict[int, float], said: str = "no") -> MethodAnswers:
    places = {("dev", row): error for row, error in errors.items()}
    return MethodAnswers(
        KINDS["classification"], places, [places], dict.fromkeys(places, said), dict.fromkeys(places, "yes")
    )


def test_rows_fixed_and_broken_are_those_of_one_method_against_the_other() -> None:
    methods = {"shared": answers({1: 0, 2: 1, 3: 1, 4: 0}), "private": answers({1: 1, 2: 0, 3: 1, 4: 0, 5: 1})}
    found = AnswersOf(methods, {("dev", 1): ("text",)}).facts()
    assert [row.row for row in found["fixed"]] == [1] and [row.row for row in found["broke"]] == [2]
    assert found["fixed"][0].texts == ("text",) and found["broke"][0].texts is None
    assert found["counted"] == (1.0, 1.0, 4) and [row.row for row in found["hardest"]] == [3, 5, 1, 2]


def test_seeds_are_joined_and_their_commonest_answer_is_told() -> None:
    joined = _joined([answers({1: 0}, "yes"), answers({1: 1}, "no"), answers({1: 1}, "no")])
    assert joined.errors["dev", 1] == pytest.approx(2 / 3) and joined.said["dev", 1] == "no (2 of 3 seeds)"
    assert _cut("x" * LONGEST) == "x" * LONGEST and _cut("x" * (LONGEST + 1)).endswith("(2,001 characters)")


def test_strips_hold_zero_and_all_ends_and_show_signs_that_one_decimal_would_hide() -> None:
    one, two = strips([("x", Difference(2.0, 0.5, 0.0)), ("y", Difference(-1.0, math.nan, 0.0))])
    assert (
        one.low is not None and one.high is not None and 0 < two.gain < one.zero < one.low < one.gain < one.high < 100
    )
    assert (one.word, two.word, two.low) == ("better", "not told", None)
    assert points(Difference(1.0, 1.02 / 1.96, 0.0)) == "+1.00 points [−0.02, +2.02]"
    assert points(Difference(1.0, math.nan, 0.0)) == "+1.0 points"
