"""Plan search from the command line: what is trained, by which rows groups are chosen, what the run is made of."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file

from adaptershare_cli.methods.plan_search import start
from adaptershare_cli.statistics.partitions import sorted_partition
from adaptershare_cli.statistics.plan_search import Found, search
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Artefact, Workspace
from tests.cli.conftest import SEARCH, Share, call, good, hashed, interrupt_at, kept, made, refused


@pytest.fixture
def own(searched: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(searched, tmp_path / "workspace"))


def run_of(workspace: Path) -> Artefact:
    (run,) = Workspace(workspace).artefacts("train-share")
    return run


def trained(workspace: Path) -> dict[str, Artefact]:
    """Every group by its label, each task alone included."""
    found = (a for stage in ("train-single", "groups") for a in Workspace(workspace).artefacts(stage))
    return {a.label: a for a in found if a.name not in ("by-knn", "halves")}


def groups_of(run: Artefact) -> pd.DataFrame:
    table = run.table("groups.parquet").to_pandas()
    return table.assign(group=table["group"].map(tuple))


def test_every_value_is_of_select_rows_and_the_best_plan_is_kept(searched: Path) -> None:
    run, table = run_of(searched), groups_of(run_of(searched))
    for label, part in table.groupby("run"):
        metrics = trained(searched)[label].table("metrics.parquet").to_pandas()
        select = metrics[metrics["final"] & metrics["main"] & (metrics["split"] == "select")].set_index("task")["value"]
        assert part.set_index("task")["value"].to_dict() == select.fillna(0).to_dict()
    gains = table.assign(gain=table["value"] - table["alone"]).groupby("group")["gain"].sum()
    tried = {group: gain for group, gain in gains.items() if len(group) > 1}
    assert sum(map(len, tried)) <= 9 - 3 and tried
    best = max([0.0, *tried.values()])  # of three tasks a plan has one group of two or three at most
    chosen = set(table[table["chosen"]]["group"])
    assert sorted(task for group in chosen for task in group) == ["first", "score", "second"]
    assert sum(gains[group] for group in chosen) == pytest.approx(best)
    record = RunRecord.of(run)
    assert record.plan is not None and {tuple(group) for group in record.plan["layers"][0]} == chosen


def test_halves_of_select_rows_make_the_whole(searched: Path) -> None:
    """Accuracies of two halves of equal size: their mean is that of all, for trained groups and for tasks alone."""
    table = groups_of(run_of(searched))
    of_classes = table[table["task"] != "score"]
    for whole, ends in (("value", ("first_value", "second_value")), ("alone", ("first_alone", "second_alone"))):
        mean = sum(of_classes[end] for end in ends) / 2
        assert of_classes[whole].to_numpy() == pytest.approx(mean.to_numpy())
    assert (table["first_value"] != table["second_value"]).any()


def test_the_run_is_its_groups(searched: Path) -> None:
    """Weights and scores are those of the groups, bit for bit: nothing was trained again."""
    run, table = run_of(searched), groups_of(run_of(searched))
    scores = run.table("metrics.parquet").to_pandas()
    for label, part in table[table["chosen"]].groupby("run"):
        group = trained(searched)[label]
        theirs = group.table("metrics.parquet").to_pandas()
        for task in part["task"]:
            for file in ("adapter.safetensors", "head.safetensors"):
                ours, same = (load_file(a.path / "tasks" / task / file) for a in (run, group))
                assert ours.keys() == same.keys() and all((ours[name] == same[name]).all() for name in ours)
            found, expected = (
                t[t["final"] & (t["task"] == task)].set_index(["split", "metric"]) for t in (scores, theirs)
            )
            assert found["value"].to_dict() == expected["value"].to_dict()
    assert run.table("steps.parquet").num_rows == 0
    trained_on = RunRecord.of(run).examples
    assert trained_on == {
        task: sum(RunRecord.of(a).examples.get(task, 0) for a in trained(searched).values()) for task in trained_on
    }


def test_the_same_search_again_makes_nothing_and_a_smaller_one_finds_its_groups(own: Path, share: Share) -> None:
    again = good(*share(own, *SEARCH))
    assert made(again.stdout) == [] and len(kept(again.stdout)) > 3
    smaller = good(*share(own, *SEARCH, "--budget", "5"))
    assert [label.partition("-")[0] for label in made(smaller.stdout)] == ["groups/halves", "train"]  # nothing trained


def test_groups_that_were_there_in_another_order_give_the_same_bytes(
    searched: Path, share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search with another measure goes first, and the search itself is interrupted in a group."""
    workspace = tmp_path / "workspace"
    good(*share(workspace, *SEARCH, "--search-measure", "none", "--budget", "5"))
    shutil.rmtree(workspace / "train-share")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert call(*share(workspace, *SEARCH, "--checkpoint-steps", "2")).exit_code == 130
    good(*share(workspace, *SEARCH))
    there, expected = hashed(workspace), hashed(searched)
    assert {name: there[name] for name in expected} == expected


def test_sharing_in_half_of_the_layers(own: Path, share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of the plan that was found is kept as it does best, and the run is what was kept."""

    def with_a_pair(*arguments: Any, **options: Any) -> Found:
        """The search; but where all are best alone, a pair that it tried is taken."""
        found = search(*arguments, **options)
        pair = next(mask for mask in found.gains if mask.bit_count() == 2)
        return replace(found, partition=sorted_partition([pair, 0b111 ^ pair]))

    monkeypatch.setattr(start, "search", with_a_pair)
    good(*share(own, *SEARCH, "--layers", "halves"))
    run = next(a for a in Workspace(own).artefacts("train-share") if RunRecord.of(a).settings["layers"] == "halves")
    table, record = groups_of(run), RunRecord.of(run)
    expected = set(table[table["chosen"]]["group"])
    gains = table.assign(gain=table["value"] - table["alone"]).groupby(["group", "layers"])["gain"].sum()
    (shared,) = (group for group in expected if len(group) > 1)
    assert set(gains[shared].index) == {"all", "lower", "upper"}
    (kept_in,) = set(table[table["chosen"] & (table["group"] == shared)]["layers"])
    assert gains[shared][kept_in] == gains[shared].max()
    depth = len(record.plan["layers"])  # type: ignore[index]
    reach = {"all": range(depth), "lower": range(depth // 2), "upper": range(depth // 2, depth)}
    for layer, groups in enumerate(record.plan["layers"]):  # type: ignore[index]
        assert (list(shared) in groups) == (layer in reach[kept_in])
    label = table[(table["layers"] == "upper")]["run"].iloc[0]
    upper = next(a for a in Workspace(own).artefacts("groups") if a.label == label)
    plan = RunRecord.of(upper).plan["layers"]  # type: ignore[index]
    assert [len(groups) for groups in plan] == [len(shared)] * (depth // 2) + [1] * (depth - depth // 2)


def test_random_plans_at_the_same_cost(own: Path, share: Share) -> None:
    good(*share(own, *SEARCH[:2], "--proposals", "random", "--budget", "9"))
    run = next(a for a in Workspace(own).artefacts("train-share") if RunRecord.of(a).settings["proposals"] == "random")
    table = groups_of(run)
    assert {task for group in table["group"] for task in group} == {"first", "score", "second"}
    assert sum(len(group) for group in set(table["group"])) <= 9
    refused(
        *share(own, *SEARCH[:2], "--proposals", "random", "--search-measure", "knn"),
        says=("--search-measure", "--proposals predicted"),
    )


def test_too_small_a_budget(share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w", *SEARCH, "--budget", "4"), says=("--budget 4", "--budget 5 or more"))
    assert not (tmp_path / "w" / "train-single").exists()


def test_no_stage_one_of_fusion(share: Share, tmp_path: Path) -> None:
    fusion = ("--method", "adapterfusion", "--fusion-over", "plan-search", "--fusion-learning-rate", "0.01")
    refused(*share(tmp_path / "w", *fusion), says=("--fusion-over plan-search",))
