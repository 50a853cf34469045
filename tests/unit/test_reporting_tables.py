"""The comparison tables: what is joined, what is never averaged, and how it looks as text."""

from __future__ import annotations

import io
import math
import re
from statistics import stdev

import pandas as pd
import pytest
from rich.console import Console

from adaptershare_cli import schemas
from adaptershare_cli.reporting.page.results import score_view
from adaptershare_cli.reporting.tables import comparison_table, to_markdown, to_rich


def result(method, task, value, seed=0, key="k0", split="dev", **other) -> dict:
    row = {
        "comparison": "glue, MiniLM",
        "run": f"{method}-{key}",
        "method": method,
        "key": key,
        "seed": seed,
        "task": task,
        "split": split,
    }
    row |= {"metric": "accuracy", "value": value, "main": True, "trained_parameters": 1000, "seconds": 60.0}
    row |= {"stored_parameters": 3000, "trained_share": 0.0123, "task_parameters": 700, "inference_cost": 1.02}
    row |= {"degenerate": None, "constant": None}
    return row | other


def results(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows)[schemas.RESULTS.names]


def only_group(*rows: dict):
    (group,) = comparison_table(results(*rows))
    return group


def texts(group) -> dict[str, list[str]]:
    return {row.label: [cell.text for cell in (*row.cells, row.average)] for row in group.rows}


class TestSeeds:
    def test_mean_and_sample_deviation(self):
        scores = {"cola": [0.50, 0.54, 0.49], "rte": [0.70, 0.71, 0.66]}
        rows = [result("shared", t, v, seed=s) for t, vs in scores.items() for s, v in enumerate(vs)]
        (row,) = only_group(*rows).rows
        assert row.seeds == 3 and row.cells[0].mean == pytest.approx(51.0)
        assert row.cells[0].deviation == pytest.approx(100 * stdev(scores["cola"]))
        averages = [50 * (a + b) for a, b in zip(*scores.values(), strict=True)]
        assert row.average.mean == pytest.approx(sum(averages) / 3)
        assert row.average.deviation == pytest.approx(stdev(averages))
        assert row.cells[0].text == "51.0 ± 2.6"

    def test_one_seed_has_no_deviation(self):
        assert texts(only_group(result("shared", "cola", 0.637))) == {"shared": ["63.7", "63.7"]}

    def test_no_negative_zero(self):
        assert texts(only_group(result("shared", "cola", -0.0001)))["shared"][0] == "0.0"

    def test_parameters_and_seconds_are_means_over_seeds(self):
        costs = {seed: {"trained_parameters": 1000 * seed, "seconds": 30.0 * seed} for seed in (1, 3)}
        rows = [
            result("adaptershare", task, 0.5, seed=seed, **costs[seed]) for seed in (1, 3) for task in ("cola", "rte")
        ]
        (row,) = only_group(*rows).rows
        assert (row.parameters, row.seconds, row.seeds) == (2000, 60, 2)

    def test_what_is_stored_adds_up_over_single_runs_and_shares_are_means(self):
        costs = {"cola": {"trained_share": 0.01, "inference_cost": 1.1}, "rte": {"trained_share": 0.03}}
        rows = [result("single", task, 0.5, key=task, **own) for task, own in costs.items()]
        rows += [result("single", "rte", 0.5, key="rte", split="dev2", **costs["rte"])]  # the same run's other split
        (row,) = only_group(*rows).rows
        assert (row.parameters, row.stored) == (2000, 6000)
        assert row.trained_share == pytest.approx(2) and row.inference == pytest.approx(6)

    def test_runs_whose_costs_were_not_counted_show_a_dash(self):
        unknown = {"stored_parameters": None, "trained_share": None, "inference_cost": None}
        (row,) = only_group(result("shared", "cola", 0.5, **unknown)).rows
        assert (row.stored, row.trained_share, row.inference) == (None, None, None)
        assert "| – | – | – |" in to_markdown([only_group(result("shared", "cola", 0.5, **unknown))])

    def test_seed_without_a_task_gives_no_average(self):
        rows = [result("shared", "cola", 0.5, seed=s) for s in (0, 1)]
        group = only_group(*rows, result("shared", "rte", 0.7, seed=0, key="k0"))
        assert texts(group)["shared"] == ["50.0 ± 0.0", "70.0", "–"]
        assert "shared: rte has 1 of 2 seeds." in group.notes


class TestAverages:
    def test_missing_task_gives_a_dash_and_no_average(self):
        group = only_group(
            result("shared", "cola", 0.5), result("shared", "rte", 0.7), result("private", "cola", 0.9, key="k1")
        )
        assert texts(group) == {"private": ["90.0", "–", "–"], "shared": ["50.0", "70.0", "60.0"]}

    @pytest.mark.parametrize("null", [None, math.nan])
    def test_undefined_metric_is_not_available(self, null):
        group = only_group(result("shared", "cola", null), result("shared", "rte", 0.7))
        assert texts(group) == {"shared": ["n/a", "70.0", "–"]}

    def test_metric_undefined_for_one_seed_is_not_averaged_over_the_others(self):
        rows = [result("shared", "cola", value, seed=seed) for seed, value in enumerate([0.5, None])]
        group = only_group(*rows)
        assert texts(group) == {"shared": ["n/a", "–"]}
        assert "shared: cola is undefined for 1 of 2 seeds." in group.notes

    def test_splits_have_columns_and_count_as_one_task(self):
        group = only_group(
            result("shared", "mnli", 0.6, split="dev_matched"),
            result("shared", "mnli", 0.8, split="dev_mismatched"),
            result("shared", "cola", 0.3),
        )
        assert [column.label for column in group.columns] == ["cola", "mnli (dev_matched)", "mnli (dev_mismatched)"]
        assert texts(group)["shared"] == ["30.0", "60.0", "80.0", "50.0"]

    def test_other_metrics_and_select_rows_do_not_count(self):
        group = only_group(
            result("shared", "mrpc", 0.8, metric="f1"),
            result("shared", "mrpc", 0.1, main=False),
            result("shared", "mrpc", 0.2, metric="f1", split="select"),
        )
        assert texts(group) == {"shared": ["80.0", "80.0"]} and group.columns[0].metric == "f1"


class TestRows:
    def test_comparisons_stay_apart_in_their_order(self):
        groups = comparison_table(
            results(result("shared", "cola", 0.5, comparison="z"), result("shared", "cola", 0.6, comparison="a"))
        )
        assert [group.comparison for group in groups] == ["z", "a"]
        assert [texts(group)["shared"][0] for group in groups] == ["50.0", "60.0"]

    def test_several_runs_with_one_seed_are_rows_of_their_own(self):
        group = only_group(
            result("adaptershare", "cola", 0.5, key="aaa"),
            result("adaptershare", "cola", 0.7, key="bbb"),
            result("adaptershare", "cola", 0.6, key="ccc", seed=1),
        )
        assert {label: cells[0] for label, cells in texts(group).items()} == {
            "adaptershare aaa": "50.0", "adaptershare bbb": "70.0", "adaptershare ccc": "60.0",
        }  # fmt: skip
        assert "several settings" in group.notes[0]

    def test_keys_with_several_seeds_are_settings_and_never_joined(self):
        group = only_group(
            *(result("adaptershare", "cola", value, key="aaa", seed=seed) for seed, value in enumerate([0.5, 0.6])),
            result("adaptershare", "cola", 0.9, key="bbb", seed=7),
        )
        assert {label: cells[0] for label, cells in texts(group).items()} == {
            "adaptershare aaa": "55.0 ± 7.1", "adaptershare bbb": "90.0",
        }  # fmt: skip

    def test_one_key_for_all_seeds_is_one_row(self):
        rows = [result("adaptershare", "cola", 0.5, key="aaa", seed=seed) for seed in (0, 1)]
        group = only_group(*rows)
        assert [(row.label, row.seeds) for row in group.rows] == [("adaptershare", 2)] and not group.notes

    def test_single_runs_are_joined_over_tasks(self):
        rows = [
            result("single", task, value, key=f"{task}{seed}", seed=seed, trained_parameters=100, seconds=10 + seed)
            for task, value in (("cola", 0.4), ("rte", 0.6))
            for seed in (0, 1)
        ]
        rows.append(result("single", "rte", 0.8, key="rte0", split="dev2", trained_parameters=100, seconds=10))
        rows.append(result("single", "rte", 0.8, key="rte1", seed=1, split="dev2", trained_parameters=100, seconds=11))
        group = only_group(result("shared", "cola", 0.5), *rows)
        assert [row.label for row in group.rows] == ["single", "shared"]
        row = group.rows[0]
        assert (row.parameters, row.seconds, row.seeds, group.notes) == (200, 21, 2, ())
        assert row.average.mean == pytest.approx(55)

    def test_last_of_several_single_runs_is_used_and_noted(self):
        group = only_group(
            result("single", "cola", 0.9, key="zzz"),
            result("single", "rte", 0.6, key="rrr"),
            result("single", "cola", 0.4, key="aaa"),
        )
        assert texts(group) == {"single": ["40.0", "60.0", "50.0"]} and group.rows[0].parameters == 2000
        assert group.notes == ("single: cola, seed 0 has several runs; aaa (the newest) is used, not zzz.",)

    def test_costs_of_single_leave_seeds_without_all_tasks_out(self):
        group = only_group(
            result("single", "cola", 0.5, key="a"),
            result("single", "rte", 0.5, key="b"),
            result("single", "cola", 0.5, key="c", seed=1),
        )
        assert group.rows[0].parameters == 2000 and group.rows[0].average.text == "–"

    def test_two_values_for_one_score_are_refused(self):
        with pytest.raises(ValueError, match="two values"):
            comparison_table(results(result("shared", "cola", 0.5), result("shared", "cola", 0.6)))
        assert len(comparison_table(results(result("shared", "cola", 0.5), result("shared", "cola", 0.5)))) == 1

    def test_no_results_no_groups(self):
        assert comparison_table(results(result("shared", "cola", 0.5)).iloc[:0]) == []
        assert to_markdown([]) == ""

    def test_parquet_types_are_read(self):
        import pyarrow as pa

        table = pa.Table.from_pylist([result("shared", "cola", None), result("private", "cola", 0.5)], schemas.RESULTS)
        (group,) = comparison_table(table.to_pandas())
        assert texts(group) == {"private": ["50.0", "50.0"], "shared": ["n/a", "–"]}


@pytest.fixture
def group():
    rows = [result("shared", task, value, key="k1") for task, value in (("cola", 0.5), ("rte", 0.70))]
    rows += [result("private", task, value, key="k2") for task, value in (("cola", 0.6), ("rte", 0.70001))]
    return only_group(*rows)


class TestMarkdown:
    def test_table_with_the_best_in_bold(self, group):
        assert to_markdown([group]).splitlines() == [
            "## glue, MiniLM",
            "",
            "| method | cola [accuracy] | rte [accuracy] | average | trained parameters "
            "| trained a task [% of encoder] | stored parameters | inference [+ % of encoder] | time [s] | seeds |",
            "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
            "| private | **60.0** | 70.0 | **65.0** | 1,000 | 1.23 | 3,000 | 2.00 | 60 | 1 |",
            "| shared | 50.0 | 70.0 | 60.0 | 1,000 | 1.23 | 3,000 | 2.00 | 60 | 1 |",
        ]

    def test_names_cannot_break_the_table(self):
        text = to_markdown([only_group(result("a|b", "x\ny<b>", 0.5, comparison="c\nd"))])
        assert text.startswith("## c d\n") and "| a\\|b |" in text and "| x y\\<b\\> [accuracy] |" in text

    def test_one_row_has_no_best(self):
        assert "**" not in to_markdown([only_group(result("shared", "cola", 0.5))])


class TestDegenerate:
    """Scores of predictions that tell nothing are marked, named, and never the best."""

    def test_marked_and_named_and_not_the_best(self):
        group = only_group(
            result("private", "mrpc", 0.68, key="k1", degenerate="always no"),
            result("private", "rte", 0.5, key="k1"),
            result("shared", "mrpc", 0.6),
            result("shared", "rte", 0.7),
        )
        assert texts(group) == {"private": ["68.0*", "50.0", "59.0"], "shared": ["60.0", "70.0", "65.0"]}
        assert group.notes == ("* mrpc, always no: private.",)
        text = to_markdown([group])
        assert "68.0\\* | 50.0 |" in text and "| 60.0 | **70.0** | **65.0** |" in text
        assert "68.0*" in TestRich.printed(to_rich(group))

    def test_of_some_seeds(self):
        reasons = ["always no", None, "no better than always no", "always no"]
        group = only_group(*(result("shared", "rte", 0.5, seed=s, degenerate=words) for s, words in enumerate(reasons)))
        assert texts(group)["shared"][0] == "50.0* ± 0.0"
        notes = ("* rte, always no (seed 0, 3): shared.", "* rte, no better than always no (seed 2): shared.")
        assert group.notes == notes

    def test_of_all_seeds_and_undefined(self):
        rows = [result("shared", "stsb", None, seed=seed, degenerate="always 2.5") for seed in (0, 1)]
        group = only_group(*rows)
        assert texts(group)["shared"][0] == "n/a*" and group.notes == ("* stsb, always 2.5: shared.",)

    def test_a_worse_one_takes_nothing_from_the_best(self):
        group = only_group(
            result("shared", "rte", 0.5, degenerate="always no"), result("private", "rte", 0.7, key="k1")
        )
        assert "| **70.0** |" in to_markdown([group])


class TestConstant:
    """What a constant prediction scores stands below the methods, and is never the best of them."""

    def test_a_row_of_its_own(self):
        group = only_group(
            result("private", "mrpc", 0.68, key="k1", constant=0.7),
            result("private", "rte", 0.5, key="k1", constant=0.5),
            result("shared", "mrpc", 0.6, constant=0.7),
            result("shared", "rte", 0.7, constant=0.5),
        )
        assert [cell.text for cell in group.constant] == ["70.0", "50.0", "60.0"]
        assert group.notes[-1].startswith("constant: ")
        lines = to_markdown([group]).splitlines()
        assert any("**68.0**" in line for line in lines)  # the best of what was trained
        (line,) = (line for line in lines if line.startswith("| constant"))
        assert "**" not in line and line.endswith("| – |")

    def test_a_row_on_the_page_too(self):
        group = only_group(result("shared", "rte", 0.7, constant=0.5), result("shared", "mrpc", 0.6, constant=0.7))
        label, entries = score_view(group).rows[-1]
        assert label == "constant" and [entry.text for entry in entries] == ["60.0", "70.0", "50.0"]
        assert {entry.mark for entry in entries} == {""}

    def test_where_it_is_undefined_or_not_known(self):
        rows = [result("shared", "stsb", 0.5), result("shared", "rte", 0.7, constant=0.5)]
        assert [cell.text for cell in only_group(*rows).constant] == ["50.0", "–", "–"]
        assert only_group(result("shared", "stsb", 0.5)).constant == ()


class TestRich:
    @staticmethod
    def printed(table, width=100) -> str:
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(table)
        return console.export_text()

    def test_cells_and_names_are_shown(self, group):
        text = self.printed(to_rich(group))
        assert all(word in text for word in ("glue, MiniLM", "private", "shared", "60.0", "65.0", "1,000"))

    def test_names_are_not_markup(self):
        assert "[red]x[/red]" in self.printed(to_rich(only_group(result("[red]x[/red]", "cola", 0.5))))

    def test_many_tasks_fit_a_terminal(self):
        rows = [result("shared", f"task{i:02d}", 0.637 + s / 50, seed=s) for i in range(30) for s in (0, 1)]
        text = self.printed(to_rich(only_group(*rows)), width=60)
        assert len(re.findall(r"64\.7 ± 1\.4", text)) == 31
