"""Runs that take up the plan of an earlier run, the controls beside them, and the published preset."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModel

from adaptershare_cli.training import loop
from tests.cli.conftest import SPLITTING, TASKS, Share, good, only, refused


def plan_of(run: Path) -> list[set[frozenset[str]]]:
    """For each layer the groups with which a run ended."""
    plan = json.loads((run / "artefact.json").read_text())["info"]["plan"]
    return [{frozenset(group) for group in groups} for groups in plan["layers"]]


def plans_over_time(run: Path) -> pd.DataFrame:
    """How many groups each layer has from which step on."""
    table = pd.read_parquet(run / "sharing.parquet")
    return table.groupby(["step", "layer"])["group"].nunique().unstack()


def folder(workspace: Path, method: str) -> Path:
    return only(workspace, f"train-share/{method}-*")


def test_given_plan_trains_under_the_plan_of_an_earlier_run(share: Share, workspace: Path) -> None:
    good(*share(workspace, "--method", "given-plan", "--init-plan", "adaptershare"))
    origin, run = folder(workspace, "adaptershare"), folder(workspace, "given-plan")
    assert len(plan_of(origin)[0]) > 1
    assert plan_of(run) == plan_of(origin)
    assert list(plans_over_time(run).index) == [0]
    meta = json.loads((run / "artefact.json").read_text())
    assert f"train-share/{origin.name}" in [part["artefact"] for part in meta["inputs"]]


def test_random_plan_splits_alike_at_the_same_steps_with_other_tasks(share: Share, workspace: Path) -> None:
    good(*share(workspace, "--method", "random-plan", "--init-plan", "adaptershare", "--seeds", "0,1,2,3"))
    origin = folder(workspace, "adaptershare")
    expected = plans_over_time(origin)
    sizes = json.loads((origin / "artefact.json").read_text())["info"]["trained_parameters"]
    runs = sorted((workspace / "train-share").glob("random-plan-*"))
    assert len(runs) == 4
    for run in runs:
        pd.testing.assert_frame_equal(plans_over_time(run), expected)
        assert json.loads((run / "artefact.json").read_text())["info"]["trained_parameters"] == sizes
        for ours, theirs in zip(plan_of(run), plan_of(origin), strict=True):
            assert sorted(map(len, ours)) == sorted(map(len, theirs))


def test_adaptershare_starts_from_a_plan_and_only_refines_it(share: Share, workspace: Path) -> None:
    origin = folder(workspace, "adaptershare")
    good(*share(workspace, *SPLITTING, "--init-plan", origin.name))
    run = next(path for path in (workspace / "train-share").glob("adaptershare-*") if path != origin)
    first = pd.read_parquet(run / "sharing.parquet").query("step == 0")
    start = first.groupby(["layer", "group"])["task"].agg(frozenset).groupby("layer").agg(set).tolist()
    assert start == plan_of(origin)
    for groups, before in zip(plan_of(run), plan_of(origin), strict=True):
        assert all(any(group <= larger for larger in before) for group in groups)


def test_each_seed_takes_the_run_of_its_own_seed(share: Share, workspace: Path) -> None:
    good(*share(workspace, *SPLITTING, "--seeds", "0,1"))
    good(*share(workspace, "--method", "given-plan", "--init-plan", "adaptershare", "--seeds", "0,1"))
    found = {}
    for run in (workspace / "train-share").iterdir():
        if run.is_dir() and not run.name.startswith("."):
            info = json.loads((run / "artefact.json").read_text())["info"]
            found[info["method"], info["seed"]] = plan_of(run)
    for seed in (0, 1):
        assert found["given-plan", seed] == found["adaptershare", seed]
    refused(
        *share(workspace, "--method", "given-plan", "--init-plan", "adaptershare", "--seed", "7"),
        says=("must name one run for seed 7", "(seed 0)", "(seed 1)"),
    )


def test_it_is_the_content_of_the_run_that_counts(share: Share, workspace: Path) -> None:
    good(*share(workspace, "--method", "given-plan", "--init-plan", "adaptershare"))
    full = folder(workspace, "adaptershare").name
    assert "Nothing to do" in good(*share(workspace, "--method", "given-plan", "--init-plan", full)).stdout


def test_plans_that_cannot_be_taken(share: Share, workspace: Path) -> None:
    for method in ("given-plan", "random-plan"):
        refused(*share(workspace, "--method", method), says=(f"--method {method} needs --init-plan",))
        refused(*share(workspace, "--method", method, "--init-plan", "nothing"), says=("No run matches 'nothing'",))
    refused(
        *share(workspace, "--method", "given-plan", "--init-plan", "adaptershare", tasks="first,second"),
        says=("has the tasks first, second", "adaptershare-", ", ".join(TASKS)),
    )
    refused(*share(workspace, "--method", "shared", "--init-plan", "adaptershare"), says=("does not know --init-plan",))


def test_the_plan_is_printed_each_time_it_changes(share: Share, trained: Path, tmp_path: Path) -> None:
    result = good(*share(tmp_path / "w", *SPLITTING))
    changes = sorted(pd.read_parquet(folder(trained, "adaptershare") / "sharing.parquet")["step"].unique())[1:]
    assert changes
    for step in changes:
        assert f"Sharing plan, step {step} " in result.stdout
    assert result.stdout.count("Sharing plan, step") == len(changes)
    assert "* 1" in result.stdout or "* 0" in result.stdout


def test_shuffled_labels_change_what_is_observed_and_not_what_is_trained(share: Share, tmp_path: Path) -> None:
    for more in ((), ("--shuffle-heldout-labels",)):
        good(*share(tmp_path / "w", "--method", "shared", "--check-every", "5", *more))
    runs = sorted((tmp_path / "w" / "train-share").glob("shared-*"))
    one, other = (pd.read_parquet(run / "interference.parquet")["cosine"] for run in runs)
    assert not one.equals(other)
    steps = [pd.read_parquet(run / "steps.parquet") for run in runs]
    pd.testing.assert_frame_equal(*steps)


def test_significance_records_p_values(share: Share, tmp_path: Path) -> None:
    options = ("--rule", "significance", "--max-interference", "-0.9", "--check-every", "2")
    good(*share(tmp_path / "w", *options))
    table = pd.read_parquet(folder(tmp_path / "w", "adaptershare") / "interference.parquet")
    together = table[table["shared"]]
    assert together["p_value"].dropna().between(0, 1).all()  # null where a task shows no direction, as most here
    assert table[~table["shared"]]["p_value"].isna().all()
    assert (table["cosine_error"] > 0).all()
    directed = table["dot"] / table["norm_b"] ** 2
    pd.testing.assert_series_equal(table["directed_ab"], directed, check_names=False)
    pd.testing.assert_series_equal(table["directed_ba"], table["dot"] / table["norm_a"] ** 2, check_names=False)
    refused(*share(tmp_path / "w", "--rule", "significance", "--guard", "none"), says=("--guard belongs to",))


def test_target_parameters_bound_the_run(share: Share, workspace: Path) -> None:
    info = json.loads((folder(workspace, "adaptershare") / "artefact.json").read_text())["info"]
    limit = info["trained_parameters"] - 1
    good(*share(workspace, *SPLITTING, "--target-parameters", limit))
    sizes = [
        json.loads((run / "artefact.json").read_text())["info"]["trained_parameters"]
        for run in (workspace / "train-share").glob("adaptershare-*")
    ]
    assert min(sizes) <= limit < max(sizes)


@pytest.fixture
def settings_seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a train-share would have run with."""
    seen: dict[str, Any] = {}

    def fake(context: Any, definitions: Any, method: str, options: dict, seeds: list[int]) -> list:
        seen.update(context=context, options=options, tasks=len(definitions))
        return []

    monkeypatch.setattr("adaptershare_cli.commands.train_share.train_share", fake)
    return seen


def test_preset_paper_sets_the_published_values_and_options_win(
    settings_seen: dict[str, Any], project: Path, tmp_path: Path
) -> None:
    base = ("train-share", "-t", "first,second,score", "--task-dir", project / "tasks", "-w", tmp_path / "w")
    good(*base, "--preset", "paper", "--heldout-size", "30")
    context, options = settings_seen["context"], settings_seen["options"]
    assert options["check_every"] == 15 and options["max_growth"] == 3.0 and options["guard"] == "agreement"
    assert context.training.optim == "adamax" and context.training.learning_rate == 5e-5
    assert context.training.num_train_epochs == 10 and context.training.per_device_train_batch_size == 16
    assert context.prepro.heldout_size == 30
    good(*base, "--preset", "paper", "--method", "shared", "--check-every", "7")
    assert settings_seen["options"] == {"check_every": 7, "first_check": 1, "row_gradients": "raw"}
    refused(*base, "--preset", "papyrus", says=("papyrus",))


def test_preset_from_a_config_file(settings_seen: dict[str, Any], project: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    base = ("train-share", "-t", "first,second,score", "--task-dir", project / "tasks", "-w", tmp_path / "w")
    file.write_text('preset = "paper"\nlearning-rate = 0.5\n')
    good(*base, "--config", file)
    assert settings_seen["context"].training.learning_rate == 0.5
    assert settings_seen["context"].training.optim == "adamax"
    file.write_text('preset = "papyrus"\n')
    refused(*base, "--config", file, says=("preset", "paper"))


def test_the_same_command_again_names_the_same_run(share: Share, workspace: Path) -> None:
    command = share(workspace, *SPLITTING, "--init-plan", "adaptershare")
    good(*command)
    assert "Nothing to do" in good(*command).stdout


def test_a_plan_for_another_number_of_layers(share: Share, workspace: Path, encoder: Path, tmp_path: Path) -> None:
    other = tmp_path / "three-layers"
    model = AutoModel.from_pretrained(encoder)
    config = model.config
    config.num_hidden_layers = 3
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(other)
    for file in encoder.iterdir():
        if not (other / file.name).exists():
            shutil.copy(file, other / file.name)
    for method in ("adaptershare", "given-plan", "random-plan"):
        refused(
            *share(workspace, "--method", method, "--init-plan", "adaptershare", "--model", other),
            says=("has 2 layers, this encoder has 3", "--init-plan", "--model"),
        )


def test_a_random_plan_needs_as_many_updates(share: Share, workspace: Path) -> None:
    refused(
        *share(workspace, "--method", "random-plan", "--init-plan", "adaptershare", "--max-steps", "1"),
        says=("split at update", "only 1 updates"),
    )


def test_the_words_of_init_plan_leave_no_trace(share: Share, workspace: Path) -> None:
    origin = folder(workspace, "adaptershare")
    good(*share(workspace, "--method", "given-plan", "--init-plan", origin))
    text = (folder(workspace, "given-plan") / "artefact.json").read_text()
    assert str(workspace) not in text
    assert json.loads(text)["info"]["init_plan"] == f"train-share/{origin.name}"


def test_seeds_of_given_plans_are_one_row_of_the_report(share: Share, workspace: Path) -> None:
    good(*share(workspace, *SPLITTING, "--seeds", "0,1"))
    good(*share(workspace, "--method", "given-plan", "--init-plan", "adaptershare", "--seeds", "0,1"))
    good("report", "-w", workspace)
    lines = next((workspace / "report").rglob("report.md")).read_text().splitlines()
    assert len([line for line in lines if line.startswith("| given-plan")]) == 1


def test_a_run_that_kept_an_earlier_step_passes_on_the_plan_of_that_step(
    share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where scores only fall the first scored step is kept, and all splits come later."""
    scored = itertools.count(1)
    monkeypatch.setattr(loop, "score", lambda info, outputs, rows: dict.fromkeys(info.metrics, 1 / next(scored)))
    best = ("--load-best-model-at-end", "--eval-steps", "1")
    good(*share(tmp_path / "w", *SPLITTING, "--first-check", "6", *best))
    origin = folder(tmp_path / "w", "adaptershare")
    metrics = pd.read_parquet(origin / "metrics.parquet")
    assert set(metrics[metrics["final"]]["step"]) == {1}
    assert pd.read_parquet(origin / "sharing.parquet")["step"].max() >= 6
    assert all(len(groups) == 1 for groups in plan_of(origin))
    for method in ("given-plan", "random-plan"):
        good(*share(tmp_path / "w", "--method", method, "--init-plan", "adaptershare"))
        assert plan_of(folder(tmp_path / "w", method)) == plan_of(origin)


def test_a_missing_plan_is_noticed_before_anything_is_made(share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w", "--method", "given-plan"), says=("needs --init-plan",))
    refused(*share(tmp_path / "w", "--init-plan", "nope"), says=("No run matches",))
    assert not (tmp_path / "w" / "download").exists()
