"""From an empty workspace to the report: what is made, what is kept, and that the same inputs give the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from adaptershare_cli import schemas
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.store.artefact import ORIGIN, STAGES, TIMING, read_artefact, verify
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import (
    NOTHING,
    QUICK,
    ROWS,
    SPLITTING,
    TASKS,
    Share,
    add_task,
    call,
    good,
    hashed,
    kept,
    made,
    only,
    refused,
    snapshot,
    stages,
)

# ---- making, keeping, making again ----


def test_train_share_makes_what_it_needs(share: Share, tmp_path: Path) -> None:
    result = good(*share(tmp_path / "w"))
    assert stages(made(result.stdout)) == ["download", "prepro"] * 3 + ["train-share"]
    assert not kept(result.stdout) and NOTHING not in result.stdout
    for label in made(result.stdout):
        assert (tmp_path / "w" / label / "artefact.json").is_file()
    for task in TASKS:
        assert f"train {ROWS[task]}, dev 12" in result.stdout
        assert f"{task} dev" in result.stdout
    assert str(tmp_path / "w" / "train-share") in result.stdout
    assert not result.stderr


def test_second_call_does_nothing(share: Share, workspace: Path) -> None:
    for arguments in (
        share(workspace, *SPLITTING),
        ("correlate", "--plot", "-w", workspace),
        ("report", "-w", workspace),
    ):
        before = snapshot(workspace, times=True)
        result = good(*arguments)
        assert not made(result.stdout)
        assert arguments[0] in stages(kept(result.stdout))
        assert NOTHING in result.stdout
        assert snapshot(workspace, times=True) == before


@pytest.mark.parametrize("stage", ["download", "prepro", "train-share", "correlate", "report"])
def test_force_makes_this_stage_again_with_the_same_bytes(
    stage: str, share: Share, workspace: Path, project: Path, encoder: Path
) -> None:
    places = ("--task-dir", project / "tasks", "--from", project / "data", "-w", workspace, "-t", "first,second,score")
    arguments: tuple[Any, ...] = {
        "download": ("download", *places),
        "prepro": ("prepro", *places, "--model", encoder, "--max-seq-length", "64"),
        "train-share": share(workspace, *SPLITTING),
        "correlate": ("correlate", "--plot", "-w", workspace),
        "report": ("report", "-w", workspace),
    }[stage]
    before, times = snapshot(workspace), snapshot(workspace, times=True)
    result = good(*arguments, "--force")
    assert set(stages(made(result.stdout))) == {stage}
    after = snapshot(workspace, times=True)
    may_differ = (TIMING, ORIGIN)
    assert {n: v for n, v in snapshot(workspace).items() if not n.endswith(may_differ)} == {
        n: v for n, v in before.items() if not n.endswith(may_differ)
    }
    again = {name for name in after if after[name] != times[name]}
    assert again == {name for name in after if name.startswith(f"{stage}/")}


def test_same_inputs_same_bytes_in_another_workspace(
    share: Share, trained: Path, own_project: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another" / "workspace"
    good(*share(elsewhere, *SPLITTING, root=own_project))
    good("correlate", "--plot", "-w", elsewhere)
    names = hashed(elsewhere)
    assert sum(name.endswith(".parquet") for name in names) == 3 * 3 + 3 * 4 + 5 + 3
    assert sum(name.endswith(".safetensors") for name in names) == 2 * 3
    assert names == hashed(trained)


def test_hashed_files_name_no_place(trained: Path, project: Path, encoder: Path) -> None:
    """But for the page, which repeats the commands of the runs as they were given."""
    for path in trained.rglob("*"):
        if path.is_file() and path.name not in ("sources.json", ORIGIN, "report.html"):
            data = path.read_bytes()
            for place in (trained, project, encoder):
                assert str(place).encode() not in data, f"{path} names {place}"


def test_an_artefact_records_where_it_comes_from(trained: Path) -> None:
    meta = json.loads(only(trained, "train-share/*/artefact.json").read_text())
    prepared = {item["artefact"]: item["content"] for item in meta["inputs"]}
    assert sorted(prepared) == sorted(f"prepro/{path.name}" for path in (trained / "prepro").iterdir())
    for label, content in prepared.items():
        assert json.loads((trained / label / "artefact.json").read_text())["content"] == content
    assert meta["request"]["seed"] == 0 and meta["request"]["threads"] == 1
    assert set(meta["versions"]) >= {"python", "torch", "transformers", "adapters", "pyarrow"}
    space = Workspace(trained)
    for stage in STAGES:
        for artefact in space.artefacts(stage) if stage != "report" else [read_artefact(trained / "report")]:
            verify(artefact)


def test_adaptershare_splits_and_records_it(trained: Path) -> None:
    sharing = pd.read_parquet(only(trained, "train-share/*/sharing.parquet"))
    interference = pd.read_parquet(only(trained, "train-share/*/interference.parquet"))
    assert sharing[sharing.step == 0].group.nunique() == 1
    last = sharing[sharing.step == sharing.step.max()]
    assert last.step.iloc[0] > 0 and last.groupby("layer").group.nunique().min() > 1
    assert interference.step.tolist() == sorted([1, 3, 5, 7, 9] * 6)
    assert "split" in set(interference.decision)


# ---- settings side by side ----


def test_settings_live_side_by_side_and_defaults_do_not_count(share: Share, workspace: Path) -> None:
    def runs() -> set[str]:
        return {path.name for path in (workspace / "train-share").iterdir()}

    before, first = snapshot(workspace, times=True), runs()
    good(*share(workspace, *SPLITTING, "--weight-decay", "0.0", "--observe", "--seed", "0", "--heldout-size", "64"))
    assert runs() == first
    assert snapshot(workspace, times=True) == before
    good(*share(workspace, *SPLITTING, "--weight-decay", "0.1"))
    assert len(runs()) == 2
    good(*share(workspace, "--method", "shared", "--max-steps", "3"))
    good(*share(workspace, "--method", "private", "--max-steps", "3"))
    assert sorted(name.rsplit("-", 1)[0] for name in runs()) == ["adaptershare"] * 2 + ["private", "shared"]
    after = snapshot(workspace, times=True)
    assert {name: after[name] for name in before} == before


def test_prepro_settings_give_new_prepro_artefacts_only(share: Share, workspace: Path) -> None:
    result = good(*share(workspace, "--max-steps", "2", "--max-train-examples", "20"))
    assert stages(kept(result.stdout)) == ["download"] * 3
    assert stages(made(result.stdout)) == ["prepro"] * 3 + ["train-share"]
    assert len(list((workspace / "prepro").iterdir())) == 6


def test_seeds(share: Share, workspace: Path) -> None:
    result = good(*share(workspace, *SPLITTING, "--seeds", "0,1"))
    assert stages(made(result.stdout)) == ["train-share"]
    assert stages(kept(result.stdout)).count("train-share") == 1
    runs = Workspace(workspace).artefacts("train-share")
    assert sorted(run.info["seed"] for run in runs) == [0, 1]
    assert "seed 0" in result.stdout and "seed 1" in result.stdout
    predictions = [pd.read_parquet(run.path / "predictions.parquet") for run in runs]
    assert not predictions[0].equals(predictions[1])
    good("report", "-w", workspace)
    results = pd.read_parquet(workspace / "report" / "results.parquet")
    assert results.comparison.nunique() == 1 and results.key.nunique() == 1
    assert sorted(results.seed.unique()) == [0, 1]


def test_train_single(share: Share, workspace: Path) -> None:
    arguments = [part for part in share(workspace) if part != "train-share"]
    result = good("train-single", *arguments, "--seeds", "0,1")
    assert len(made(result.stdout)) == 6
    (header,) = [line for line in result.stdout.splitlines() if "task and split" in line]
    assert header.count("single seed") == 2  # a column a seed, whatever the number of tasks
    for task in TASKS:
        (one, two) = sorted(workspace.glob(f"train-single/{task}-*"))
        assert {path.name for path in one.iterdir()} >= {"artefact.json", "tasks", "steps.parquet", "metrics.parquet"}
        assert [path.name for path in (one / "tasks").iterdir()] == [task]
    good("report", "-w", workspace)
    text = (workspace / "report" / "report.md").read_text()
    assert "adaptershare" in text and "single" in text


# ---- correlate and report ----


def test_correlate_without_and_then_with_plot(workspace: Path) -> None:
    shutil.rmtree(workspace / "correlate")
    good("correlate", "-w", workspace)
    tables = {path.parent.name: path.read_bytes() for path in workspace.glob("correlate/*/correlation.parquet")}
    assert len(tables) == 3 and not list(workspace.glob("correlate/*/*.png"))
    result = good("correlate", "--plot", "-w", workspace)
    assert len(made(result.stdout)) == 3
    assert tables == {path.parent.name: path.read_bytes() for path in workspace.glob("correlate/*/correlation.parquet")}
    names = {path.name.split("-")[0] for path in workspace.glob("correlate/*/*.svg")}
    assert names == {"heatmap.svg", "sharing"}
    before = snapshot(workspace, times=True)
    assert NOTHING in good("correlate", "-w", workspace).stdout
    assert snapshot(workspace, times=True) == before


def test_pictures_are_drawn_as_they_are_asked_for(workspace: Path) -> None:
    """Fitted ones in place of the others and back; the table and what is made from it stay as they are."""
    (artefact,) = workspace.glob("correlate/plan-*")
    before = json.loads((artefact / "artefact.json").read_text())["content"]
    sharing = {path.name for path in artefact.glob("sharing-*.svg")}
    for option, name in (("--plot-fitted", "heatmap-fitted.svg"), ("--plot", "heatmap.svg")):
        for again in (False, True):
            said = good("correlate", "--measure", "plan", option, "-w", workspace).stdout
            assert (NOTHING in said) is again
            assert {path.name for path in artefact.glob("*.svg")} == {name, *sharing}
            assert json.loads((artefact / "artefact.json").read_text())["content"] == before
    assert NOTHING in good("correlate", "--measure", "plan", "-w", workspace).stdout


def test_correlate_starts_from_the_newest_run_and_from_chosen_ones(share: Share, workspace: Path) -> None:
    good(*share(workspace, "--method", "private", "--max-steps", "4", "--check-every", "1"))
    (private,) = [run for run in Workspace(workspace).artefacts("train-share") if run.name == "private"]
    newest = good("correlate", "-w", workspace).stdout
    assert f"taken {private.label}  (the newest of 2 joint runs; --run names others)" in newest
    assert "taken --measure gradient,gradient-directed,plan  (the default; --measure names others)" in newest
    assert "plan: 0.000 for every pair, as these runs never share an adapter: it tells no task from another" in newest
    assert "taken" not in good("correlate", "--run", "adaptershare", "--measure", "gradient", "-w", workspace).stdout
    for word in ("adaptershare", "adaptershare-*"):
        assert "from train-share/adaptershare-" in good("correlate", "--run", word, "-w", workspace).stdout
    for word in (private.path.name, private.key[:5], private.label, str(private.path), "train-share/priv*"):
        assert f"from {private.label}" in good("correlate", "--run", word, "-w", workspace).stdout
    both = good("correlate", "--run", "adaptershare,private", "--measure", "gradient", "-w", workspace)
    assert "adaptershare-" in both.stdout.splitlines()[0] and private.label in both.stdout.splitlines()[0]
    values = pd.read_parquet(sorted(workspace.glob("correlate/gradient-????????"))[0] / "correlation.parquet")
    assert set(values.source) == set(TASKS)


def test_correlate_measures_and_settings(workspace: Path) -> None:
    shutil.rmtree(workspace / "correlate")
    good("correlate", "--measure", "plan", "-w", workspace)
    assert [path.name.split("-")[0] for path in (workspace / "correlate").iterdir()] == ["plan"]
    good("correlate", "--measure", "gradient", "--permutations", "20", "--rows", "shared", "-w", workspace)
    good("correlate", "--measure", "gradient", "-w", workspace)
    assert len(list(workspace.glob("correlate/gradient-????????"))) == 2


def test_report(workspace: Path) -> None:
    results = pd.read_parquet(workspace / "report" / "results.parquet")
    metrics = pd.read_parquet(only(workspace, "train-share/*/metrics.parquet"))
    final = metrics[metrics.final & (metrics.split != "select")]
    assert results.value.tolist() == final.value.tolist() and results.task.tolist() == final.task.tolist()
    assert "adaptershare" in (workspace / "report" / "report.md").read_text()
    page = (workspace / "report" / "report.html").read_text()
    assert page.count('<img src="data:image/svg+xml;base64,') == 4 == len(list((workspace / "report").rglob("*.svg")))
    result = good("report", "--run", "adaptershare", "-w", workspace)
    assert NOTHING in result.stdout


def test_report_follows_new_runs(share: Share, workspace: Path) -> None:
    good(*share(workspace, "--method", "shared"))
    result = good("report", "-w", workspace)
    assert stages(made(result.stdout)) == ["report"]
    results = pd.read_parquet(workspace / "report" / "results.parquet")
    assert set(results.method) == {"adaptershare", "shared"}
    assert results.comparison.nunique() == 1
    assert [path.name for path in workspace.glob("*report*")] == ["report"]


# ---- schemas ----


def expected_schema(file: Path) -> pa.Schema:
    stage, name = (file.parent.name, "") if file.parent.name == "report" else (file.parents[1].name, file.parent.name)
    kind = "regression" if name.startswith("score-") else "classification"
    if stage == "download":
        return schemas.REJECTED if file.stem == "rejected" else KINDS[kind].downloaded_schema()
    if stage == "prepro":
        return KINDS[kind].prepared_schema()
    return getattr(schemas, file.stem.upper())


def test_every_parquet_file_has_its_schema_and_opens_with_pandas(trained: Path) -> None:
    files = sorted(trained.rglob("*.parquet"))
    assert len(files) == 3 * 3 + 3 * 4 + 5 + 3 + 1
    for file in files:
        expected = expected_schema(file)
        assert pq.read_schema(file).equals(expected), file
        frame = pd.read_parquet(file)
        assert frame.columns.tolist() == expected.names
        assert len(frame) or file.stem == "rejected", file


# ---- where tasks come from ----


def test_the_workspace_remembers_from(own_project: Path, encoder: Path, tmp_path: Path) -> None:
    common = ("-t", "first", "--task-dir", own_project / "tasks", "-w", tmp_path / "w")
    good("download", *common, "--from", own_project / "data")
    again = good("download", *common).stdout
    assert NOTHING in again and f"taken data from {own_project / 'data'}  (remembered from an earlier --from" in again
    shutil.move(own_project / "data", own_project / "gone")
    assert NOTHING in good("download", *common).stdout
    result = good("prepro", *common, "--model", encoder, "--max-seq-length", "64")
    assert stages(kept(result.stdout)) == ["download"] and stages(made(result.stdout)) == ["prepro"]
    label = f"download/{only(tmp_path, 'w/download/*').name}"
    assert json.loads(good("download", *common, "--json").stdout)["kept"] == [label]
    refused("download", *common, "--force", says=(str(own_project / "data"), "not a folder", "--from"))
    refused("download", *common[2:], "-t", "second", says=("second", "--from"))
    assert [path.name for path in (tmp_path / "w" / "download").iterdir()] == [label.split("/")[1]]


def test_a_changed_file_makes_a_new_artefact(own_project: Path, encoder: Path, tmp_path: Path) -> None:
    places = ("--task-dir", own_project / "tasks", "--from", own_project / "data", "-w", tmp_path / "w")
    common = ("prepro", "-t", "first,second", *places, "--model", encoder, "--max-seq-length", "64")
    good(*common)
    before = snapshot(tmp_path / "w", times=True)
    with (own_project / "data" / "set" / "first-train.csv").open("a") as file:
        file.write("a fine film,good\n")
    result = good(*common)
    assert [label.rsplit("-", 1)[0] for label in made(result.stdout)] == ["download/first", "prepro/first"]
    after = snapshot(tmp_path / "w", times=True)
    assert {name: after[name] for name in before} == before
    (own_project / "data" / "set" / "first-train.csv").touch()
    assert NOTHING in good(*common).stdout


def test_the_same_rows_from_another_place_are_the_same_task(own_project: Path, share: Share, workspace: Path) -> None:
    before = snapshot(workspace)
    result = good(*share(workspace, *SPLITTING, root=own_project))
    assert NOTHING in result.stdout
    del before["sources.json"]  # remembers the newer place
    after = snapshot(workspace)
    assert {name: after[name] for name in before} == before
    assert json.loads((workspace / "sources.json").read_text())["first"] == str(own_project / "data")


def test_names_with_hyphens_and_names_within_names(encoder: Path, tmp_path: Path) -> None:
    for name, labels in (("rte-x", ("no", "yes")), ("rte-x-2", ("no", "yes")), ("rte", ())):
        add_task(tmp_path, name, labels)
    places = ("--task-dir", tmp_path / "tasks", "--from", tmp_path / "data", "--model", encoder, "-w", tmp_path / "w")
    names = ["rte-x", "rte-x-2", "rte"]
    # The built-in glue suite has a task `rte` too: a user's definition may not hide it.
    refused("train-share", "-t", ",".join(names), *places, *QUICK, says=("rte", "Rename"))
    (tmp_path / "tasks" / "rte.yaml").rename(tmp_path / "tasks" / "rte_x.yaml")
    names[2] = "rte_x"
    good("train-share", "-t", ",".join(names), *places, *QUICK, *SPLITTING)
    run = only(tmp_path, "w/train-share/*/artefact.json").parent
    assert sorted(path.name for path in (run / "tasks").iterdir()) == sorted(names)
    good("train-single", "-t", "rte-x*", *places, *QUICK)
    found = good("correlate", "-w", tmp_path / "w").stdout
    assert f"taken train-share/{run.name}  (the only joint run; --run names others)" in found
    good("report", "-w", tmp_path / "w", "--run", "rte-x")
    results = pd.read_parquet(tmp_path / "w" / "report" / "results.parquet")
    assert set(results.task) == {"rte-x"}


# ---- JSON ----


def test_json_summary(share: Share, workspace: Path) -> None:
    result = good(*share(workspace, *SPLITTING, "--seeds", "0,1", "--json"))
    lines = result.stdout.splitlines()
    assert len(lines) == 1
    summary = json.loads(lines[0])
    assert summary["command"] == "train-share"
    assert stages(summary["made"]) == ["train-share"] and stages(summary["kept"]).count("train-share") == 1
    for artefact in summary["artefacts"]:
        assert {"name", "run", "stage", "path", "key", "files", "scores", "info"} <= {*artefact}
        assert (Path(artefact["path"]) / "artefact.json").is_file()
        assert artefact["info"]["tasks"] == list(TASKS)
    assert "made " in result.stderr and "seed 1" in result.stderr
    for command in (("correlate", "--plot"), ("report",)):
        text = good(*command, "-w", workspace, "--json").stdout
        assert json.loads(text)["command"] == command[0] and text.count("\n") == 1


def test_json_and_an_error(tmp_path: Path) -> None:
    result = call("correlate", "-w", tmp_path, "--json")
    assert result.exit_code == json.loads(result.stdout)["exit_code"] == 2
    assert "error:" in result.stderr


def test_other_metrics_of_a_definition_are_those_of_its_runs(project: Path, share: Share, tmp_path: Path) -> None:
    """They are no part of a run's key: the run is made again, and scored by them."""
    root = Path(shutil.copytree(project, tmp_path / "project"))
    command = share(tmp_path / "w", "--method", "shared", "--max-steps", "3", root=root)
    good(*command)
    file = root / "tasks" / "second.yaml"
    definition = yaml.safe_load(file.read_text())
    assert definition["metrics"] == ["accuracy"]
    file.write_text(yaml.safe_dump({**definition, "metrics": ["macro_f1", "accuracy"]}))
    assert [label for label in made(good(*command).stdout) if label.startswith("train-share/")]
    rows = pq.read_table(only(tmp_path / "w", "train-share/*/metrics.parquet")).to_pylist()
    of_task = {(row["metric"], row["main"]) for row in rows if row["task"] == "second"}
    assert of_task == {("macro_f1", True), ("accuracy", False)}
    # The constant prediction is scored by the same metric, though the same rows were prepared for the other one too.
    again = json.loads(good(*command, "--json").stdout)
    fresh = json.loads(
        good(*share(tmp_path / "new", "--method", "shared", "--max-steps", "3", root=root), "--json").stdout
    )
    constants = [
        {row["task"]: row["constant"] for row in said["artefacts"][0]["scores"] if row["main"]}
        for said in (again, fresh)
    ]
    assert not again["made"] and constants[0] == constants[1] and constants[0]["second"] is not None
