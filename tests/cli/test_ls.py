"""`ls`: runs at a glance, whatever else lies in the workspace, and fast."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.commands.ls import age_text, size_text
from adaptershare_cli.runs.results import main_scores
from adaptershare_cli.store.artefact import META, read_artefact, seal, write_json
from tests.cli.conftest import TASKS, good, only, snapshot


def listed(workspace: Path, *more: Any) -> list[dict[str, Any]]:
    return json.loads(good("ls", "-w", workspace, "--json", *more).stdout)["runs"]


def copy_run(workspace: Path, number: int, **info: Any) -> Path:
    """Another run, a minute older than the last, with other facts."""
    source = next(path for path in (workspace / "train-share").iterdir() if "-000000" not in path.name)
    meta = {k: v for k, v in json.loads((source / META).read_text()).items() if k != "checksum"}
    meta |= {"key": f"{number:08x}", "name": info.get("method", meta["name"]), "info": {**meta["info"], **info}}
    target = Path(shutil.copytree(source, source.with_name(f"{meta['name']}-{meta['key']}")))
    write_json(target / META, seal(meta))
    old = (source / META).stat().st_mtime - 60 * number
    os.utime(target / META, (old, old))
    return target


def test_a_run(trained: Path) -> None:
    before = snapshot(trained, times=True)
    (row,) = listed(trained)
    path = only(trained, "train-share/*")
    run = read_artefact(path)
    assert run is not None
    assert row["name"] == run.label and row["method"] == "adaptershare" and row["tasks"] == [*TASKS]
    assert row["score"] == pytest.approx(sum(main_scores(run).values()) / 3) and row["seed"] == 0
    assert row["bytes"] == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert datetime.fromisoformat(row["made"]).timestamp() == pytest.approx(run.made / 1e9, abs=1)
    text = good("ls", "-w", trained).stdout
    assert run.label in text and f"{100 * row['score']:.1f}" in text and "1 run; " in text
    assert snapshot(trained, times=True) == before


def test_newest_first_and_filters(workspace: Path) -> None:
    copy_run(workspace, 1, method="shared", seed=3)
    copy_run(workspace, 2, tasks=["first", "other"])
    names = [row["name"] for row in listed(workspace)]
    assert names[0].startswith("train-share/adaptershare-")
    assert names[1:] == ["train-share/shared-00000001", "train-share/adaptershare-00000002"]
    for more, wanted in (
        (("--method", "sh*"), [1]), (("--method", "shared,adaptershare"), [0, 1, 2]), (("--tasks", "fi*,other"), [2]),
        (("--tasks", "second"), [0, 1]), (("00000",), [1, 2]), (("shared", "--tasks", "other"), []),
        ((workspace / "train-share" / "shared-00000001",), [1]), (("shared,train-share/adapter*2",), [1, 2]),
    ):  # fmt: skip
        assert [row["name"] for row in listed(workspace, *more)] == [names[place] for place in wanted], more


def test_a_damaged_run_among_whole_ones(workspace: Path) -> None:
    one, other = copy_run(workspace, 1), copy_run(workspace, 2)
    (one / META).write_text("{")
    (other / "metrics.parquet").write_bytes(b"none")
    rows = listed(workspace)
    assert [bool(row["fault"]) for row in rows] in ([False, True, True], [True, False, True])
    text = good("ls", "-w", workspace).stdout
    assert text.count("damaged") == 2 and "3 runs" in text


def test_nothing_there(tmp_path: Path) -> None:
    assert "0 runs" in good("ls", "-w", tmp_path / "w").stdout
    assert not list(tmp_path.iterdir())


def test_ages_and_sizes() -> None:
    assert [age_text(seconds) for seconds in (-5, 1, 90, 119, 121, 7300, 9e5)] == [
        "now", "now", "90 s", "119 s", "2 min", "2 h", "10 d",
    ]  # fmt: skip
    assert [size_text(count) for count in (0, 999, 1000, 2.5e6, 7e15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "2.5 MB", "7000.0 TB",
    ]  # fmt: skip
