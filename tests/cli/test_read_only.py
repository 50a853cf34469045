"""A workspace that cannot be written: all that only reads works, what would have to be made is refused at once."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import NOTHING, SPLITTING, Share, call, good, only, refused, snapshot


@pytest.fixture
def read_only(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The trained workspace; root may write anywhere, so that the system's answer is played."""
    access, folder_modes = os.access, {path: 0o555 for path in (workspace, *workspace.rglob("*")) if path.is_dir()}
    monkeypatch.setattr(
        os, "access", lambda path, mode: not (mode & os.W_OK and workspace in (path, *path.parents))
        and access(path, mode),
    )  # fmt: skip
    for path, mode in folder_modes.items():
        path.chmod(mode)
    yield workspace
    for path in folder_modes:
        path.chmod(0o755)


def everything(workspace: Path) -> list[tuple[str, int]]:
    """Every path, those of locks too, and when it changed."""
    return [(str(path), path.stat().st_mtime_ns) for path in sorted(workspace.rglob("*"))]


def test_what_only_reads_works(read_only: Path, share: Share) -> None:
    before = everything(read_only)
    assert call("status", "-w", read_only).exit_code == 0
    for command in (
        share(read_only, *SPLITTING),
        ("correlate", "--plot", "-w", read_only),
        ("report", "-w", read_only),
    ):
        result = good(*command)
        assert NOTHING in result.stdout, result.stdout
    assert everything(read_only) == before


def test_what_has_to_be_made_is_refused_before_any_work(read_only: Path, share: Share) -> None:
    before = snapshot(read_only, times=True)
    says = ("The workspace cannot be written: ", " has to be made", str(read_only), "--workspace")
    for command in (
        share(read_only, "--seed", "5"),
        share(read_only, *SPLITTING, "--force"),
        ("correlate", "--measure", "size", "-w", read_only),
        ("report", "--force", "-w", read_only),
    ):
        refused(*command, says=says)
    assert snapshot(read_only, times=True) == before


def test_what_another_user_may_not_read_is_not_called_damaged(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text
    run = only(workspace, "train-share/*")

    def refuse(path: Path, **options: Any) -> str:
        if path.parent == run:  # played, as root may read everything
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        result = call("status", "-w", workspace, "--json")
    found = {row["label"]: row for row in json.loads(result.stdout)["artefacts"]}
    row = found[run.relative_to(workspace).as_posix()]
    assert (row["state"], row["why"]) == ("unreadable", ["artefact.json cannot be read: Permission denied"])
    assert result.exit_code == 0 and "damaged" not in {row["state"] for row in found.values()}
