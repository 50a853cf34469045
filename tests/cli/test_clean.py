"""`clean`: what goes and what stays; nothing goes that is not said, asked for, free and known."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.methods import METHODS
from adaptershare_cli.store.artefact import META, ORIGIN, seal, write_json
from adaptershare_cli.store.workspace import CODE_VERSIONS, Workspace
from tests.cli.conftest import Share, call, good, interrupt_at, only, refused, snapshot


def cleaned(workspace: Path, *more: Any) -> dict[str, Any]:
    """What goes, by name without key."""
    found = json.loads(good("clean", "-w", workspace, "--json", *more).stdout)
    return {row["name"]: row for row in found["removed"]} | {"kept": found["kept_back"]}


def names(found: dict[str, Any]) -> list[str]:
    return sorted(name for name in found if name != "kept")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None], target: Path | None = None) -> Path:
    """The artefact with another `artefact.json`, perhaps beside the old one."""
    target = Path(shutil.copytree(folder, target)) if target is not None else folder
    meta = {k: v for k, v in json.loads((target / META).read_text()).items() if k != "checksum"}
    change(meta)
    write_json(target / META, seal(meta))
    return target


def older_run(workspace: Path) -> Path:
    """A run beside the one that is there, of the same settings, made by an older version of the method."""
    run = only(workspace, "train-share/adaptershare-*")

    def change(meta: dict[str, Any]) -> None:
        meta["request"]["method_version"], meta["key"] = 1, "00000001"

    return rewrite(run, change, run.with_name("adaptershare-00000001"))


def test_a_good_workspace_has_nothing_to_clean(workspace: Path) -> None:
    before = snapshot(workspace, times=True)
    assert "Nothing to clean." in good("clean", "-w", workspace).stdout
    assert names(cleaned(workspace, "--cached", "--stale-runs", "--yes")) == []
    assert snapshot(workspace, times=True) == before


def test_nothing_there(tmp_path: Path) -> None:
    assert "Nothing to clean." in good("clean", "-w", tmp_path / "w", "--yes").stdout
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_it_asks_for_yes(workspace: Path) -> None:
    older_run(workspace)
    before = snapshot(workspace, times=True)
    for more in ((), ("--json",)):
        refused("clean", "-w", workspace, *more, says=("Nothing was deleted", "--yes"))
    assert "superseded by train-share/adaptershare-" in good("clean", "-w", workspace, "--dry-run").stdout
    assert snapshot(workspace, times=True) == before


def test_a_superseded_run_goes(workspace: Path) -> None:
    before = snapshot(workspace)
    older_run(workspace)
    found = cleaned(workspace, "--yes")
    assert names(found) == ["train-share/adaptershare-00000001"]
    assert snapshot(workspace) == before


def test_an_outdated_run_stays_unless_asked_for_and_what_it_reads_with_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CODE_VERSIONS, "prepro", 99)
    shutil.rmtree(workspace / "report")
    found = cleaned(workspace, "--dry-run")
    assert {name.split("/")[0] for name in names(found)} == {"correlate"}
    assert sum("train-share/adaptershare-" in why and "was made from it" in why for why in found["kept"]) == 3
    found = cleaned(workspace, "--stale-runs", "--yes")
    assert {name.split("/")[0] for name in names(found)} == {"correlate", "train-share", "prepro"}
    assert [path for path in workspace.glob("*/*-*") if path.parent.name not in ("download", ".locks")] == []
    good(*shlex.split(found[next(name for name in names(found) if "train-share" in name)]["command"])[1:])
    assert only(workspace, "train-share/adaptershare-*")


def test_what_is_stale_only_because_an_input_is_gone_stays(workspace: Path) -> None:
    shutil.rmtree(workspace / "prepro")
    assert names(cleaned(workspace, "--stale-runs", "--dry-run")) == []


def test_a_named_run_goes_and_its_command_makes_it_again(workspace: Path) -> None:
    before = snapshot(workspace)
    run = only(workspace, "train-share/*")
    found = cleaned(workspace, "adaptershare", "--yes")
    assert names(found) == [f"train-share/{run.name}"] and not run.exists()
    assert sum("stays, though it was made from" in line for line in found["kept"]) == 1
    good(*shlex.split(found[f"train-share/{run.name}"]["command"])[1:])
    after = snapshot(workspace)
    timed = ("timing.json", "origin.json")
    assert {k: v for k, v in after.items() if not k.endswith(timed)} == {
        k: v for k, v in before.items() if not k.endswith(timed)
    }
    refused("clean", "x", "-w", workspace, says=("No run matches 'x'",))


def test_nothing_goes_that_is_not_known(workspace: Path) -> None:
    older, run = older_run(workspace), only(workspace, "train-share/adaptershare-*[!1]")
    (older / "notes.txt").write_text("mine")
    (workspace / "train-share" / "mine").mkdir()
    (workspace / "correlate" / "mine.txt").write_text("mine")
    (run / ORIGIN).unlink()
    before = snapshot(workspace, times=True)
    found = cleaned(workspace, run, "--yes")
    assert names(found) == []
    assert any("it holds notes.txt" in line for line in found["kept"])
    assert any("nobody knows the command" in line for line in found["kept"])
    (run / META).write_text("{")
    assert any("cannot be read" in line for line in cleaned(workspace, run, "--yes")["kept"])
    (run / META).write_bytes((older / META).read_bytes())
    after = snapshot(workspace, times=True)
    assert {k for k in before if not k.endswith(META)} == {k for k in after if not k.endswith(META)}


def test_a_link_that_leads_out_of_the_workspace_is_left_alone(workspace: Path, tmp_path: Path) -> None:
    older = older_run(workspace)
    outside = older.rename(tmp_path / older.name)
    older.symlink_to(outside)
    before = snapshot(outside)
    found = cleaned(workspace, "00000001", "--yes")
    assert names(found) == [] and snapshot(outside) == before


def test_leftovers_and_checkpoints_of_finished_runs(
    share: Share, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = share(workspace, "--method", "shared", "--checkpoint-steps", "2")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert call(*arguments).exit_code == 130
    assert names(cleaned(workspace, "--dry-run")) == []  # it can go on
    kept = Path(shutil.copytree(workspace / "checkpoints", workspace.parent / "checkpoints"))
    good(*arguments)
    shutil.copytree(kept, workspace / "checkpoints", dirs_exist_ok=True)
    run = only(workspace, "train-share/shared-*")
    partial = Path(shutil.copytree(run, run.with_name(f".partial-{run.name}")))
    with Workspace(workspace, writing=False).lock("train-share", "shared", run.name[-8:], pytest.fail):
        partial.mkdir()  # taking the lock has removed it
        found = cleaned(workspace, "--yes")
        assert names(found) == [] and partial.exists()
    shutil.copytree(run, partial, dirs_exist_ok=True)
    found = cleaned(workspace, "--yes")
    assert len(names(found)) == 3 and not partial.exists() and not list(workspace.glob("checkpoints/*/*"))
    assert run.exists()


def test_while_a_training_runs_what_it_may_read_stays(workspace: Path) -> None:
    older_run(workspace)
    with Workspace(workspace).lock("train-single", "first", "12345678", pytest.fail):
        found = cleaned(workspace, "--yes")
    assert names(found) == [] and "a training runs now (train-single-first-12345678)" in found["kept"][0]
    assert len(names(cleaned(workspace, "--yes"))) == 1


def test_a_method_that_is_not_known_any_more(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "adaptershare", replace(METHODS["adaptershare"], code_version=99))
    found = cleaned(workspace, "--dry-run")
    assert not any("train-share" in name for name in names(found))
