"""The program from Python does what the command line does: same artefacts, same answers, same refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

import adaptershare_cli
from adaptershare_cli import AdapterShareError, Data, Plan, RunError, UserError, Workspace, load_run, train_share
from adaptershare_cli.runs.results import main_scores
from adaptershare_cli.store.artefact import read_artefact
from tests.cli.conftest import NOTHING, SPLITTING, TASKS, Share, call, good, only, snapshot

HEAVY = ("torch", "transformers", "adapters", "datasets", "pandas", "numpy", "pyarrow", "typer", "rich")
LIGHT = ("torch", "transformers", "adapters", "evaluate", "sklearn", "matplotlib")
TEXTS = ["a good film", "the food was awful", "it"]


@pytest.fixture
def common(encoder: Path, project: Path) -> dict[str, Any]:
    """Options of a quick training."""
    return {
        "task_dir": project / "tasks", "from_": project / "data", "model": encoder, "max_steps": 10,
        "max_seq_length": 64, "per_device_train_batch_size": 8, "threads": 1, "precision": "fp32",
        "learning_rate": 0.01,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(trained: Path) -> adaptershare_cli.Run:
    return load_run(only(trained, "train-share/*"))


def rows_of(count: int = 40, seed: int = 0) -> pd.DataFrame:
    """Rows of a task of one's own."""
    draw = np.random.default_rng(seed)
    texts = [f"{draw.choice(['good', 'bad', 'stale'])} film {number}" for number in range(count)]
    return pd.DataFrame({"text": texts, "label": ["pos" if "good" in text else "neg" for text in texts]})


def test_names_are_had_at_once() -> None:
    """The package costs nothing, and what it names no torch."""
    script = f"""
import json, sys
import adaptershare_cli
first = sorted(set({HEAVY!r}) & set(sys.modules))
from adaptershare_cli import *
assert callable(load_run) and Workspace and Data
print(json.dumps([first, sorted(set({LIGHT!r}) & set(sys.modules))]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]
    assert {"Run", "Workspace", "UserError"} <= set(dir(adaptershare_cli))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        adaptershare_cli.Nothing  # noqa: B018
    assert (files(adaptershare_cli) / "py.typed").is_file()


# ---- a run ----


def test_what_a_run_is(run: adaptershare_cli.Run, trained: Path) -> None:
    path = only(trained, "train-share/*")
    artefact = read_artefact(path)
    assert artefact is not None
    assert (run.name, run.path, run.tasks, run.method, run.seed) == (path.name, path, TASKS, "adaptershare", 0)
    main = run.metrics[run.metrics["main"]].groupby("task", sort=False)["value"].mean().to_dict()
    assert main == pytest.approx(main_scores(artefact))
    assert run.plan is not None and set(run.plan.tasks) == {*TASKS}
    assert run.settings["max_steps"] == 10 and "adaptershare" in repr(run)
    frame = run.plan.to_frame()
    assert frame.shape == (2, 3) and str(run.plan).startswith("layers 0–")
    assert len(run.table("predictions")) == 36
    with pytest.raises(UserError, match="has no table 'x'"):
        run.table("x")
    for view in (run, run.plan, Workspace(trained)):
        assert "<table" in view._repr_html_()


def test_predictions_are_those_of_the_command(run: adaptershare_cli.Run, trained: Path, tmp_path: Path) -> None:
    before = snapshot(trained, times=True)
    frame = pd.DataFrame({"body": TEXTS, "n": [1, 2, 3]}, index=[5, 5, 9])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    words = ("--input", tmp_path / "rows.csv", "--column", "text=body", "-o", tmp_path / "out.parquet")
    good("predict", run.path, "-w", trained, "--threads", 1, *words)
    expected = pd.read_parquet(tmp_path / "out.parquet")
    found = run.predict("all", frame, columns={"text": "body"}, threads=1)
    assert found.index.tolist() == [5, 5, 9] and found["n"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True).drop(columns="n"), expected.drop(columns="n"), check_dtype=False
    )
    for rows in (TEXTS, tuple(TEXTS), [{"text": text} for text in TEXTS], pd.Series(TEXTS), iter(TEXTS),
                 datasets.Dataset.from_dict({"text": TEXTS})):  # fmt: skip
        own = run.predict("second", rows, threads=1)
        assert own["second.label"].tolist() == expected["second.label"].tolist()
        assert own.columns[0] == "text" and own["text"].tolist() == TEXTS
    assert run.predict(["first", "score"], "it", threads=1).shape[0] == 1
    assert run.predict("first", [], threads=1).empty
    odd = run.predict("first", pd.DataFrame({"a,b=c": TEXTS}), columns={"first.text": "a,b=c"}, threads=1)
    assert odd["first.label"].tolist() == expected["first.label"].tolist()
    assert len(run.predict("first", ["a", " "], threads=1, max_rejected=1)) == 1
    assert [name for name in run.predict("second", TEXTS, top_k=2, threads=1) if "label" in name] == [
        "second.label", "second.label.2",
    ]  # fmt: skip
    assert snapshot(trained, times=True) == before


@pytest.mark.parametrize(
    ("task", "rows", "options", "says"),
    [
        ("frist", ["a"], {}, "has no task 'frist'"),
        ("first", ["a", ""], {}, "row 2"),
        ("first", [1], {}, "Row 1 is no row"),
        ("first", [("a", "b")], {}, ""),
        ("first", {"text": "a"}, {}, "These are no rows"),
        ("first", 3, {}, "These are no rows"),
        ("first", [{"body": "a"}], {}, "There is no column `text`"),
        ("first", pd.DataFrame({1: ["a"]}), {}, "columns are not texts"),
        ("first", ["a"], {"top_k": 0}, "--top-k must be"),
        ("first", ["a"], {"device": "tpu"}, "auto, cpu or cuda"),
        ("score", ["a"], {"top_k": 1}, "--top-k has no effect"),
        ("first", ["a"], {"model": "/none"}, "/none"),
    ],
)
def test_what_cannot_be_predicted(
    run: adaptershare_cli.Run, task: str, rows: Any, options: dict[str, Any], says: str
) -> None:
    if not says:  # a second text is not read by a task of single ones
        assert len(run.predict(task, rows, **options)) == 1
        return
    with pytest.raises(UserError) as error:
        run.predict(task, rows, **options)
    assert says in str(error.value)


def test_correlations_are_found_again(run: adaptershare_cli.Run, trained: Path) -> None:
    before = snapshot(trained, times=True)
    found = run.correlation("gradient")
    assert snapshot(trained, times=True) == before
    table = pd.read_parquet(only(trained, "correlate/gradient-????????") / "correlation.parquet")
    answer = table[table["seed"].isna() & (table["layer"] == -1)]
    for _, row in answer.iterrows():
        value = found.matrix.loc[row["source"], row["target"]]
        assert value == pytest.approx(row["value"], nan_ok=True)
    assert [*found.matrix] == [*TASKS] and np.isnan(np.diag(found.matrix)).all()
    assert "<table" in found._repr_html_() and not found.directed
    with pytest.raises(UserError, match="gradeint"):
        run.correlation("gradeint")


def test_html_is_escaped() -> None:
    plan = Plan(((("<script>", "a"), ("b",)),) * 2)
    assert "<script>" not in plan._repr_html_() and "&lt;script&gt;" in plan._repr_html_()


# ---- a workspace ----


def test_the_command_line_and_python_mean_the_same(
    share: Share, workspace: Path, common: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    options = {**common, "check_every": 2, "guard": "none", "max_interference": np.float64(-0.5)}
    before = snapshot(workspace, times=True)
    (found,) = Workspace(workspace, quiet=True).train_share([*TASKS], **options)
    assert snapshot(workspace, times=True) == before and capsys.readouterr().out == ""
    assert found.path == only(workspace, "train-share/*")
    made = train_share(TASKS, workspace, method="shared", seeds=[0, 1], **{**common, "max_steps": 3})
    assert [run.seed for run in made] == [0, 1] and "made  train-share/shared-" in capsys.readouterr().out
    text = good(*share(workspace, "--method", "shared", "--seeds", "0,1", "--max-steps", 3)).stdout
    assert NOTHING in text
    origin = json.loads((made[0].path / "origin.json").read_text())["command"]
    assert origin.startswith("adaptershare train-share --tasks first,second,score --method shared ")
    runs = Workspace(workspace).runs()
    assert {run.name for run in runs} == {found.name, *(run.name for run in made)}
    assert [run.name for run in Workspace(workspace).runs(method="shared")] == [run.name for run in reversed(made)]
    compared = Workspace(workspace, quiet=True).compare(found, made[0])
    assert [*compared["task"]] == [*TASKS, "all"]
    good(*share(workspace, *SPLITTING))


@pytest.mark.parametrize(
    "options",
    [
        {"lerning_rate": 1}, {"max_steps": 0}, {"device": "tpu"}, {"method": "sharde"}, {"seed": 0, "seeds": "0,1"},
        {"rounds": 2}, {"learning_rate": float("nan")}, {"seeds": "0-2"}, {"preset": "x"}, {"tasks": "frist"},
    ],
)  # fmt: skip
def test_refusals_are_those_of_the_command(
    options: dict[str, Any], share: Share, common: dict[str, Any], tmp_path: Path
) -> None:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    told = " ".join(call(*share(tmp_path / "w"), *words).stderr.replace("│", " ").split())
    keywords: dict[str, Any] = {**common, "tasks": TASKS, **options}
    with pytest.raises(UserError) as error:
        Workspace(tmp_path / "w", quiet=True).train_share(**keywords)
    assert " ".join(error.value.what.split()) in told
    assert not list(tmp_path.iterdir())


def test_keywords_that_no_command_line_has(trained: Path, tmp_path: Path) -> None:
    there = Workspace(trained, quiet=True)
    for options in (
        {"json": True},
        {"workspace": "x"},
        {"max_steps": {"a": 1}},
        {"max_steps": True},
        {"no_such": None},
    ):
        with pytest.raises(UserError):
            there.train_share("first,second", **options)
    with pytest.raises(UserError, match="No tasks are named"):
        there.train_share()
    with pytest.raises(UserError, match="is a file"):
        (tmp_path / "file").write_text("")
        Workspace(tmp_path / "file")
    with pytest.raises(UserError, match="There is no run"):
        load_run(workspace=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_damaged_run_is_an_exception_and_left_out_of_lists(workspace: Path, capsys: pytest.CaptureFixture) -> None:
    path = only(workspace, "train-share/*")
    (path / "artefact.json").write_text("{")
    assert Workspace(workspace).runs() == [] and f"left out: train-share/{path.name}" in capsys.readouterr().out
    with pytest.raises(AdapterShareError, match="is damaged"):
        load_run(path)
    with pytest.raises(AdapterShareError, match="is damaged"):
        load_run(path.name, workspace)
    assert {"damaged", "whole"} == set(Workspace(workspace).status()["state"]) - {"stale"}


# ---- rows of one's own ----


def test_rows_in_memory_are_tasks(workspace: Path, common: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = workspace.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    options = {**common, "max_steps": 2, "method": "shared"}
    frame = rows_of()
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    numbered = frame.assign(label=(frame["label"] == "pos").astype(int))
    hub = datasets.DatasetDict({
        "train": datasets.Dataset.from_pandas(numbered, features=features, preserve_index=False),
        "validation": datasets.Dataset.from_pandas(numbered[:8], features=features, preserve_index=False),
    })  # fmt: skip
    there = Workspace(workspace, quiet=True)
    (made,) = there.train_share({"mine": frame, "hub-like": hub, "first": None}, **options)
    assert made.tasks == ("mine", "hub-like", "first")
    assert not list(elsewhere.iterdir())
    own = sorted(path.name.rpartition("-")[0] for path in (workspace / "own").iterdir())
    assert own == ["hub-like", "mine"]
    labels = {task: json.loads((made.path / "tasks" / task / "head.json").read_text())["labels"] for task in made.tasks}
    assert labels["mine"] == labels["hub-like"] == ["neg", "pos"]
    assert made.predict("mine", ["good film"], threads=1)["mine.label"][0] in ("neg", "pos")
    before = snapshot(workspace, times=True)
    (again,) = there.train_share({"mine": frame.copy(), "hub-like": hub, "first": None}, **options)
    assert again.path == made.path and snapshot(workspace, times=True) == before
    command = json.loads((made.path / "origin.json").read_text())["command"]
    assert str(workspace / "own") in command
    other = {"mine": Data(rows_of(seed=1)), "first": None}
    (third,) = there.train_share(other, **options)
    assert third.path != made.path and len(list((workspace / "own").iterdir())) == 3


def test_scores_words_and_columns_are_said_where_they_are_not_certain(
    tmp_path: Path, common: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    there = Workspace(tmp_path / "w ü")
    stars = rows_of().rename(columns={"text": "body", "label": "y"}).assign(y=np.linspace(0, 5, 40))
    with pytest.raises(UserError, match="Not everything is certain of stars") as error:
        there.prepro({"stars": stars}, model=common["model"], max_seq_length=64)
    assert "yes=True" in error.value.fix and "not certain" in capsys.readouterr().out
    assert not snapshot(tmp_path / "w ü")
    tags = pd.DataFrame({
        "text": [["a", "good", "film", str(number)] for number in range(30)], "label": [["O", "B-x", "I-x", "O"]] * 30,
    })  # fmt: skip
    made = there.prepro(
        {"stars": Data(stars, text="body", label="y", yes=True), "tags": Data(tags, yes=True)},
        model=common["model"], max_seq_length=64,
    )  # fmt: skip
    assert [*made] == ["stars", "tags"]
    kinds = [json.loads((path / "artefact.json").read_text())["info"]["kind"] for path in made.values()]
    assert len(set(kinds)) == 2


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ({"a/b": rows_of()}, "cannot be a task's name"),
        ({3: rows_of()}, "cannot be a task's name"),
        ({"mine": "text"}, "are of the type str"),
        ({"mine": []}, "are of the type list"),
        ({"rte": rows_of()}, "There is a task rte already"),
        ({"mine": {"dev": rows_of()}}, "no split to train on"),
        ({"mine": {"train": rows_of(), "x": rows_of()}}, "has the split 'x'"),
        ({"mine": {"dev": rows_of(), "valid": rows_of()}}, "has the split 'valid'"),
        ({"mine": rows_of()[["text"]]}, "label"),
        ({"mine": rows_of().assign(label=None)}, ""),
        ({"mine": pd.concat([rows_of(), rows_of()], axis=1)}, "cannot be written as a table"),
        ({"mine": rows_of().assign(label=[1, "a"] * 20)}, "cannot be written as a table"),
        ({"mine": Data(rows_of(), label="y")}, "no column `y`"),
        ({}, "No tasks are named"),
    ],
)
def test_rows_that_are_no_task(tasks: dict[Any, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        train_share(tasks, tmp_path / "w", max_steps=1)
    assert says in str(error.value) and ".partial" not in str(error.value)
    assert not snapshot(tmp_path / "w")


def test_a_workspace_that_may_only_be_read(workspace: Path, common: dict[str, Any], monkeypatch: Any) -> None:
    """What is there is had; what would have to be made is refused."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    there = Workspace(workspace, quiet=True)
    assert len(there.runs()) == 1 and len(there.run().predict("first", TEXTS)) == 3
    assert there.run().correlation("plan").matrix.shape == (3, 3)
    with pytest.raises(AdapterShareError, match="cannot be written"):
        there.train_share({"mine": rows_of(), "first": None}, **common)
    with pytest.raises(AdapterShareError, match="cannot be written"):
        there.train_share("first,second", **common)
    assert not (workspace / "own").exists()


def test_a_run_is_exported_and_reported(workspace: Path, tmp_path: Path, encoder: Path) -> None:
    there = Workspace(workspace, quiet=True)
    found = there.run().export(tmp_path / "out", task="first", model=encoder)
    assert [*found] == ["first"] and (tmp_path / "out" / "head.json").is_file()
    results = there.report()
    assert set(results["task"]) == {*TASKS}
    shutil.rmtree(workspace / "prepro")
    with pytest.raises((UserError, RunError)):
        there.run().correlation("text")
