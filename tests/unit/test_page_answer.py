"""What the page says is to be done: never more than the numbers hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adaptershare_cli.reporting.page import html_page
from adaptershare_cli.reporting.page.answer import Answer, answer_of
from adaptershare_cli.reporting.page.commands import training_command
from adaptershare_cli.reporting.page.facts import Gain
from adaptershare_cli.reporting.page.results import marks, score_view
from adaptershare_cli.reporting.page.roles import Contest, main_group
from adaptershare_cli.reporting.tables import Cell
from adaptershare_cli.sharing.plan import SharingPlan
from tests.pages import METHODS, facts_of, made_up, result


def contest_of(rows: list[dict[str, Any]]) -> Contest:
    facts = facts_of(rows)
    return Contest(facts.groups[0], facts.runs)


def said(*arguments: Any, **others: Any) -> Answer:
    return answer_of(contest_of(made_up(*arguments, **others)))


@pytest.mark.parametrize(
    ("gains", "headline"),
    [
        ({"adaptershare": 0.05}, "Share, as adaptershare does."),
        ({"shared": 0.05, "adaptershare": 0.05, "random-plan": 0.05}, "Share one adapter among all tasks."),
        ({"private": 0.05}, "Keep the tasks apart"),
    ],
)
def test_clear_differences_are_told(gains: dict[str, float], headline: str) -> None:
    answer = said(6, seeds=4, gains=gains, noise=0.003)
    assert answer.decided and answer.headline.startswith(headline) and answer.state == "told apart"


def test_differences_within_the_noise_are_not_told_and_it_is_said_what_would() -> None:
    answer = said(6, seeds=2, gains={"adaptershare": 0.002}, noise=0.03)
    assert not answer.decided and answer.state == "not told apart"
    (advice,) = answer.advice
    assert "would tell" in advice.why and all("--seeds 0,1,2" in command for command in advice.commands)
    assert any("trains the fewest parameters" in line for line in answer.sure)


def test_one_seed_has_no_interval() -> None:
    answer = said(gains={"adaptershare": 0.2}, seeds=1)
    assert not answer.decided and answer.state == "one seed"
    assert all(strip.low is None and strip.word == "not told" for strip in answer.plans)
    assert all("--seeds 0,1" in command for advice in answer.advice for command in advice.commands)


def test_missing_baselines_are_named_with_the_commands_that_train_them() -> None:
    answer = said(methods=("adaptershare", "shared"), gains={"adaptershare": 0.2})
    assert not answer.decided and "keeping the tasks apart" in answer.headline and answer.state == "baselines missing"
    commands = [command for advice in answer.advice for command in advice.commands]
    assert "adaptershare train-share --tasks suite --max-steps 50 --method private --seeds 0,1,2" in commands
    random = [command for command in commands if "random-plan" in command]
    assert random == [
        "adaptershare train-share --tasks suite --max-steps 50 --method random-plan --seeds 0,1,2 "
        "--init-plan adaptershare"
    ]
    plain = said(methods=("private", "shared"), gains={"shared": 0.2}, noise=0.001)
    assert plain.decided and plain.advice == []  # nothing to draw at random
    alone = said(methods=("adaptershare",))
    assert "only method" in alone.headline and len(alone.advice[0].commands) == 3


def test_methods_without_a_common_seed_are_not_paired() -> None:
    rows = [row | {"seed": row["seed"] + (10 if row["method"] == "shared" else 0)} for row in made_up()]
    assert answer_of(contest_of(rows)).state == "no common seed"


def test_select_rows_choose_and_scored_rows_are_reported() -> None:
    """The method with the highest scores is not taken where the rows that choose prefer another."""
    facts = facts_of(made_up(gains={"shared": 0.1}))
    runs = {name: replace(run, select=dict.fromkeys(run.select, 1.0)) if run.method == "adaptershare" else run
            for name, run in facts.runs.items()}  # fmt: skip
    contest = Contest(facts.groups[0], runs)
    assert contest.chosen is not None and contest.chosen.method == "adaptershare"
    assert answer_of(contest).headline.startswith("Share one adapter among all tasks.")


def test_what_seeds_do_to_one_task_does_not_make_it_gain() -> None:
    rows = made_up(2, seeds=4, noise=0.002, gains={"adaptershare": 0.0})
    up = [row | ({"value": row["value"] + 0.1} if (row["task"], row["method"]) == ("task-0", "adaptershare") else {})
          for row in rows]  # fmt: skip
    answer = answer_of(contest_of(up))
    assert "Gain by sharing: task-0." in answer.why and "No task is told to lose by sharing." in answer.why


def test_groups_are_named_where_they_are_the_same_everywhere() -> None:
    facts = facts_of(made_up(4, gains={"adaptershare": 0.1}))
    tasks = [f"task-{number}" for number in range(4)]
    halves = SharingPlan(tuple(tasks), ((tuple(tasks[:2]), tuple(tasks[2:])),) * 2)
    mixed = SharingPlan(tuple(tasks), (halves.layers[0], (tuple(tasks),)))

    def with_plan(plan: SharingPlan) -> str:
        runs = {n: replace(run, plan=plan) if run.method == "adaptershare" else run for n, run in facts.runs.items()}
        return answer_of(Contest(facts.groups[0], runs)).said

    assert "Groups: task-0 task-1 | task-2 task-3." in with_plan(halves)
    assert "layer to layer" in with_plan(mixed)


def test_the_comparison_of_most_methods_is_answered_first() -> None:
    rows = [result("shared", "x", 0.5, seed, comparison="small", run=f"small-{seed}") for seed in range(9)]
    facts = facts_of([*rows, *made_up()])
    assert facts.groups[main_group(facts.groups)].comparison == "made up"


# ---- commands ----


def test_a_command_for_another_method_keeps_what_that_knows() -> None:
    command = (
        "adaptershare train-share --config a.toml --rule significance --no-observe --tasks a,b --seed 3 --method x"
    )
    found = training_command(command, ["a", "b"], "private", [0, 1])
    assert found == "adaptershare train-share --config a.toml --no-observe --tasks a,b --method private --seeds 0,1"
    assert training_command("", ["a", "b"], "shared", [0]) == (
        "adaptershare train-share --tasks a,b --method shared --seeds 0"
    )


# ---- marks ----


def cell(*values: float) -> Cell:
    return Cell(sum(values) / len(values), 1.0, values=values)


def test_the_best_and_what_is_not_told_from_it() -> None:
    seeds = [(0, 1, 2)] * 3
    assert marks([cell(60, 61, 62), cell(59.9, 61.2, 61.7), cell(40, 41, 42)], seeds) == ["best", "near", ""]
    assert marks([cell(60), cell(59)], [(0,)] * 2) == ["best", ""]
    assert marks([cell(60)], [(0,)]) == [""] and marks([Cell(), cell(1.0)], [(0,), (0,)]) == ["", ""]
    assert marks([cell(0.0, 0.0), cell(-5.0, -5.1)], [(0, 1)] * 2) == ["best", ""]


def test_methods_without_the_best_ones_seeds_are_not_told_from_it() -> None:
    assert marks([cell(60, 61), cell(60, 60.5)], [(0, 1), (2, 3)]) == ["best", ""]


def test_of_equal_methods_none_is_the_best() -> None:
    assert marks([cell(60), cell(60), cell(40)], [(0,)] * 3) == ["", "", ""]


def test_the_table_says_what_its_marks_mean() -> None:
    several, one = (score_view(facts_of(made_up(seeds=seeds)).groups[0]) for seeds in (2, 1))
    assert "Holm's" in several.notes[0] and "fewer than two seeds" in one.notes[0]
    assert [label for label, _ in several.rows] == sorted(METHODS) and several.headers[1] == ("average", "")


# ---- one seed: what other rows would give ----


def test_with_one_seed_intervals_of_rows_are_drawn_and_decide_nothing() -> None:
    facts = facts_of(made_up(2, seeds=1, gains={"adaptershare": 0.2}))
    gains = {"": Gain(20.0, 12.0, 27.0), "task-0": Gain(22.0, 15.0, 30.0), "task-1": Gain(18.0, -1.0, 36.0)}
    over_rows = {("adaptershare", "private"): gains}
    answer = answer_of(Contest(facts.groups[0], facts.runs, over_rows))
    assert not answer.decided and answer.state == "one seed"
    assert [strip.word for strip in answer.plans] == ["better", "not told", "not told"]
    assert {strip.label: strip.word for strip in answer.tasks} == {"task-0": "better", "task-1": "not told"}
    assert any("not of other seeds" in line for line in answer.sure)
    facts = facts_of(made_up(2, seeds=2, gains={"adaptershare": 0.2}))
    several = answer_of(Contest(facts.groups[0], facts.runs, over_rows))
    assert several.plans[0].text != answer.plans[0].text  # seeds tell more


def test_what_did_better_with_another_budget_is_named_first() -> None:
    plain = made_up(methods=("private", "shared"), gains={"shared": 0.02})
    dear = [row | {"comparison": "more"} for row in made_up(methods=("plan-search",), gains={"plan-search": 0.1})]
    poor = [row | {"comparison": "more"} for row in made_up(methods=("plan-search",), gains={"plan-search": -0.1})]
    page = html_page(facts_of(plain + dear))
    assert "Above it on the rows that choose" in page and "plan-search (" in page
    assert page.index("Above it on the rows") < page.index("Other comparisons</h3>")
    assert "Above it on the rows" not in html_page(facts_of(plain + poor))
