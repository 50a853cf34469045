"""`status`: every artefact and checkpoint as whole, stale, partial or damaged, why, and what makes it anew."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS
from adaptershare_cli.store import workspace as workspace_module
from adaptershare_cli.store.artefact import META, seal, write_json
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import SPLITTING, Share, call, flip_byte, good, interrupt_at, only, refused, snapshot


def entries(workspace: Path, *more: Any, code: int = 0) -> dict[str, dict[str, Any]]:
    """What status says of each folder, without keys."""
    result = call("status", "-w", workspace, "--json", *more)
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert found["command"] == "status"
    return {row["label"]: row for row in found["artefacts"]}


def states(workspace: Path, *more: Any, code: int = 0) -> dict[str, str]:
    return {label: row["state"] for label, row in entries(workspace, *more, code=code).items()}


def label_of(workspace: Path, pattern: str) -> str:
    return only(workspace, pattern).relative_to(workspace).as_posix()


def test_a_good_workspace(workspace: Path) -> None:
    before = snapshot(workspace, times=True)
    for more in ((), ("--verify",)):
        found = entries(workspace, *more)
        labels = [path.relative_to(workspace).as_posix() for path in workspace.glob("*/*-*") if path.is_dir()]
        assert sorted(found) == sorted([*labels, "report"])
        assert {row["state"] for row in found.values()} == {"whole"}
        for label, row in found.items():
            assert Path(row["path"]) == workspace / label and row["why"] == []
            assert row["bytes"] == sum(p.stat().st_size for p in (workspace / label).rglob("*") if p.is_file())
            assert row["command"].startswith("adaptershare ") and "--force" not in row["command"]
        text = good("status", "-w", workspace, *more).stdout
        assert f"{len(found)} whole; {sum(row['bytes'] for row in found.values()):,} bytes" in text
    assert snapshot(workspace, times=True) == before


def test_nothing_there(tmp_path: Path) -> None:
    assert "nothing is there; 0 bytes" in good("status", "-w", tmp_path / "w").stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_workspace_that_may_only_be_read(workspace: Path) -> None:
    for path in [workspace, *workspace.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert set(states(workspace, "--verify").values()) == {"whole"}


# ---- damaged ----


def test_damage(workspace: Path) -> None:
    run = only(workspace, "train-share/adaptershare-*")
    label = f"train-share/{run.name}"
    flip_byte(run / "steps.parquet", 50)
    assert states(workspace)[label] == "whole"  # only sizes are compared
    row = entries(workspace, "--verify", code=1)[label]
    assert row["state"] == "damaged" and row["why"][0].startswith("steps.parquet: expected SHA-256")
    text = call("status", "-w", workspace, "--verify").stdout
    assert f"{label} (delete the folder first):\n  adaptershare train-share" in text and "1 damaged" in text
    flip_byte(run / "steps.parquet", 50)

    for spoil, why in (
        (lambda: (run / "steps.parquet").unlink(), "steps.parquet is missing"),
        (lambda: (run / "steps.parquet").write_bytes(b"x"), "steps.parquet: expected "),
        (lambda: (run / META).write_text("{}"), "artefact.json has another format"),
    ):
        spoil()  # type: ignore[no-untyped-call]
        row = entries(workspace, code=1)[label]
        assert row["state"] == "damaged" and row["why"][0].startswith(why)
    # What was made from it cannot be judged any more.
    assert entries(workspace, code=1)["report"]["why"] == [f"its input {label} is gone"] + [
        f"its input correlate/{path.name} is stale" for path in sorted((workspace / "correlate").iterdir())
    ]


def test_the_command_that_is_named_helps(workspace: Path) -> None:
    before = snapshot(workspace)
    folder = only(workspace, "prepro/first-*")
    command = entries(workspace)[f"prepro/{folder.name}"]["command"]
    shutil.rmtree(folder)
    words = shlex.split(command)
    good(*words[1:])
    after = snapshot(workspace)
    assert {name: digest for name, digest in after.items() if not name.endswith("origin.json")} == {
        name: digest for name, digest in before.items() if not name.endswith("origin.json")
    }


# ---- partial ----


def test_half_made_things(workspace: Path) -> None:
    run, prepared = only(workspace, "train-share/*"), only(workspace, "prepro/first-*")
    partial = run.with_name(f".partial-{run.name}")
    shutil.copytree(run, partial)
    aside = prepared.rename(prepared.with_name(f".aside-{prepared.name}"))
    (workspace / "correlate" / "mine").mkdir()
    (workspace / ".partial-report").mkdir()
    before = snapshot(workspace, times=True)
    found = entries(workspace)
    for path, why in (
        (partial, "left by a process that was stopped; removed"),
        (aside, "left by a process that was stopped; put back"),
        (workspace / "correlate" / "mine", "it has no artefact.json"),
        (workspace / ".partial-report", "left by a process that was stopped; removed"),
    ):
        row = found[path.relative_to(workspace).as_posix()]
        assert row["state"] == "partial" and row["why"][0].startswith(why)
    assert snapshot(workspace, times=True) == before  # it looks and leaves everything as it is
    with Workspace(workspace).lock("train-share", "adaptershare", run.name[-8:], pytest.fail):
        partial.mkdir()  # taking the lock has removed it
        assert entries(workspace)[partial.relative_to(workspace).as_posix()]["why"] == ["being made now"]


def test_a_checkpoint_and_how_to_go_on(share: Share, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = share(workspace, "--method", "shared", "--checkpoint-steps", "2")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert call(*arguments).exit_code == 130
    points = sorted(path.relative_to(workspace).as_posix() for path in workspace.glob("checkpoints/*/*"))
    found = entries(workspace, "--verify")
    assert [row["why"] for label, row in found.items() if label in points] == [
        [f"after update {step} of phase main; its run was stopped"] for step in (4, 5)
    ]
    text = good("status", "-w", workspace).stdout
    assert f"{', '.join(points)}:\n  {found[points[0]]['command']}\n" in text
    assert "goes on after update 5" in good(*shlex.split(found[points[1]]["command"])[1:]).stdout
    assert not [label for label in entries(workspace) if label.startswith("checkpoints")]


def test_a_checkpoint_of_other_libraries(share: Share, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stale; the run refuses to go on from it, unless --inexact, and then says so for good."""
    arguments = share(workspace, "--method", "shared", "--checkpoint-steps", "2")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        call(*arguments)
    for folder in workspace.glob("checkpoints/*/*"):
        info = json.loads((folder / META).read_text())["info"]
        reseal(folder, info={**info, "machine": {**info["machine"], "torch": "1.0", "processor": "abacus"}})
    why = [row["why"][0] for label, row in entries(workspace).items() if label.startswith("checkpoints")]
    assert len(why) == 2 and all("goes on only with --inexact: torch 1.0, here " in text for text in why)
    refused(*arguments, says=("after update 5 was made elsewhere: processor abacus, here ", "torch 1.0", "--inexact"))
    result = good(*arguments, "--inexact")
    assert "goes on inexactly" in result.stdout and "goes on after update 5" in result.stdout
    run = json.loads(only(workspace, f"train-share/shared-*/{META}").read_text())
    assert run["info"]["exact"] is False
    assert json.loads(only(workspace, f"train-share/adaptershare-*/{META}").read_text())["info"]["exact"] is True


# ---- stale ----


def reseal(folder: Path, **changes: Any) -> None:
    meta = {k: v for k, v in json.loads((folder / META).read_text()).items() if k != "checksum"}
    write_json(folder / META, seal({**meta, **changes}))


def test_an_input_that_has_changed(workspace: Path) -> None:
    prepared, run = only(workspace, "prepro/first-*"), only(workspace, "train-share/*")
    reseal(prepared, content="0" * 64)
    found = entries(workspace)
    assert found[f"train-share/{run.name}"]["why"] == [f"its input prepro/{prepared.name} has changed"]
    stale = {label.partition("-")[0] for label, row in found.items() if row["state"] == "stale"}
    assert stale == {"train", "correlate/gradient", "correlate/plan", "report"}
    names = ("gradient-????????", "gradient-directed-*", "plan-*")
    gradient, directed, plan = (label_of(workspace, f"correlate/{name}") for name in names)
    assert (
        f"{gradient}, {directed}, {plan}:\n  adaptershare correlate --plot --workspace "
        in good("status", "-w", workspace).stdout
    )
    shutil.rmtree(prepared)
    assert entries(workspace)[f"train-share/{run.name}"]["why"] == [f"its input prepro/{prepared.name} is gone"]


@pytest.mark.parametrize(
    ("raised", "why", "labels"),
    [
        (lambda patch: patch.setitem(workspace_module.CODE_VERSIONS, "prepro", 99), "of prepro, now it is 99",
         ["prepro/first", "prepro/score", "prepro/second"]),
        (lambda patch: patch.setitem(METHODS, "adaptershare", replace(METHODS["adaptershare"], code_version=99)),
         "of adaptershare, now it is 99", ["train-share/adaptershare"]),
        (lambda patch: patch.delitem(METHODS, "adaptershare"), "of adaptershare, now it is unknown",
         ["train-share/adaptershare"]),
        (lambda patch: patch.setitem(MEASURES, "plan", replace(MEASURES["plan"], code_version=99)),
         "of plan, now it is 99", ["correlate/plan"]),
    ],
    ids=["stage", "method", "no method", "measure"],
)  # fmt: skip
def test_a_code_version_that_was_raised(
    raised: Callable, why: str, labels: list[str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised(monkeypatch)
    found = entries(workspace)
    told = [label for label, row in found.items() if any(why in text for text in row["why"])]
    assert [label.rpartition("-")[0] for label in told] == labels
    assert all(found[label]["state"] == "stale" for label in told)
    assert found["report"]["state"] == "stale"


def test_a_task_that_has_changed(own_project: Path, share: Share, workspace: Path) -> None:
    good(*share(workspace, *SPLITTING, root=own_project))  # the workspace remembers this copy as the tasks' source
    known = ("--task-dir", own_project / "tasks")
    assert set(states(workspace, *known, "--verify").values()) == {"whole"}
    with (own_project / "data" / "set" / "first-train.csv").open("a") as file:
        file.write("a fine film,good\n")
    label = label_of(workspace, "download/first-*")
    assert entries(workspace, *known)[label]["state"] == "whole"  # sources are read with --verify only
    assert entries(workspace, *known, "--verify")[label]["why"] == ["its source has changed: set/first-train.csv"]
    content = json.loads((own_project / "tasks" / "first.yaml").read_text())
    (own_project / "tasks" / "first.yaml").write_text(json.dumps({**content, "metrics": ["f1"]}))
    found = entries(workspace, *known)
    assert found[label]["why"] == ["its task's definition has changed"]
    assert found[label_of(workspace, "prepro/first-*")]["why"] == [f"its input {label} is stale"]
    assert states(workspace)[label] == "whole"  # without the definition nothing is known of it
    shutil.rmtree(own_project / "data")
    (own_project / "tasks" / "first.yaml").write_text(json.dumps(content))
    assert set(states(workspace, *known, "--verify").values()) == {"whole"}  # nor without the source
