"""A fault at every open, write, fsync, rename and removal of a publish: the old artefact, the new one, or none."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from adaptershare_cli.cli.program import DISK_ERRORS
from adaptershare_cli.errors import AdapterShareError
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.runs.runtime import Runtime
from adaptershare_cli.store.artefact import Artefact, read_artefact, verify
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.training.checkpoint import Checkpoint
from tests.faults.conftest import leftovers
from tests.faults.shim import ANSWERS, CALLS, Died, Shim, refusing

KEY = "0123abcd"
DESCRIBE = {"request": {"stage": "prepro"}, "inputs": []}
ERRORS = [errno.ENOSPC, errno.EIO]

HERE = Runtime("cpu", "fp32", 1)


class Publish:
    """Publishing an artefact, with or without an older one in its place."""

    def __init__(self, older: bool, stage: str = "prepro") -> None:
        self.older, self.stage = older, stage

    def begin(self, root: Path) -> None:
        """The state before."""
        if self.older:
            self.publish(Workspace(root, command="adaptershare old"), "old")

    def act(self, root: Path) -> None:
        """What is disturbed."""
        self.publish(Workspace(root, command="adaptershare new"), "new")

    def publish(self, space: Workspace, text: str) -> Artefact:
        def build(folder: Path) -> dict[str, Any]:
            (folder / "deep").mkdir()
            (folder / "deep" / "a.txt").write_text(text * 100)
            write_parquet(pa.table({"text": [text] * 100}), folder / "b.parquet")
            return {"info": {"text": text}, "timing": {"seconds": 1.0}}

        with space.lock(self.stage, "task", KEY, pytest.fail):
            return space.publish(self.stage, "task", KEY, build, DESCRIBE)

    def seen(self, root: Path) -> str:
        """`old`, `new` or `none`; everything else fails."""
        found = read_artefact(Workspace(root, writing=False).path(self.stage, "task", KEY))
        if found is None:
            return "none"
        verify(found)
        text = found.info["text"]
        assert found.table("b.parquet")["text"].to_pylist() == [text] * 100
        assert found.command.startswith(f"adaptershare {text} ")
        return text

    def put_right(self, root: Path) -> None:
        """What the next start does."""
        Workspace(root)

    def allowed(self, mended: bool) -> set[str]:
        """What may be seen: once things are put right, never less than what stood before."""
        return {"new", "old"} if self.older and mended else {"new", "old", "none"} if self.older else {"new", "none"}


class Save(Publish):
    """Saving a third checkpoint, for which the first one goes."""

    def store(self, root: Path) -> CheckpointStore:
        return CheckpointStore(
            Workspace(root), "shared-0123abcd", {"stage": "train-share", **HERE.to_json()}, [], lambda: HERE
        )

    def checkpoint(self, step: int) -> Checkpoint:
        steps = [{"phase": "main", "step": number, "task": "a", "rows": 1, "loss": 0.5, "learning_rate": 0.1,
                  "grad_norm": 1.0, "skipped": False} for number in range(1, step + 1)]  # fmt: skip
        return Checkpoint("main", step, {"weight": torch.full((50,), float(step))}, {"step": step}, {"steps": steps})

    def begin(self, root: Path) -> None:
        for step in (1, 2):
            self.store(root).save(self.checkpoint(step))

    def act(self, root: Path) -> None:
        store = self.store(root)
        store.load(False, pytest.fail)
        store.save(self.checkpoint(3))

    def seen(self, root: Path) -> str:
        """The newest whole checkpoint, which must always be there."""
        folders = [path for path in (root / "checkpoints" / "shared-0123abcd").iterdir() if path.name[0] != "."]
        found = [artefact for path in folders if (artefact := read_artefact(path)) is not None]
        newest = max(found, key=lambda artefact: artefact.info["step"])
        verify(newest)
        return {2: "old", 3: "new"}[newest.info["step"]]

    def put_right(self, root: Path) -> None:
        loaded = self.store(root).load(False, pytest.fail)
        assert loaded is not None
        expected = self.checkpoint(loaded.step)
        assert torch.equal(loaded.tensors["weight"], expected.tensors["weight"])
        assert (loaded.records, loaded.meta) == (expected.records, expected.meta)

    def allowed(self, mended: bool) -> set[str]:
        return {"new", "old"}


class Clear(Save):
    """Removing the checkpoints of a run that is published."""

    def act(self, root: Path) -> None:
        self.store(root).clear()

    def seen(self, root: Path) -> str:
        if not list((root / "checkpoints").glob("shared-0123abcd/main-*/artefact.json")):
            return "none"
        for path in (root / "checkpoints" / "shared-0123abcd").iterdir():
            found = read_artefact(path)
            if found is not None:
                verify(found)
        return "old"

    def put_right(self, root: Path) -> None:
        self.store(root).load(False, pytest.fail)

    def allowed(self, mended: bool) -> set[str]:
        return {"old", "none"}


class Remember(Publish):
    """Remembering where a task comes from."""

    def begin(self, root: Path) -> None:
        Workspace(root).remember_sources(["a"], Path("/old"))

    def act(self, root: Path) -> None:
        Workspace(root).remember_sources(["a", "b"], Path("/new"))

    def seen(self, root: Path) -> str:
        return Workspace(root).sources()["a"].strip("/")

    def allowed(self, mended: bool) -> set[str]:
        return {"old", "new"}


CASES: dict[str, Callable[[], Publish]] = {
    "first": lambda: Publish(older=False),
    "replace": lambda: Publish(older=True),
    "report": lambda: Publish(older=True, stage="report"),
    "checkpoint": lambda: Save(older=True),
    "clear": lambda: Clear(older=True),
    "sources": lambda: Remember(older=True),
}


TWICE = ["replace", "report", "checkpoint"]


def changes(case: Publish, root: Path) -> list[str]:
    """The changes of an undisturbed act."""
    case.begin(root)
    with Shim() as shim:
        case.act(root)
    return shim.kinds


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_change_is_disturbed(name: str, place: Path) -> None:
    kinds = Counter(changes(CASES[name](), place / "w"))
    expected = {"clear": {"unlink", "rmdir"}, "sources": {"open", "write", "fsync", "replace"}}
    assert expected.get(name, {"open", "write", "fsync", "replace", "mkdir"}) <= set(kinds), kinds
    if name in ("first", "replace", "report", "checkpoint"):
        assert kinds["fsync"] >= 5 and kinds["write"] >= 4


@pytest.mark.parametrize("error", [*ERRORS, None], ids=lambda error: errno.errorcode[error] if error else "killed")
@pytest.mark.parametrize("name", CASES)
def test_a_fault_at_each_change(name: str, error: int | None, place: Path) -> None:
    case = CASES[name]()
    count = len(changes(case, place / "count"))
    case.begin(place / "begun")
    states: Counter[str] = Counter()
    for number in range(1, count + 1):
        root = place / f"w{number}"
        if (place / "begun").exists():
            shutil.copytree(place / "begun", root)
        with Shim(number, error) as shim:
            try:
                case.act(root)
            except Died:
                assert error is None
            except (AdapterShareError, OSError):  # either is one clear message of the command line
                assert error in DISK_ERRORS
        assert len(shim.kinds) >= number
        state = case.seen(root)
        states[state] += 1
        assert state in case.allowed(mended=False), f"{shim.kinds[number - 1]}, change {number}: {state}"
        case.put_right(root)
        state = case.seen(root)
        assert state in case.allowed(mended=True), f"{shim.kinds[number - 1]}, change {number}: {state} after a restart"
        half = [path for path in leftovers(root) if "/." in f"/{path}"]
        assert not half, f"{shim.kinds[number - 1]}, change {number}: {half}"
        case.act(root)
        assert case.seen(root) in ("new", "none")
    assert len(states) > 1 or name == "clear", states


def kill_twice(name: str, place: Path, since: str) -> None:
    """Kill at each change of a publish, from the first one of the kind `since` on, and at each of the restart after."""
    case = CASES[name]()
    kinds = changes(case, place / "count")
    case.begin(place / "begun")
    twice = 0
    for number in range(kinds.index(since) + 1, len(kinds) + 1):
        for second in range(1, 40):
            root = place / f"w{number}-{second}"
            shutil.copytree(place / "begun", root)
            with Shim(number), pytest.raises(Died):
                case.act(root)
            with Shim(second) as restart:
                try:
                    case.put_right(root)
                except Died:
                    twice += 1
            assert case.seen(root) in case.allowed(mended=False)
            case.put_right(root)
            assert case.seen(root) in case.allowed(mended=True), (number, second)
            shutil.rmtree(root)
            if len(restart.kinds) < second:  # nothing was left to do
                break
    assert twice > 5


@pytest.mark.parametrize("name", TWICE)
def test_a_kill_while_things_are_put_right(name: str, place: Path) -> None:
    kill_twice(name, place, since="replace")


@pytest.mark.slow
@pytest.mark.parametrize("name", TWICE)
def test_a_kill_while_things_are_put_right_whatever_was_left(name: str, place: Path) -> None:
    kill_twice(name, place, since="open")


# ---- file systems that know less, or let this user do less ----

SECOND_WAY = {  # what is done all the same, whatever these calls are answered with, but for a disk that fails
    "rename a folder": {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EBUSY, errno.ENOTEMPTY, errno.EINVAL,
                        errno.ENOSYS, errno.EOPNOTSUPP},
    "rename a file": {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EBUSY, errno.EINVAL, errno.ENOSYS,
                      errno.EOPNOTSUPP},
    "sync": {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP},
    "modes": {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP},
    "times": set(ANSWERS),
    "free room": set(ANSWERS),
    "remove a file": set(),
    "remove a folder": set(),
    "make a folder": set(),
    "lock": {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL},
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_refused(call: str, answer: int, place: Path) -> None:
    """There is a second way or one clear error; what stood before stands, or its successor, and nothing is half."""
    if (call, answer) == ("lock", errno.EACCES):
        pytest.skip("some systems say so of a lock that another process holds")
    for name in ("replace", "checkpoint", "sources"):
        case, root = CASES[name](), place / name
        case.begin(root)
        with refusing(call, answer) as refused:
            try:
                case.act(root)
            except (AdapterShareError, OSError) as error:
                assert isinstance(error, AdapterShareError) or error.errno in DISK_ERRORS, error
                assert not refused or answer not in SECOND_WAY[call], error
            found = case.seen(root)
            assert found == "new" or refused
        assert found in case.allowed(mended=False), name
        case.put_right(root)
        assert case.seen(root) in case.allowed(mended=True), name
        case.act(root)
        assert case.seen(root) == "new"
        assert not [path for path in leftovers(root) if "/." in f"/{path}"]


@pytest.mark.parametrize("name", ["first", "replace", "checkpoint"])
def test_a_kill_while_folders_are_copied_instead_of_renamed(name: str, place: Path) -> None:
    with refusing("rename a folder", errno.EXDEV) as refused:
        test_a_fault_at_each_change(name, None, place)
    assert len(refused) > 20
