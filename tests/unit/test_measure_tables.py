"""The terminal's tables of scores and selections."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from rich.console import Console

from adaptershare_cli.reporting.relation_table import indifference, relation_table
from adaptershare_cli.reporting.score_table import empty_scores, score_table
from adaptershare_cli.reporting.selection_table import steps_table
from adaptershare_cli.statistics import scores
from adaptershare_cli.studies import procedures as selection
from adaptershare_cli.studies.procedures import Curve


def printed(table) -> list[list[str]]:
    """The cells of each printed line."""
    console = Console(width=250, no_color=True)
    with console.capture() as capture:
        console.print(table)
    lines = [line.replace("┃", "│") for line in capture.get().splitlines()]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]


class TestIndifference:
    def answer(self, *values: float) -> pd.DataFrame:
        pairs = list(combinations("abc", 2))[: len(values)]
        rows = [{"layer": -1, "source": a, "target": b, "value": v} for (a, b), v in zip(pairs, values, strict=True)]
        return pd.DataFrame([*rows, {**rows[0], "layer": 0, "value": 0.7}])

    def test_one_value_for_all_pairs_is_told(self):
        assert indifference("text", self.answer(0.5, 0.5, 0.5)) == (
            "text: 0.500 for every pair: it tells no task from another"
        )
        assert "never share an adapter" in indifference("plan", self.answer(0.0, 0.0, 0.0))
        assert "share every adapter" in indifference("plan", self.answer(1.0, 1.0, np.nan))

    def test_what_parts_tasks_is_not(self):
        assert indifference("plan", self.answer(0.0, 0.5, 0.0)) == ""
        assert indifference("plan", self.answer(1.0)) == ""  # one pair
        assert indifference("gradient", self.answer(np.nan, np.nan)) == ""


class TestRelationTable:
    def best(self, *values: float) -> list[str]:
        """What the table says of the target c, whose sources a and b have these values."""
        rows = [{"source": s, "target": "c", "value": value} for s, value in zip("ab", values, strict=True)]
        empty = dict.fromkeys(("standard_error", "null_upper", "p_value", "checks"))
        return printed(relation_table("m", pd.DataFrame(rows).assign(layer=-1, **empty), ["c"], [], True))[1]

    def test_the_best_source(self):
        assert self.best(0.2, 0.1) == ["c", "a", "0.200"] and self.best(0.2, 0.2) == ["c", "all 2 others", "0.200"]
        assert self.best(-0.7, 0.0) == ["c", "b", "0.000"]  # as of few-labels, where b is a regression
        assert self.best(0.0, 0.0) == ["c", "none", "0.000"]


class TestScoreTable:
    truth = np.random.default_rng(0).normal(size=(3, 5, 5)) / 100

    def lines(self, truth) -> list[list[str]]:
        measures = {"good": truth.mean(axis=0), "[b]none": np.full((5, 5), np.nan)}
        table = scores.score_measures(measures, truth, list("abcde"), "pair", {"good": 0.0123}, draws=5)
        return printed(score_table(table.to_pandas()))

    def test_cells(self):
        header, values, intervals, nothing, random, ceiling = self.lines(self.truth)
        names = [name.replace("-", " ") for name in scores.SCORES if name != "regret@5"]  # there are four sources
        assert header == ["measure", *names, "p", "cost"]
        assert values[:3] == ["good", "1.00", "0.000"] and values[-3] == "1.00" and values[-1] == "1.23 %"
        assert intervals[1].startswith("0.") and intervals[1].endswith("…1.00")
        assert nothing == ["[b]none", *["–"] * 9]
        assert random[0] == "random, mean" and float(random[1]) < 1
        assert ceiling[0] == "ceiling" and " to " in ceiling[header.index("pearson")]
        assert " to " not in ceiling[header.index("ndcg")]

    def test_one_seed_has_no_ceiling(self):
        *_, ceiling = self.lines(self.truth[:1])
        assert ceiling == ["ceiling", *["–"] * 7, "", ""]

    def test_scores_that_are_empty_throughout(self):
        three = np.random.default_rng(0).normal(size=(2, 3, 3))
        table = scores.score_measures({"a": three[0]}, three, list("abc"), "pair", draws=5).to_pandas()
        assert empty_scores(table) == ["regret@3", "regret@5"]


class TestSelectionTable:
    def test_steps_and_rows(self):
        curves = iter([0.5, 0.6, 0.4, 0.1, 0.2, 0.3])
        ask = lambda candidate: Curve((next(curves),), scored=(0.25, 0.75))  # noqa: E731
        ranking = {"a": 0.9, "b": 0.2}
        ids = {"a": np.arange(4), "b": np.arange(3)}
        steps = selection.trial("t", ranking, ask)
        steps += selection.fine_grained("t", ranking, "ab", {"a": ids["a"] / 4, "b": ids["b"] - 9}, ids, at_least=0.4)
        steps += selection.baselines("t", ["a", "b"], 1, ask)
        header, *lines = printed(steps_table(selection.selection_table(steps).to_pandas()))
        assert header == [
            "target",
            "procedure",
            "step",
            "trained along",
            "score",
            "scored splits",
            "chosen",
            "rows kept",
        ]
        assert lines[:4] == [
            ["t", "trial (strict)", "0", "none", "0.500", "0.500 ± 0.250", "", ""],
            ["t", "trial (strict)", "1", "a", "0.600", "0.500 ± 0.250", "chosen", ""],
            ["t", "trial (strict)", "2", "a, b", "0.400", "0.500 ± 0.250", "", ""],
            ["t", "fg (rows: at least 0.4)", "0", "a", "–", "–", "chosen", "a 2 of 4"],
        ]
        assert lines[4] == ["", "", "", "", "", "", "", "b 0 of 3"]
        assert [line[1] for line in lines[5:]] == ["none", "all", "random"]
