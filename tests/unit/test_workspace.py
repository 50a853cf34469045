"""The workspace: keys, publishing, verifying, locks, leftovers, and the memory of sources."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.store.artefact import (
    META,
    Artefact,
    canonical,
    file_sha256,
    request_key,
    verify,
    write_json,
)
from adaptershare_cli.store.disk import ASIDE, PARTIAL
from adaptershare_cli.store.workspace import Workspace

KEY = "0123abcd"
DESCRIBE = {"request": {"a": 1}, "inputs": [], "versions": {}}


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


def writes(text: str = "content", **more: Any) -> Callable[[Path], dict[str, Any]]:
    """A build that writes two files."""

    def build(folder: Path) -> dict[str, Any]:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text(text)
        write_parquet(pa.table({"number": [1, 2, 3]}), folder / "b.parquet")
        return {"info": {"text": text}, **more}

    return build


def publish(space: Workspace, text: str = "content", name: str = "task", key: str = KEY, **more: Any) -> Artefact:
    return space.publish("prepro", name, key, writes(text, **more), DESCRIBE)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# ---- keys ----


def test_key_is_the_hash_of_sorted_json() -> None:
    request = {"b": [1, 2.5, None], "a": {"ü": True}}
    assert canonical(request) == '{"a":{"ü":true},"b":[1,2.5,null]}'
    assert request_key(request) == hashlib.sha256(canonical(request).encode()).hexdigest()[:8]
    assert request_key({"a": {"ü": True}, "b": [1, 2.5, None]}) == request_key(request)
    assert request_key({**request, "b": [2.5, 1, None]}) != request_key(request)


def test_same_table_same_bytes(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"] * 500, "number": list(range(1000))})
    for name in ("one", "two"):
        write_parquet(table, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# ---- publishing ----


def test_publish_and_find(space: Workspace) -> None:
    assert space.find("prepro", "task", KEY) is None
    artefact = publish(space, timing={"seconds": 3.5})
    assert artefact.path == space.root / "prepro" / f"task-{KEY}"
    assert files(artefact.path) == {META, "timing.json", "deep/a.txt", "b.parquet"}
    meta = json.loads((artefact.path / META).read_text())
    assert meta == artefact.meta and meta["format"] == 2
    assert set(meta["files"]) == {"deep/a.txt", "b.parquet"}  # timing.json is not hashed
    for name, entry in meta["files"].items():
        assert entry == {
            "bytes": (artefact.path / name).stat().st_size,
            "sha256": file_sha256(artefact.path / name),
        }
    found = space.find("prepro", "task", KEY)
    assert found == artefact
    assert (found.label, found.name, found.key, found.info) == (f"prepro/task-{KEY}", "task", KEY, {"text": "content"})
    verify(found)
    assert found.table("b.parquet").to_pydict() == {"number": [1, 2, 3]}
    assert space.find("prepro", "task", "ffffffff") is None
    assert space.find("download", "task", KEY) is None


def test_content_is_the_hash_of_the_files_unless_given(space: Workspace) -> None:
    one = publish(space, timing={"seconds": 1})
    again = publish(space, name="other", key="11112222", timing={"seconds": 2})
    changed = publish(space, text="new", key="33334444")
    given = publish(space, key="55556666", content="mine")
    assert one.content == again.content != changed.content
    assert given.content == "mine"


def test_publish_replaces_the_older_one(space: Workspace) -> None:
    publish(space, "old")
    artefact = publish(space, "new")
    assert (artefact.path / "deep" / "a.txt").read_text() == "new"
    assert [path.name for path in (space.root / "prepro").iterdir()] == [f"task-{KEY}"]


@pytest.mark.parametrize("error", [UserError("wrong"), KeyboardInterrupt(), ValueError("bug"), RunError("failed")])
def test_a_failed_build_leaves_the_older_one(space: Workspace, error: BaseException) -> None:
    old = publish(space, "old")

    def build(folder: Path) -> dict[str, Any]:
        writes("half")(folder)
        raise error

    with pytest.raises(type(error)):
        space.publish("prepro", "task", KEY, build, DESCRIBE)
    assert [path.name for path in (space.root / "prepro").iterdir()] == [old.path.name]
    verify(old)
    assert (old.path / "deep" / "a.txt").read_text() == "old"


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_failed_rename_leaves_the_older_one(space: Workspace, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    old = publish(space, "old")
    replace, calls = os.replace, []

    def fail(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(RunError, match="No space left on device"):
            publish(space, "new")
    assert [path.name for path in (space.root / "prepro").iterdir()] == [old.path.name]
    found = space.find("prepro", "task", KEY)
    assert found is not None and found.info == {"text": "old"}
    verify(found)


def test_an_oserror_without_number_says_something(space: Workspace) -> None:
    def build(folder: Path) -> dict[str, Any]:
        raise OSError("the writer gave up")

    with pytest.raises(RunError, match="the writer gave up"):
        space.publish("prepro", "task", KEY, build, DESCRIBE)


def test_files_are_flushed_before_the_rename(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    seen_at_rename: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        seen_at_rename.extend(flushed)
        replace(source, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell which file a descriptor is")
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", rename)
    artefact = publish(space)
    partial = artefact.path.with_name(PARTIAL + artefact.path.name)
    assert {str(partial / name) for name in (META, "deep/a.txt", "b.parquet", "deep")} | {str(partial)} <= set(
        seen_at_rename
    )
    assert flushed[-1] == str(artefact.path.parent)


# ---- verifying ----


def damage_flip(folder: Path) -> None:
    data = bytearray((folder / "b.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "b.parquet").write_bytes(data)


def damage_cut(folder: Path) -> None:
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-1])


def damage_missing(folder: Path) -> None:
    (folder / "b.parquet").unlink()


@pytest.mark.parametrize(
    ("damage", "says"), [(damage_flip, "expected SHA-256"), (damage_cut, "bytes, found"), (damage_missing, "missing")]
)
def test_damage_is_found_and_the_file_is_named(space: Workspace, damage: Callable[[Path], None], says: str) -> None:
    artefact = publish(space)
    damage(artefact.path)
    with pytest.raises(UserError, match=says) as caught:
        verify(artefact)
    assert "b.parquet" in caught.value.what and artefact.label in caught.value.what
    assert caught.value.where == str(artefact.path) and "give the command" in caught.value.fix


def test_page_checksums_are_read(space: Workspace) -> None:
    artefact = publish(space)
    data = bytearray((artefact.path / "b.parquet").read_bytes())
    data[40] ^= 1  # inside the first page
    (artefact.path / "b.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"b\.parquet"):
        artefact.table("b.parquet")


def test_an_artefact_without_its_json_is_none(space: Workspace) -> None:
    artefact = publish(space)
    (artefact.path / META).unlink()
    assert space.find("prepro", "task", KEY) is None
    assert space.artefacts("prepro") == []


@pytest.mark.parametrize(
    ("text", "says"), [("{", "expected JSON, found"), ("[]", "another format"), ('{"format": 1}', "another")]
)
def test_spoilt_json_is_refused(space: Workspace, text: str, says: str) -> None:
    artefact = publish(space)
    (artefact.path / META).write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        space.find("prepro", "task", KEY)
    assert caught.value.where == str(artefact.path) and "give the command" in caught.value.fix


def test_artefacts_come_oldest_first(space: Workspace) -> None:
    keys = ["33333333", "11111111", "22222222"]
    for age, key in enumerate(keys):
        path = publish(space, key=key).path / META
        os.utime(path, ns=(0, (age + 1) * 1_000_000_000))
    (space.root / "prepro" / "notes.txt").write_text("mine")
    (space.root / "prepro" / ".hidden").mkdir()
    assert [artefact.key for artefact in space.artefacts("prepro")] == keys
    assert space.artefacts("train-share") == []


def test_there_is_one_report(space: Workspace) -> None:
    for key in ("11111111", "22222222"):
        space.publish("report", "report", key, writes(key), DESCRIBE)
    assert [path.name for path in space.root.iterdir() if not path.name.startswith(".")] == ["report"]
    assert space.find("report", "report", "11111111") is None
    assert space.find("report", "report", "22222222") is not None


# ---- leftovers and locks ----


def leave_aside(space: Workspace) -> Artefact:
    """As a process leaves it that is killed between its two renames."""
    artefact = publish(space, "old")
    os.replace(artefact.path, artefact.path.with_name(ASIDE + artefact.path.name))
    shutil.copytree(artefact.path.with_name(ASIDE + artefact.path.name),
                    artefact.path.with_name(PARTIAL + artefact.path.name))  # fmt: skip
    return artefact


def test_opening_puts_a_set_aside_artefact_back(space: Workspace) -> None:
    artefact = leave_aside(space)
    assert space.find("prepro", "task", KEY) is None
    found = Workspace(space.root).find("prepro", "task", KEY)
    assert found == artefact
    verify(artefact)
    assert [path.name for path in (space.root / "prepro").iterdir()] == [artefact.path.name]


def test_locking_puts_a_set_aside_artefact_back(space: Workspace) -> None:
    artefact = leave_aside(space)
    with space.lock("prepro", "task", KEY, pytest.fail):
        assert space.find("prepro", "task", KEY) == artefact
        assert [path.name for path in (space.root / "prepro").iterdir()] == [artefact.path.name]


def test_a_set_aside_artefact_gives_way_to_the_new_one(space: Workspace) -> None:
    """Killed after the second rename: the new one stands, the old one is dropped."""
    artefact = publish(space, "new")
    shutil.copytree(artefact.path, artefact.path.with_name(ASIDE + artefact.path.name))
    (artefact.path.with_name(ASIDE + artefact.path.name) / "deep" / "a.txt").write_text("old")
    Workspace(space.root)
    assert [path.name for path in (space.root / "prepro").iterdir()] == [artefact.path.name]
    assert (artefact.path / "deep" / "a.txt").read_text() == "new"


def test_a_set_aside_artefact_that_is_half_removed_is_not_put_back(space: Workspace) -> None:
    artefact = leave_aside(space)
    (artefact.path.with_name(ASIDE + artefact.path.name) / META).unlink()
    assert Workspace(space.root).find("prepro", "task", KEY) is None
    assert not list((space.root / "prepro").iterdir())


def test_opening_removes_partial_folders_also_of_the_report(space: Workspace) -> None:
    publish(space)
    for path in (space.root / "prepro" / f"{PARTIAL}task-11111111", space.root / f"{PARTIAL}report"):
        path.mkdir()
        (path / "half").write_text("half")
    Workspace(space.root)
    assert not list(space.root.rglob(PARTIAL + "*"))


def test_opening_leaves_alone_what_another_process_makes(space: Workspace) -> None:
    partial = space.root / "prepro" / f"{PARTIAL}task-{KEY}"
    with space.lock("prepro", "task", KEY, pytest.fail):
        partial.mkdir(parents=True)
        Workspace(space.root)
        assert partial.is_dir()
    Workspace(space.root)
    assert not partial.exists()


def in_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("stage", "keys"), [("prepro", (KEY, KEY)), ("report", ("11111111", "22222222"))], ids=["artefact", "report"]
)
def test_a_lock_holds_the_second_one_back(space: Workspace, stage: str, keys: tuple[str, str]) -> None:
    """All reports have one folder, so they have one lock whatever their key."""
    order: list[str] = []
    waits = threading.Event()

    def waiting(line: str) -> None:
        order.append(line)
        waits.set()

    def second() -> None:
        with Workspace(space.root).lock(stage, "name", keys[1], waiting):
            order.append("second")

    with space.lock(stage, "name", keys[0], pytest.fail):
        thread = in_thread(second)
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == [f"waiting for another process that makes {stage}/name-{keys[1]}", "first", "second"]


def test_other_artefacts_are_not_held_back(space: Workspace) -> None:
    with space.lock("prepro", "task", KEY, pytest.fail):
        for stage, name, key in (("prepro", "task", "11111111"), ("prepro", "task-2", KEY), ("download", "task", KEY)):
            with Workspace(space.root).lock(stage, name, key, pytest.fail):
                pass


# ---- opening ----


def test_opening_writes_nothing(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "new" / "w")
    assert space.artefacts("prepro") == [] and space.sources() == {}
    assert list(tmp_path.iterdir()) == []
    publish(space)
    assert (tmp_path / "new" / "w" / "prepro").is_dir()


def test_a_relative_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("w", "a/b"):
        artefact = publish(Workspace(Path(name)))
        assert Workspace(tmp_path / name).find("prepro", "task", KEY).meta == artefact.meta  # type: ignore[union-attr]


def test_a_workspace_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere" / "at" / "all")
    with pytest.raises(UserError, match="is a file"):
        Workspace(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be made"):
        Workspace(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(UserError, match="cannot be written"):
        with Workspace(tmp_path / "loose").lock("prepro", "task", KEY, pytest.fail):
            pass


# ---- the memory of sources ----


def test_sources(space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space.remember_sources(["a", "b"], Path("here"))
    space.remember_sources(["b", "c"], tmp_path / "there")
    expected = {"a": str(tmp_path / "here"), "b": str(tmp_path / "there"), "c": str(tmp_path / "there")}
    assert Workspace(space.root).sources() == expected
    before = (space.root / "sources.json").stat()
    space.remember_sources(["a"], Path("here"))
    assert (space.root / "sources.json").stat() == before  # nothing new, nothing written
    assert files(space.root) - {"sources.json"} == {name for name in files(space.root) if name.startswith(".locks/")}


def test_spoilt_sources(space: Workspace) -> None:
    space.root.mkdir()
    (space.root / "sources.json").write_text("{")
    with pytest.raises(UserError, match=r"sources\.json is not JSON") as caught:
        space.sources()
    assert caught.value.where == str(space.root) and "Delete" in caught.value.fix


def test_sources_of_two_processes_at_once(space: Workspace, tmp_path: Path) -> None:
    def remember(name: str) -> Callable[[], None]:
        return lambda: Workspace(space.root).remember_sources([name], tmp_path)

    names = [f"task{number}" for number in range(12)]
    for thread in [in_thread(remember(name)) for name in names]:
        thread.join(30)
    assert set(space.sources()) == set(names)


def test_write_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": "ü", "a": 1})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "ü"\n}\n'
