"""`correlate --select`: trials are kept and go on, what is chosen follows from them, and train-share takes it up."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from adaptershare_cli import schemas
from adaptershare_cli.runs import training as runs_module
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.store.workspace import Artefact, Workspace
from tests.cli.conftest import QUICK, Share, add_task, call, found, good, hashed, made, only, refused, snapshot

TASKS = ("first", "second", "score", "fourth")
TRIAL = ("--select", "trial", "--target", "first")


def select(workspace: Path, encoder: Path, *more: Any, measure: str = "gradient") -> tuple[Any, ...]:
    """The arguments of `correlate --select`; an encoder is named where one is needed."""
    places = ("-w", workspace, "--run", "shared", *(("--model", encoder) if encoder else ()))
    return ("correlate", *places, "--measure", measure, *more)


@pytest.fixture(scope="module")
def selected(project: Path, share: Share, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two seeds of `shared` on four tasks and a trial for one; tests read it only."""
    root = Path(shutil.copytree(project, tmp_path_factory.mktemp("four") / "project"))
    add_task(root, "fourth", ("no", "yes"), 55)
    workspace = root.parent / "workspace"
    arguments = share(workspace, "--method", "shared", "--check-every", "3", "--seeds", "0,1", root=root)
    good(*arguments, "--tasks", ",".join(TASKS))
    good(*select(workspace, encoder, *TRIAL, "--target-steps", "3"))
    return workspace


@pytest.fixture
def own_selected(selected: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(selected, tmp_path / "workspace"))


def steps(artefact: Artefact) -> pd.DataFrame:
    """The rows of a selection."""
    assert pq.read_schema(artefact.path / "selection.parquet").equals(schemas.SELECTION)
    return artefact.table("selection.parquet").to_pandas()


def trained(workspace: Path, target: str, tasks: set[str]) -> dict[int, Artefact]:
    """The trials for a target on these tasks, by seed."""
    runs = [run for run in Workspace(workspace).artefacts("truth") if run.name == f"trial-{target}"]
    return {run.info["seed"]: run for run in runs if set(run.info["tasks"]) == tasks}


SHARED = ("--method", "shared", "--no-observe")


def run_on_it(workspace: Path, encoder: Path, *more: Any, method: tuple[str, ...] = SHARED) -> tuple[Any, ...]:
    """The arguments of `train-share --selection`."""
    quick = [word for word in QUICK if word not in ("--max-seq-length", "64")]
    return ("train-share", "-w", workspace, "--model", encoder, *quick, *method, *more)


def test_a_trial_follows_the_measure_and_its_trainings(selected: Path) -> None:
    artefact = found(selected, "trial-first")
    frame = steps(artefact)
    by = next(a for a in Workspace(selected).artefacts("correlate") if a.name == "gradient")
    measure = by.table("correlation.parquet").to_pandas().query("layer == -1 and target == 'first' and seed.isna()")
    order = measure.sort_values("value", ascending=False)["source"].tolist()
    trial = frame[frame["procedure"] == "trial"]
    assert [list(sets) for sets in trial["auxiliaries"]] == [order[:size] for size in range(len(trial))]
    for row in frame.itertuples():
        runs = trained(selected, "first", {"first", *row.auxiliaries})
        assert sorted(runs) == artefact.info["seeds"] == [0, 1]
        curves, scored = [], []
        for seed in (0, 1):
            metrics = runs[seed].table("metrics.parquet").to_pandas().query("main")
            curve = metrics[(metrics["split"] == "select") & ~metrics["final"]].sort_values("step")["value"]
            curves.append(curve.fillna(0.0).to_numpy())
            scored.append(metrics[metrics["split"] == "dev"]["value"].fillna(0.0).item())
        assert len(curves[0]) == 3 and row.score == pytest.approx(np.mean(curves, axis=0).max())
        assert row.last == pytest.approx(np.mean(curves, axis=0)[-1])
        assert list(row.scored) == pytest.approx(scored)
    scores = trial["score"].tolist()
    assert all(later >= earlier for earlier, later in zip(scores, scores[1:-1], strict=False))
    assert len(trial) == len(order) + 1 or scores[-1] < scores[-2]
    (chosen,) = np.flatnonzero(trial["chosen"])
    assert chosen == int(np.argmax(scores)) and not frame[frame["procedure"] != "trial"]["chosen"].any()
    assert artefact.info["auxiliaries"] == order[:chosen]
    baselines = frame[frame["procedure"] != "trial"].set_index("procedure")["auxiliaries"]
    assert {name: len(sets) for name, sets in baselines.items()} == {"none": 0, "all": 3, "random": chosen}


def test_trials_score_their_target_alone_and_keep_scores_alone(selected: Path) -> None:
    trials = [run for run in Workspace(selected).artefacts("truth") if run.name == "trial-first"]
    assert len({tuple(run.info["tasks"]) for run in trials}) * 2 == len(trials)  # equal sets are trained once
    labels = {item["artefact"] for item in found(selected, "trial-first").meta["inputs"]}
    assert labels == {run.label for run in trials} | {
        only(selected, "correlate/gradient-????????").relative_to(selected).as_posix()
    }
    for run in trials:
        assert {path.name for path in run.path.iterdir()} == {
            "artefact.json", "metrics.parquet", "origin.json", "timing.json",
        }  # fmt: skip
        metrics = run.table("metrics.parquet").to_pandas()
        assert set(metrics["task"]) == {"first"} and set(metrics["split"]) == {"select", "dev"}
        assert set(run.info["examples"].values()) == {3 * 8}


def test_nothing_is_made_twice(own_selected: Path, encoder: Path) -> None:
    before = snapshot(own_selected, times=True)
    text = good(*select(own_selected, encoder, *TRIAL, "--target-steps", "3")).stdout
    assert "Nothing to do" in text and "trial (strict)" in text
    assert snapshot(own_selected, times=True) == before
    states = json.loads(good("status", "-w", own_selected, "--json").stdout)["artefacts"]
    assert {row["state"] for row in states} == {"whole"}
    # Of the four sets that a trial may try, those after a fall were not; the random set is not known before. Two seeds.
    tried = steps(found(own_selected, "trial-first"))["auxiliaries"].map(len).nunique()
    text = good(*select(own_selected, encoder, *TRIAL, "--target-steps", "3", "--force")).stdout
    assert f"trial for first: at most {2 * (4 - tried + 1)} of 10 trainings to make" in text
    after = snapshot(own_selected, times=True)
    changed = {name.split("-")[0] for name in before if before[name] != after[name]}
    assert changed == {"correlate/gradient", "correlate/trial"}
    assert {n: v[0] for n, v in before.items()} | {n: v[0] for n, v in after.items() if n.endswith("origin.json")} == {
        n: v[0] for n, v in after.items()
    }


def test_an_interrupted_trial_goes_on(own_selected: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hashed(own_selected)
    shutil.rmtree(own_selected / "truth")
    shutil.rmtree(only(own_selected, "correlate/trial-*"))
    save, saved = CheckpointStore.save, []

    def send(self: CheckpointStore, checkpoint: Any) -> None:
        save(self, checkpoint)
        saved.append(checkpoint.step)
        if len(saved) == 8:
            signal.raise_signal(signal.SIGINT)

    arguments = select(own_selected, encoder, *TRIAL, "--target-steps", "3", "--checkpoint-steps", "1")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", send)
        result = call(*arguments)
    assert result.exit_code == 130 and "Run the same command again" in result.stderr
    assert len(list(own_selected.glob("truth/trial-*"))) == 2 and len(list(own_selected.glob("checkpoints/*"))) == 1
    text = good(*arguments).stdout
    assert "trial for first: at most 8 of 10 trainings to make: " in text and "goes on after update" in text
    assert hashed(own_selected) == whole


def test_the_released_stop_rule_never_tries_the_target_alone(own_selected: Path, encoder: Path) -> None:
    words = (*TRIAL, "--target-steps", "3", "--stop-rule", "paper-code", "--no-baselines")
    good(*select(own_selected, encoder, *words))
    (artefact,) = [a for a in Workspace(own_selected).artefacts("correlate") if a.info.get("rule") == "paper-code"]
    frame = steps(artefact)
    assert set(frame["procedure"]) == {"trial"} and len(frame["auxiliaries"].iloc[0]) == 1
    assert len(artefact.info["auxiliaries"]) >= 1


def test_threshold_needs_no_training(own_selected: Path, encoder: Path) -> None:
    before = set(own_selected.glob("truth/*"))
    words = ("--select", "threshold", "--threshold", "-1", "--target", "first,second", "--no-baselines")
    text = good(*select(own_selected, None, *words)).stdout
    assert "To train on it: adaptershare train-share --selection threshold-second-" in text
    for target in ("first", "second"):
        artefact = found(own_selected, f"threshold-{target}")
        (row,) = steps(artefact).itertuples()
        assert set(row.auxiliaries) == set(TASKS) - {target} and row.chosen and np.isnan(row.score)
        assert row.scored is None and artefact.info["cost"]["training"]["passes"] == 0
    assert set(own_selected.glob("truth/*")) == before
    nothing = ("--select", "threshold", "--threshold", "2", "--target", "score", "--no-baselines")
    assert "To train on it" not in good(*select(own_selected, None, *nothing)).stdout
    refused(*run_on_it(own_selected, encoder, "--selection", "threshold", "--target", "score"),
            says=("selected nothing: score does best alone", "train-single --tasks score"))  # fmt: skip


def test_train_share_on_a_selection(own_selected: Path, encoder: Path) -> None:
    words = ("--select", "threshold", "--threshold", "-1", "--target", "second", "--no-baselines")
    good(*select(own_selected, None, *words))
    artefact = found(own_selected, "threshold-second")
    text = good(*run_on_it(own_selected, encoder, "--selection", "threshold", "--seeds", "0,1")).stdout
    runs = [run for run in Workspace(own_selected).artefacts("train-share") if "selection" in run.meta["request"]]
    assert len(runs) == 2 and "kept  prepro" not in text
    for run in runs:
        assert run.info["tasks"] == ["second", *artefact.info["auxiliaries"]]
        assert run.meta["request"]["selection"] == artefact.content
        assert {"artefact": artefact.label, "content": artefact.content} in run.meta["inputs"]
        assert run.info["selection"] == artefact.label and run.info["prepro"].items() <= artefact.info["prepro"].items()
    again = run_on_it(own_selected, encoder, "--selection", artefact.key[:6], "--target", "second", "--seeds", "0,1")
    assert "Nothing to do" in good(*again).stdout
    good("report", "-w", own_selected)
    results = pd.read_parquet(own_selected / "report" / "results.parquet")
    assert results[results["key"].str.contains(f"selection={artefact.path.name}")]["task"].nunique() == 4


def test_fine_grained_keeps_rows_and_trains_on_them(
    own_selected: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--select", "fg", "--threshold", "-1", "--row-share", "0.25", "--target", "first", "--target-steps", "3")
    text = good(*select(own_selected, encoder, *words)).stdout
    assert re.search(r"fg for first: at most \d of 10 trainings to make", text)  # those of the trial are there
    artefact = found(own_selected, "fg-first")
    frame = steps(artefact)
    rows = frame[frame["procedure"] == "fg"].set_index("task")
    instances = pd.read_parquet(only(own_selected, "correlate/gradts-instance-*/instances.parquet"))
    taus = instances[instances["target"] == "first"].groupby(["source", "row"])["tau"].mean()
    kept = {}
    for task in ("second", "score", "fourth"):
        own = taus[task].dropna()
        kept[task] = set(own[own >= rows.loc[task, "threshold"]].index)
        assert set(rows.loc[task, "rows"]) == kept[task] and len(kept[task]) >= rows.loc[task, "available"] // 4 > 0
        assert rows.loc[task, "available"] == len(taus[task]) > len(kept[task])
    trials = [run for run in Workspace(own_selected).artefacts("truth") if "keep" in run.meta["request"]]
    assert len(trials) == 2 * 2  # the chosen rows, and as many at random
    assert set(frame["procedure"]) == {"threshold", "fg", "random-rows", "none", "all", "random"}
    drawn = frame[frame["procedure"] == "random-rows"].set_index("task")
    for task in kept:
        assert len(drawn.loc[task, "rows"]) == len(kept[task]) and set(drawn.loc[task, "rows"]) <= set(taus[task].index)
        assert set(drawn.loc[task, "rows"]) != kept[task] and not drawn.loc[task, "chosen"]
    assert drawn["score"].notna().all() and drawn["threshold"].isna().all()

    read, seen = runs_module.read_parts, []

    def keep(*arguments: Any) -> Any:
        seen.append(read(*arguments))
        return seen[-1]

    monkeypatch.setattr(runs_module, "read_parts", keep)
    good(*run_on_it(own_selected, encoder, "--selection", "fg"))
    ((parts, _),) = seen
    assert {task: set(parts[task].train.row.tolist()) for task in kept} == kept
    assert len(parts["first"].train) == taus_rows(own_selected, "first") and len(parts["second"].select) > 0
    fusion = run_on_it(own_selected, encoder, "--selection", "fg", method=("--method", "adapterfusion"))
    refused(*fusion, says=("adapterfusion plans its trainings for all rows", "--method"))


def test_rows_of_one_selection_do_not_depend_on_the_runs_named_before(
    own_project: Path, share: Share, encoder: Path, tmp_path: Path
) -> None:
    """fg takes a value of every train row: of many rows for the first runs, of few for the second."""
    add_task(own_project, "first", ("bad", "good"), 1300)  # more train rows than `samples` has by default
    workspace, names = tmp_path / "w", []
    for rows in ("1300", "40"):
        run = share(workspace, "--method", "shared", "--max-train-examples", rows, root=own_project)
        names += [path.name for path in map(Path, made(good(*run).stdout)) if path.parent.name == "train-share"]
    many, few = names
    assert max(len(pd.read_parquet(file)) for file in workspace.glob("prepro/first-*/train.parquet")) > 1000
    words = ("--select", "fg", "--threshold", "-1", "--target", "second", "--no-baselines", "--target-steps", "1")
    words += ("--importance", "head-gate")
    good(*select(workspace, encoder, *words, "--run", f"{many},{few}", measure="gradts"))
    again = good(*select(workspace, encoder, *words, "--run", few, measure="gradts"))
    assert "Nothing to do" in again.stdout


def taus_rows(workspace: Path, task: str) -> int:
    """The train rows of a task."""
    return len(pd.read_parquet(only(workspace, f"prepro/{task}-*/train.parquet")))


def test_wrong_input_of_select(own_selected: Path, encoder: Path) -> None:
    before = snapshot(own_selected, times=True)

    def wrong(*more: Any, says: tuple[str, ...], measure: str = "gradient") -> None:
        refused(*select(own_selected, encoder, *more, measure=measure), says=says)

    wrong("--select", "trial", "--target", "frist", says=("'frist' is no task of the run", "--target", "first, second"))
    wrong("--select", "trial", says=("--select needs --target",))
    wrong("--select", "trials", "--target", "first", says=("--select", "threshold"))
    wrong("--target", "first", says=("--target belongs to --select",))
    wrong("--no-baselines", says=("--no-baselines belongs to --select",))
    wrong("--select", "threshold", "--target", "first", says=("needs --threshold",))
    wrong(*TRIAL, "--threshold", "0.5", says=("--threshold has no effect on --select trial",))
    wrong(*TRIAL, "--row-share", "0.5", says=("--row-share has no effect",))
    wrong("--select", "fg", "--target", "first", "--row-share", "0.5", "--row-threshold", "0.1", says=("exclude",))
    wrong("--select", "fg", "--target", "first", "--row-share", "1.5", says=("--row-share", "between"))
    wrong("--select", "fg", "--target", "first", "--threshold", "0", "--stop-rule", "paper-code", says=("--stop-rule",))
    wrong(*TRIAL, "--no-baselines", "--random-sets", "2", says=("--random-sets belongs to --baselines",))
    wrong(*TRIAL, measure="gradient,text", says=("goes by one measure", "gradient,text"))
    wrong(*TRIAL, measure="transfer", says=("selected by transfer", "scored splits"))
    wrong(*TRIAL, measure="popularity", says=("selected by popularity",))
    wrong(*TRIAL, measure="grad", says=("no measure 'grad'",))
    free = ("--select", "threshold", "--threshold", "0", "--target", "first", "--no-baselines")
    wrong(*free, says=("--model has no effect",))
    refused(*select(own_selected, None, *free, "--target-steps", "3"), says=("--target-steps", "gradts"))
    wrong(*TRIAL, "--target-steps", "0", says=("--target-steps", "at least 1"))
    assert snapshot(own_selected, times=True) == before


def test_wrong_input_of_selection(own_selected: Path, encoder: Path, encoders: dict[str, Path], tmp_path: Path) -> None:
    before = snapshot(own_selected, times=True)

    def wrong(*more: Any, says: tuple[str, ...]) -> None:
        refused(*run_on_it(own_selected, encoder, *more), says=says)

    trial = ("--selection", "trial")
    wrong("--selection", "trail", says=("No selection matches 'trail'", "trial-first-"))
    wrong(*trial, "--target", "second", says=("has no target 'second'", "Targets: first"))
    wrong("--target", "first", says=("--target belongs to --selection",))
    wrong(*trial, "--tasks", "first,second", says=("--tasks has no effect beside --selection",))
    wrong(*trial, "--from", tmp_path, says=("--from has no effect",))
    wrong(*trial, "--max-seq-length", "64", says=("--max-seq-length has no effect",))
    wrong(*trial, "--model", encoders["roberta"], says=("selected for another encoder (bert)", "--model"))
    assert snapshot(own_selected, times=True) == before
    refused("train-share", "--selection", "trial", "-w", tmp_path / "w", says=("no selection in the workspace yet",))
