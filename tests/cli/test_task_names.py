"""Every name that a definition may have goes through every stage: none is taken for something else on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptershare_cli.data.names import LONGEST_NAME, name_fault
from adaptershare_cli.runs.choose import matches, names
from adaptershare_cli.store.artefact import STAGES, Artefact
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import NOTHING, QUICK, add_task, good, only
from tests.methods import method_arguments

# What PyTorch, pandas, YAML, a folder's key, a method or a file could be taken for, and the longest one.
NAMES = ("type", "items", "forward-0123abcd", "a.b", "0", "nan", "shared", "n" * LONGEST_NAME)
ALLOWED = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", fullmatch=True).filter(lambda name: not name_fault(name))


def tasks_of(file: Path, *columns: str) -> set[str]:
    """The tasks that a table names."""
    table = pd.read_parquet(file, partitioning=None)
    return {name for column in columns for name in table[column]}


def test_every_stage_takes_every_name(encoder: Path, tmp_path: Path) -> None:
    for name in NAMES:
        add_task(tmp_path, name, ("bad", "good"), 20)
    workspace, every = tmp_path / "workspace", ",".join(NAMES)
    at = ("--task-dir", tmp_path / "tasks", "--from", tmp_path / "data", "--model", encoder, "-w", workspace)
    few = (*QUICK[2:], "--heldout-size", "4", "--select-size", "4")
    good("train-single", "-t", every, *at, *few, "--max-steps", "1")
    shared = ("train-share", "-t", every, *at, *few)
    good(*shared, "--max-steps", "2", "--first-check", "2", *method_arguments("adaptershare"))
    good(*shared, "--max-steps", str(2 * len(NAMES)), *method_arguments("adapterfusion"))
    assert NOTHING in good("train-single", "-t", "n*,nan", *at, *few, "--max-steps", "1").stdout
    for method in ("adaptershare", "adapterfusion"):
        run = only(workspace, f"train-share/{method}-*")
        assert {folder.name for folder in (run / "tasks").iterdir()} == set(NAMES)
        for table in ("metrics", "predictions"):
            assert tasks_of(run / f"{table}.parquet", "task") == set(NAMES)

    good("correlate", "--run", "adaptershare", "--measure", "gradient,plan,size", "-w", workspace)
    good("correlate", "--run", "adapterfusion", "--measure", "fusion", "-w", workspace)
    for table in sorted(workspace.glob("correlate/*/correlation.parquet")):
        assert tasks_of(table, "source", "target") == set(NAMES), table
    select = ("--select", "threshold", "--threshold", "-1", "--target", "nan", "--no-baselines")
    good("correlate", "--run", "adaptershare", "--measure", "plan", *select, "-w", workspace)
    good("train-share", "--selection", "threshold", "--target", "nan", "--method", "shared", "--model", encoder,
         "-w", workspace, "--threads", "1", "--max-steps", "1", "--no-observe")  # fmt: skip
    results = json.loads(good("report", "-w", workspace, "--json").stdout)["artefacts"][0]["results"]
    assert {row["task"] for row in results} == set(NAMES)
    assert tasks_of(workspace / "report" / "results.parquet", "task") == set(NAMES)
    assert all(name in (workspace / "report" / "report.md").read_text() for name in NAMES)
    said = good("status", "-w", workspace, "--verify").stdout
    assert " whole; " in said and all(f"train-single/{name}-" in said for name in NAMES)


@settings(max_examples=30)
@given(ALLOWED, ALLOWED, st.sampled_from(STAGES[:-1]), st.from_regex("[0-9a-f]{8}", fullmatch=True))
def test_an_artefact_is_found_by_its_tasks_name(name: str, other: str, stage: str, key: str) -> None:
    """Its folder's name gives name and key back, and no other task's name means it."""
    path = Workspace(Path("workspace"), writing=False).path(stage, name, key)
    assert path.name.rpartition("-")[::2] == (name, key) and len(path.name) < 255
    artefact = Artefact(path, {"stage": stage, "name": name, "key": key})
    assert matches(artefact, name) and names(artefact, path.name) and names(artefact, f"{stage}/{path.name}")
    assert matches(artefact, other) <= (other == name or key.startswith(other) or other == path.name)
