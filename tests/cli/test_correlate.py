"""Measures from the command line: per seed and in the mean, trainings made and kept, truth that goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from adaptershare_cli import schemas
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.measures.base import cost_share
from adaptershare_cli.measures.needs import RunTable
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import TASKS, Share, call, good, hashed, only, refused, snapshot

SHARED = ("--method", "shared", "--lookahead-every", "4", "--check-every", "3", "--seeds", "0,1")
PAIRS = [(s, t) for s in TASKS for t in TASKS if s != t]
# Three updates a task: enough to tell trainings apart, and each takes a tenth of a second.
STEPS = ("--target-steps", "3")
# All but those of runs of other methods (tests/cli/test_fusion.py, test_hyperformer.py, test_sparse_sharing.py).
OF_OTHER_METHODS = [RunTable(name) for name in ("attention", "embeddings", "masks")]
ALL = [name for name, spec in MEASURES.items() if spec.needs not in OF_OTHER_METHODS]


@pytest.fixture(scope="module")
def related(share: Share, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two seeds of `shared` and every measure over them; tests read it only."""
    workspace = tmp_path_factory.mktemp("related") / "workspace"
    good(*share(workspace, *SHARED))
    good(*measure(workspace, encoder, ",".join(ALL), *STEPS))
    return workspace


@pytest.fixture
def own_related(related: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(related, tmp_path / "workspace"))


def measure(workspace: Path, encoder: Path, names: str, *more: Any, run: str = "shared") -> tuple[Any, ...]:
    """The arguments of `correlate`."""
    computes = any(MEASURES[name].needs.runs_encoder for name in names.split(","))
    places = ("--run", run, *(("--model", encoder) if computes else ()))
    return ("correlate", "--measure", names, *places, "-w", workspace, *more)


def table(workspace: Path, name: str) -> pd.DataFrame:
    """The rows over all layers of the one correlation of a measure."""
    (found,) = [a for a in Workspace(workspace).artefacts("correlate") if a.name == name]
    frame = found.table("correlation.parquet").to_pandas()
    return frame[frame["layer"] == schemas.ALL_LAYERS]


def info(workspace: Path, name: str) -> dict[str, Any]:
    (found,) = [a for a in Workspace(workspace).artefacts("correlate") if a.name == name]
    return found.info


def score(run: Path, task: str) -> float:
    """The main metric on dev."""
    rows = pd.read_parquet(run / "metrics.parquet").query("final and main and split == 'dev' and task == @task")
    return float(rows["value"].fillna(0.0).item())


def test_every_measure_keeps_seeds_and_their_mean(related: Path) -> None:
    for name in ALL:
        spec, frame, recorded = MEASURES[name], table(related, name), info(related, name)
        answer = frame[frame["seed"].isna()].set_index(["source", "target"])["value"]
        assert sorted(answer.index) == sorted(PAIRS) and recorded["directed"] == spec.directed
        if not spec.directed:
            assert all(answer[s, t] == answer[t, s] for s, t in PAIRS)
        assert frame["value"].dropna().between(*spec.range).all()
        if name in ("text", "size", "few-labels", "text-pairs"):
            assert frame["seed"].isna().all() and recorded["seeds"] == []
        else:
            assert recorded["seeds"] == [0, 1]
            seeds = frame[frame["seed"].notna()].groupby(["source", "target"])["value"]
            assert (seeds.count() == 2).all()
            assert answer.to_dict() == pytest.approx(seeds.mean().to_dict(), nan_ok=True)
    for file in related.rglob("correlation.parquet"):
        assert pq.read_schema(file).equals(schemas.CORRELATION)
    instances = pd.read_parquet(only(related, "correlate/gradts-instance-*/instances.parquet"))
    assert instances.columns.tolist() == schemas.INSTANCES.names
    counts = {
        path.name.split("-")[0]: len(pd.read_parquet(path / "train.parquet")) for path in related.glob("prepro/*")
    }
    rows = instances.groupby(["seed", "source", "target"])["row"].nunique()
    assert rows.to_dict() == {(seed, s, t): counts[s] for seed in (0, 1) for s, t in PAIRS}


def test_look_aheads_are_kept_with_the_run(related: Path) -> None:
    for file in related.glob("train-share/*/lookahead.parquet"):
        assert pq.read_schema(file).equals(schemas.LOOKAHEAD)
        frame = pd.read_parquet(file)
        assert sorted(frame["step"].unique()) == [4, 8] and len(frame) == 2 * 3 * 3 * 2
    frame = table(related, "lookahead")
    assert set(frame[frame["seed"] == 0]["checks"]) == {2} and set(frame[frame["seed"].isna()]["checks"]) == {4}


def test_truth_is_what_its_trainings_scored(related: Path) -> None:
    runs: dict[tuple[Any, ...], Path] = {}
    for stage in ("train-single", "truth"):
        for artefact in Workspace(related).artefacts(stage):
            runs[artefact.name, artefact.info["seed"]] = artefact.path
    assert len(runs) == 2 * (3 + 6 + 3)
    alone = {(t, seed): score(runs[t, seed], t) for t in TASKS for seed in (0, 1)}
    for name in ("transfer", "pair"):
        frame = table(related, name)
        for row in frame[frame["seed"].notna()].itertuples():
            ends = (row.source, row.target)
            if name == "pair":
                ends = tuple(sorted(ends, key=TASKS.index))
            found = score(runs["-".join((name, *ends)), int(row.seed)], row.target)
            assert row.value == pytest.approx(found - alone[row.target, row.seed], abs=1e-12)
    assert table(related, "transfer")["value"].nunique() > 2


def test_trainings_of_truth_keep_scores_alone_and_have_equal_target_steps(related: Path) -> None:
    for artefact in Workspace(related).artefacts("truth"):
        assert sorted(path.name for path in artefact.path.iterdir()) == [
            "artefact.json",
            "metrics.parquet",
            "origin.json",
            "timing.json",
        ]
        assert set(artefact.info["examples"].values()) == {3 * 8}
        assert set(artefact.table("metrics.parquet")["split"].to_pylist()) == {"dev"}
        names = artefact.name.split("-")
        assert artefact.info["tasks"] == (names[1:] if names[0] == "pair" else names[2:])
        if names[0] == "transfer":
            (start,) = [i for i in artefact.meta["inputs"] if i["artefact"].startswith("train-single/")]
            assert start["artefact"].startswith(f"train-single/{names[1]}-")
            assert artefact.meta["request"]["origin"] == [start["content"]]
            assert artefact.meta["request"]["start"] == {"task": names[1], "head": False}


def test_nothing_is_made_twice(own_related: Path, encoder: Path) -> None:
    before = snapshot(own_related, times=True)
    text = good(*measure(own_related, encoder, ",".join(ALL), *STEPS)).stdout
    assert "transfer: all 18 trainings are there" in text and "Nothing to do" in text
    assert snapshot(own_related, times=True) == before


def test_what_is_missing_is_estimated_made_and_counted(own_related: Path, encoder: Path) -> None:
    before = snapshot(own_related)
    for pattern in ("correlate/transfer-*", "truth/transfer-first-score-*", "truth/transfer-score-second-*"):
        for path in own_related.glob(pattern):
            shutil.rmtree(path)
    result = good(*measure(own_related, encoder, "transfer", *STEPS, "--json"))
    assert "transfer: 4 of 18 trainings to make: 12 updates on 96 rows, 48 rows scored; about" in result.stderr
    for number in (15, 16, 17, 18):
        assert f"training {number} of 18" in result.stderr
    summary = json.loads(result.stdout)
    assert sorted(label.split("-")[0] for label in summary["made"]) == ["correlate/transfer"] + ["truth/transfer"] * 4
    assert len(summary["kept"]) == 14
    drop = [name for name in before if name.endswith(("timing.json", "origin.json"))]
    after = snapshot(own_related)
    assert {n: v for n, v in after.items() if n not in drop} == {n: v for n, v in before.items() if n not in drop}


def test_an_interrupted_truth_goes_on(
    share: Share, encoder: Path, related: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    workspace = Path(shutil.copytree(related, tmp_path / "w", ignore=shutil.ignore_patterns("truth", "correlate")))
    save, saved = CheckpointStore.save, []

    def send(self: CheckpointStore, checkpoint: Any) -> None:
        save(self, checkpoint)
        saved.append(checkpoint.step)
        if len(saved) == 7:
            signal.raise_signal(signal.SIGINT)

    arguments = measure(workspace, encoder, "pair", *STEPS, "--checkpoint-steps", "1")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", send)
        result = call(*arguments)
    assert result.exit_code == 130 and "Run the same command again" in result.stderr
    assert len(list(workspace.glob("truth/pair-*"))) == 1 and len(list(workspace.glob("checkpoints/*"))) == 1
    result = good(*arguments)
    assert "pair: 5 of 12 trainings to make" in result.stdout and "goes on after update" in result.stdout
    ours, theirs = (
        {n: v for n, v in hashed(w).items() if n.startswith(("truth/pair", "correlate/pair"))}
        for w in (workspace, related)
    )
    assert ours == theirs


def test_same_inputs_same_bytes(share: Share, encoder: Path, own_project: Path, related: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "another" / "w"
    good(*share(workspace, *SHARED, root=own_project))
    names = [name for name in reversed(ALL) if name not in ("transfer", "popularity")]
    good(*measure(workspace, encoder, ",".join(names), *STEPS))
    ours, theirs = hashed(workspace), hashed(related)
    assert sum(name.startswith("correlate/") for name in ours) == len(names) * 2 + 1
    assert ours == {name: digest for name, digest in theirs.items() if name in ours}


def test_single_runs_are_those_of_train_single(share: Share, encoder: Path, own_related: Path) -> None:
    before = snapshot(own_related, times=True)
    words = list(share(own_related, "--max-steps", "3", "--seeds", "0,1"))[1:]
    assert "Nothing to do" in good("train-single", *words).stdout
    assert snapshot(own_related, times=True) == before


def test_force_measures_again_and_keeps_trainings(own_related: Path, encoder: Path) -> None:
    before, times = snapshot(own_related), snapshot(own_related, times=True)
    good(*measure(own_related, encoder, "fisher,transfer", *STEPS, "--force"))
    origins = [name for name in before if name.endswith("origin.json")]  # another command made some of it
    assert {**snapshot(own_related), **{name: before[name] for name in origins}} == before
    again = {name.split("-")[0] for name, value in snapshot(own_related, times=True).items() if value != times[name]}
    assert again == {"correlate/fisher", "correlate/transfer"}


def test_default_steps_are_the_runs_updates_by_task(share: Share, encoder: Path, tmp_path: Path) -> None:
    good(*share(tmp_path / "w", "--method", "shared", "--max-steps", "6"))
    text = good(*measure(tmp_path / "w", encoder, "adapter-weights", "--seeds", "7")).stdout
    assert "adapter-weights: 3 of 3 trainings to make: 6 updates on 48 rows" in text
    runs = Workspace(tmp_path / "w").artefacts("train-single")
    assert {(run.info["steps"], run.info["seed"]) for run in runs} == {(2, 7)}


def test_runs_of_other_settings_are_measured_apart(share: Share, own_related: Path, encoder: Path) -> None:
    good(*share(own_related, *SHARED, "--max-steps", "8"))
    shutil.rmtree(own_related / "correlate")
    result = good(*measure(own_related, encoder, "gradient,text", *()))
    names = sorted(path.name.rsplit("-", 1)[0] for path in own_related.glob("correlate/*"))
    assert names == ["gradient", "gradient", "text"]
    assert result.stdout.count("gradient: each task's nearest neighbour, mean of seeds 0, 1") == 2
    assert result.stdout.count("text: each") == 1


def test_two_runs_of_one_seed_are_not_pooled(share: Share, own_related: Path) -> None:
    plans = [path.name for path in own_related.glob("train-share/shared-*")]
    for plan in plans:
        good(*share(own_related, "--method", "given-plan", "--init-plan", plan, "--check-every", "3"))
    refused("correlate", "--run", "given-plan", "-w", own_related, says=("seed 0", "given-plan-", "--run"))


def test_options_without_effect_are_refused(own_related: Path, encoder: Path) -> None:
    places = ("correlate", "--run", "shared", "-w", own_related)
    refused(*places, "--seeds", "1,2", says=("--seeds", "gradient,gradient-directed,plan"))
    refused(*places, "--threads", "1", says=("--threads", "gradient,gradient-directed,plan"))
    refused(*places, "--model", encoder, says=("--model", "gradient,gradient-directed,plan"))
    refused(*places, "--measure", "text", "--precision", "bf16", says=("--precision", "text", "make trainings"))
    refused(*places, "--head-axis", "input", says=("--head-axis", "gradts"))
    refused(*places, "--measure", "pair,gradient", "--source-steps", "4", says=("--source-steps", "transfer"))
    refused(*places, "--measure", "gradts", "--importance", "head-gate", "--head-axis", "input", says=("--head-axis",))
    refused(*places, "--measure", "transfer", "--target-steps", "0", says=("--target-steps", "at least 1"))


def test_another_encoder_is_refused(own_related: Path, encoders: dict[str, Path]) -> None:
    before = snapshot(own_related)
    says = ("not the encoder", "bert", "--model")
    refused(*measure(own_related, encoders["roberta"], "text"), says=says)
    refused("correlate", "--measure", "text", "--run", "shared", "--model", "embedded", "-w", own_related, says=says)
    assert snapshot(own_related) == before


def test_what_a_run_did_not_record_is_named(share: Share, tmp_path: Path) -> None:
    good(*share(tmp_path / "w", "--method", "shared", "--max-steps", "3"))
    refused("correlate", "--measure", "lookahead", "-w", tmp_path / "w", says=("no look-aheads", "--lookahead-every"))
    text = refused(*share(tmp_path / "w", "--method", "private", "--lookahead-every", "2"), says=("--lookahead-every",))
    assert "shared" in text


def test_prepared_rows_that_are_gone(own_related: Path, encoder: Path) -> None:
    shutil.rmtree(only(own_related, "prepro/second-*"))
    shutil.rmtree(own_related / "correlate")
    refused(*measure(own_related, encoder, "size"), says=("second", "prepro", "train-share"))
    good("correlate", "--run", "shared", "-w", own_related)  # needs nothing but the runs


def test_costs(related: Path) -> None:
    counts = {path.name.split("-")[0]: json.loads((path / "artefact.json").read_text())["info"]["counts"]
              for path in related.glob("prepro/*")}  # fmt: skip
    heldout = sum(count["heldout_rows"] for count in counts.values())
    train, dev = (sum(count[f"{part}_rows"] for count in counts.values()) for part in ("train", "dev"))
    run, single = 2 * 10 * 8, 2 * 3 * 3 * 8  # rows that the two runs and the six single-task runs trained on

    def cost(name: str, part: str) -> tuple[int, int]:
        found = info(related, name)["cost"][part]
        assert found["passes"] == found["forward"] + found["backward"]
        return found["forward"], found["backward"]

    checks = 4 * 2  # of both seeds
    assert cost("gradient", "own") == (checks * heldout,) * 2 and cost("gradient", "training") == (run, run)
    assert cost("plan", "training") == (run + checks * heldout,) * 2 and cost("plan", "own") == (0, 0)
    assert cost("lookahead", "own") == (5 * heldout * 4, heldout * 4)
    assert cost("gradts", "own") == cost("fisher", "own") == (2 * train, 2 * train)
    assert cost("gradts", "training") == cost("adapter-weights", "training") == (single, single)
    assert cost("text", "own") == (train, 0) and cost("text", "training") == (0, 0)
    assert cost("transfer", "training") == (single * 3 + 2 * 3 * dev, single * 3)
    assert cost("pair", "training") == (single * 3 + 2 * 3 * dev, single * 3)
    assert cost("popularity", "training") == cost("transfer", "training")
    for name in ("transfer", "pair"):
        assert cost_share(info(related, name)["cost"], name) == pytest.approx(1)
    assert (
        cost_share(info(related, "text")["cost"], "pair")
        == train / info(related, "text")["cost"]["brute_force"]["pair"]["passes"]
    )
    brute = info(related, "gradts")["cost"]["brute_force"]["transfer"]
    assert 2 * brute["passes"] == sum(cost("transfer", "training"))


def test_truth_learns_from_no_row_that_any_task_is_scored_on(
    share: Share, encoder: Path, own_project: Path, tmp_path: Path
) -> None:
    """Although the task is trained without the one that is scored on it."""
    leak = (own_project / "data" / "set" / "second-dev.csv").read_text().splitlines()[1].rpartition(",")[0]
    with (own_project / "data" / "set" / "first-train.csv").open("a") as file:
        file.writelines(f"{leak} {more},good\n".replace(" ,", ",") for more in ("",))
    workspace = tmp_path / "w"
    good(*share(workspace, "--method", "shared", "--max-steps", "3", root=own_project))
    words = list(share(workspace, "--max-steps", "2", root=own_project, tasks="first"))[1:]
    good("train-single", *words)
    good(*measure(workspace, encoder, "transfer", "--target-steps", "2"))
    runs = [run for run in Workspace(workspace).artefacts("train-single") if run.name == "first"]
    assert sorted(run.info["leaked_rows"]["first"] for run in runs) == [0, 1]
    assert sorted("avoid" in run.meta["request"] for run in runs) == [False, True]
    starts = [run for run in Workspace(workspace).artefacts("truth") if run.name.startswith("transfer-first-")]
    (clean,) = [run for run in runs if run.info["leaked_rows"]["first"]]
    assert all(run.meta["request"]["origin"] == [clean.content] for run in starts) and len(starts) == 2


def test_pictures_come_with_plot_alone(own_related: Path, encoder: Path) -> None:
    assert not list(own_related.glob("correlate/*/*.png"))
    good(*measure(own_related, encoder, "popularity,transfer,text", *STEPS, "--plot"))
    assert sorted(path.parent.name.split("-")[0] for path in own_related.glob("correlate/*/heatmap.svg")) == [
        "popularity", "text", "transfer",
    ]  # fmt: skip


def test_the_report_knows_nothing_of_truth_trainings(own_related: Path) -> None:
    good("report", "-w", own_related)
    results = pd.read_parquet(own_related / "report" / "results.parquet")
    assert set(results["method"]) == {"shared", "single"}
