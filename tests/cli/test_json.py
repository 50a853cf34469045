"""What programs get: one JSON object on stdout, with scores, plans, costs and values; errors with their exit code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adaptershare_cli.cli.app import app
from adaptershare_cli.cli.console import print_json
from adaptershare_cli.store.artefact import META, seal
from tests.cli.conftest import ENVIRONMENT, SPLITTING, Share, call, flip_byte, good, only, refused


def summary(*arguments: Any, code: int = 0) -> dict[str, Any]:
    """The one object on stdout of a command that ends with that exit code, in the object too."""
    result = call(*arguments, "--json")
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert found["exit_code"] == code
    return found


def same(found: list[dict[str, Any]], table: pd.DataFrame) -> bool:
    """Whether rows are those of a table, null where it has no value."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{name: row[name] for name in table} for row in found] == rows


def test_a_run(share: Share, trained: Path) -> None:
    found = summary(*share(trained, *SPLITTING))
    assert (found["command"], found["made"], len(found["kept"]), found["damaged"]) == ("train-share", [], 7, [])
    (run,) = found["artefacts"]
    folder = only(trained, "train-share/*")
    assert (run["run"], run["name"], run["stage"]) == (folder.name, f"train-share/{folder.name}", "train-share")
    assert (run["key"], run["path"]) == (folder.name.rpartition("-")[2], str(folder))
    assert (run["method"], run["seed"], run["steps"]) == ("adaptershare", 0, 10)
    info = json.loads((folder / META).read_text())["info"]
    assert run["info"] == info and all(run[name] == info[name] for name in ("plan", "costs", "tasks", "examples"))
    metrics = pd.read_parquet(folder / "metrics.parquet")
    metrics = metrics[metrics["final"]][["task", "split", "metric", "value", "rows", "main"]]
    assert {row["split"] for row in run["scores"]} == {"select", "dev"}
    assert same(run["scores"], metrics)
    assert {Path(file) for file in run["files"].values()} == {*folder.rglob("*.parquet")}


def test_a_correlation_and_the_report(trained: Path) -> None:
    found = summary("correlate", "--plot", "-w", trained)
    assert len(found["artefacts"]) == 3
    for artefact in found["artefacts"]:
        table = pd.read_parquet(artefact["files"]["correlation.parquet"])
        assert same(artefact["values"], table[table["seed"].isna() & (table["layer"] == -1)])
        assert len(artefact["values"]) >= 3
    (report,) = summary("report", "-w", trained)["artefacts"]
    assert report["path"] == str(trained / "report")
    assert same(report["results"], pd.read_parquet(trained / "report" / "results.parquet"))


def test_the_first_stages_and_status(share: Share, trained: Path) -> None:
    arguments = share(trained)
    places = arguments[arguments.index("--task-dir") : arguments.index("--max-steps")]
    found = summary("prepro", "-t", "first,score", *places, "--max-seq-length", "64")["artefacts"]
    assert [artefact["info"]["counts"]["train_rows"] for artefact in found] == [36, 24]
    rows = summary("status", "-w", trained)["artefacts"]
    assert {row["state"] for row in rows} == {"whole"}


def test_all_paths_are_printed(trained: Path) -> None:
    printed = good("correlate", "--measure", "gradient,gradient-directed,plan", "-w", trained).stdout
    for name in ("gradient", "gradient-directed", "plan"):
        assert any(line.strip().startswith(str(trained / f"correlate/{name}-")) for line in printed.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("correlate",), 2, "There is no run in the workspace yet"),
        (("train-share",), 2, "No tasks are named"),
        (("train-share", "-t", "tiny", "--max-steps", "0"), 2, "--max-steps must be"),
        (("train-share", "-t", "tiny", "--max-steps", "x"), 2, "--max-steps"),
        (("train-share", "-t", "tiny", "--methud", "x"), 2, "--methud"),
        (("train-shar",), 2, "train-shar"),
        (("download", "-t", "nothing"), 2, "unknown task"),
        (("download", "-t", "tiny", "--config", "nowhere.toml"), 2, "does not exist"),
    ],
)
def test_an_error(arguments: tuple[str, ...], code: int, what: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = summary(*arguments, code=code)
    assert found.keys() == {"exit_code", "error"} and found["error"].keys() == {"what", "where", "fix"}
    assert what in found["error"]["what"]
    assert call(*arguments, "--json").stderr  # people see it too


def test_an_error_where_the_config_file_asks_for_json(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("json = true", encoding="utf-8")
    result = call("correlate", "--config", tmp_path / "c.toml", "-w", tmp_path / "w")
    assert json.loads(result.stdout)["exit_code"] == result.exit_code == 2


@pytest.mark.parametrize(
    ("raised", "code", "what"),
    [
        (KeyboardInterrupt(), 130, "Stopped"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (ZeroDivisionError("x"), 1, "A fault of the program: ZeroDivisionError: x"),
    ],
)
def test_what_ends_a_command(
    raised: BaseException, code: int, what: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    def stop(*arguments: Any) -> None:
        raise raised

    monkeypatch.setattr("adaptershare_cli.commands.download.read_task", stop)
    places = ("--task-dir", project / "tasks", "--from", project / "data", "-w", tmp_path / "w", "--json")
    result = CliRunner().invoke(app, ["download", "-t", "first", *map(str, places)], env=ENVIRONMENT)
    found = json.loads(result.stdout)
    assert (found["exit_code"], result.exit_code) == (code, code) and what in found["error"]["what"]


def test_no_number_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), {"b": float("-inf")}], "c": 1.5, "d": True})
    assert json.loads(capsys.readouterr().out) == {"a": [None, {"b": None}], "c": 1.5, "d": True}


# ---- tables that join ----


def test_tables_join_by_the_runs_names(trained: Path) -> None:
    results = pd.read_parquet(trained / "report" / "results.parquet")
    folders = {path.name: path for stage in ("train-share", "train-single") for path in (trained / stage).glob("[!.]*")}
    assert {*results["run"]} == folders.keys()
    names = ["run", "task", "split", "metric"]
    metrics = pd.concat(
        pd.read_parquet(path / "metrics.parquet").query("final and split != 'select'").assign(run=name)
        for name, path in folders.items()
    )
    joined = results.merge(metrics, on=names, how="outer", indicator=True, validate="one_to_one")
    assert (joined["_merge"] == "both").all() and (joined["value_x"] == joined["value_y"]).all()
    for file in trained.glob("correlate/*/" + META):
        assert {label.partition("/")[2] for label in json.loads(file.read_text())["info"]["runs"]} <= folders.keys()
    for file in trained.glob("*/*/*.parquet"):
        table = pd.read_parquet(file)
        for column in {"task", "task_a", "task_b", "source", "target"} & {*table}:
            assert {*table[column].dropna()} <= {"first", "second", "score"}, (file, column)


# ---- one bad apple ----


@pytest.fixture(scope="module")
def several(share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two runs of three updates, and a correlation of one; tests read it only."""
    workspace = tmp_path_factory.mktemp("several") / "w"
    for method in ("private", "shared"):
        good(*share(workspace, "--max-steps", "3", "--method", method))
    good("correlate", "--measure", "plan", "--plot", "-w", workspace)
    return workspace


def garble(run: Path) -> None:
    (run / META).write_text('{"half', encoding="utf-8")


def reseal(run: Path, **changes: Any) -> None:
    meta = {**json.loads((run / META).read_text()), **changes}
    (run / META).write_text(json.dumps(seal({name: value for name, value in meta.items() if name != "checksum"})))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda run: flip_byte(run / "metrics.parquet", 300),
    "a missing file": lambda run: (run / "metrics.parquet").unlink(),
    "artefact.json": garble,
    "no info": lambda run: reseal(run, info={}),
    "no table": lambda run: reseal(run, files={}),
    "timing.json": lambda run: (run / "timing.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_does_not_stop_the_report_of_the_others(damage: str, several: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(several, tmp_path / "w"))
    private, shared = (only(workspace, f"train-share/{name}-*") for name in ("private", "shared"))
    made = (private / META).stat()
    DAMAGES[damage](private)
    os.utime(private / META, ns=(made.st_atime_ns, made.st_mtime_ns))  # the other one is still the newest
    result = call("report", "-w", workspace)
    assert result.exit_code == 1 and private.name in result.stderr and "Traceback" not in result.output
    assert {*pd.read_parquet(workspace / "report" / "results.parquet")["run"]} == {shared.name}
    for page in ("report.html", "report.md"):
        text = (workspace / "report" / page).read_text(encoding="utf-8")
        assert "Left out: The artefact train-share/private-" in text
    (told,) = summary("report", "-w", workspace, code=1)["damaged"]
    assert private.name in told["what"] and told["fix"]
    refused("report", "--run", private.name, "-w", workspace, says=(private.name,))
    good("report", "--run", shared.name, "-w", workspace)
    if damage not in ("timing.json", "no table"):  # which correlations may not read
        good("correlate", "--measure", "random", "-w", workspace)  # from the newest run, which is whole
        refused("correlate", "--measure", "random", "--run", private.name, "-w", workspace, says=(private.name,))
        result = call("correlate", "--measure", "random", "--run", "*", "-w", workspace)
        assert result.exit_code == 1 and private.name in result.stderr and "correlate/random-" in result.stdout
        assert "Traceback" not in call("status", "-w", workspace, "--verify").output
        DAMAGES["artefact.json"](shared)
        refused("report", "-w", workspace, says=("is damaged",))


def test_a_damaged_picture_does_not_stop_the_report(several: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(several, tmp_path / "w"))
    flip_byte(only(workspace, "correlate/plan-*/heatmap.svg"), 50)
    result = call("report", "-w", workspace)
    assert result.exit_code == 1 and "heatmap.svg" in result.stderr
    assert len({*pd.read_parquet(workspace / "report" / "results.parquet")["run"]}) == 2
    assert not (workspace / "report" / "pictures").exists()
