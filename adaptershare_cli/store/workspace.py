"""Where artefacts live: publishing, locks, leftovers and the memory of where tasks come from.

An artefact is a folder `<stage>/<name>-<key>/` that is whole once its `artefact.json` stands: that file is written
last, and the folder is renamed into place only then.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, SoftFileLock, Timeout
from safetensors import SafetensorError

from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.store.artefact import (
    CHECKPOINTS,
    GROUPS,
    META,
    ORIGIN,
    STAGES,
    TIMING,
    TRUTH,
    Artefact,
    canonical,
    digest,
    hash_files,
    read_artefact,
    request_key,
    seal,
    write_json,
)
from adaptershare_cli.store.disk import (
    ASIDE,
    PARTIAL,
    begin_folder,
    discard,
    follow_umask,
    publish_failure,
    recover,
    replace_file,
    swap_in,
    sync,
    sync_tree,
)
from adaptershare_cli.store.locks import State, lock_state, open_lock

__all__ = ["CHECKPOINTS", "CODE_VERSIONS", "GROUPS", "STAGES", "TRUTH", "Artefact", "Workspace", "canonical",
           "request_key", "write_json"]  # fmt: skip

LOCK_GRACE = 0.3  # seconds: nobody is told to wait for a lock that is held this shortly
LOCKS = ".locks"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")

# Raised whenever the results of a stage change; a method or a measure has its own number in its registry. `scores`,
# `selection` and `verdict` are artefacts of correlate that are no measure.
CODE_VERSIONS = {"download": 2, "prepro": 4, "train-single": 3, "train-share": 3, "correlate": 2, "report": 8, TRUTH: 1,
                 GROUPS: 1, "scores": 1, "selection": 2, "verdict": 1}  # fmt: skip


class Workspace:
    """A folder of artefacts, made when the first is. Opening it clears what a killed process left behind.

    `command`, which does not name the workspace, is recorded as the origin of what is published. With `writing=False`
    nothing is touched: what a killed process left behind can be looked at. A folder that this user cannot write to is
    not `writable`: what is there can be read.
    """

    def __init__(self, root: Path, command: str = "", writing: bool = True) -> None:
        self.root, self.command = root, command
        try:
            str(root.absolute()).encode()
        except UnicodeEncodeError as error:  # not every library that writes here could name its files
            raise _unwritable(root, "its path is not UTF-8") from error
        there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
        if not there.is_dir():
            what = "The workspace is a file" if there == root else f"The workspace cannot be made: {there} is a file"
            raise UserError(what, where=str(root), fix="Give a folder with --workspace.")
        self._there = there
        self.writable = writing and all(
            os.access(folder, os.W_OK | os.X_OK) for folder in (there, root / LOCKS) if folder.exists()
        )
        if writing and not self.writable and there != root:
            raise self.unwritable()
        if self.writable:
            self._clear_leftovers()

    def unwritable(self, why: str = "") -> UserError:
        """The error for what has to be made in a workspace that is not `writable`."""
        read_only = hasattr(os, "statvfs") and os.statvfs(self._there).f_flag & os.ST_RDONLY
        return _unwritable(self.root, os.strerror(errno.EROFS if read_only else errno.EACCES) + why)

    # ---- finding ----

    def path(self, stage: str, name: str, key: str) -> Path:
        """Where the artefact with this key is, or would be. There is one report, in `report/`.

        Raises UserError where a name, or a symbolic link in the way, would lead out of the workspace.
        """
        if stage == "report":
            return self.inside(self.root / "report")
        for part in (*stage.split("/", 1), name, key):  # a checkpoint's stage is checkpoints/RUN
            if not _NAME.fullmatch(part):
                raise UserError(f"{part!r} cannot be part of an artefact's name")
        return self.inside(self.root / stage / f"{name}-{key}")

    def inside(self, path: Path) -> Path:
        """`path`; raises UserError where a symbolic link makes it lead out of the workspace."""
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):  # links in a circle
            inside = False
        if not inside:
            raise UserError(
                f"{path.relative_to(self.root)} leads out of the workspace, through a symbolic link",
                where=str(path),
                fix="Put a folder in the link's place. (The workspace itself may be a link.)",
            )
        return path

    def find(self, stage: str, name: str, key: str) -> Artefact | None:
        """The whole artefact with this key, or None. Raises UserError as `read_artefact` does."""
        found = read_artefact(self.path(stage, name, key))
        return found if found is not None and found.key == key else None

    def artefacts(self, stage: str, unreadable: Callable[[Path, UserError], None] | None = None) -> list[Artefact]:
        """All artefacts of a stage, oldest first (by the time of `artefact.json`, then by name).

        Where `artefact.json` is not what a stage wrote, `unreadable` is told; without it UserError is raised.
        """
        found = []
        for path in self.folders(stage):
            try:
                artefact = None if path.name.startswith(".") else read_artefact(self.inside(path))
            except UserError as error:
                if unreadable is None:
                    raise
                unreadable(path, error)
                continue
            if artefact is not None:
                found.append(artefact)
        return sorted(found, key=lambda a: (a.made, a.path.name))

    def folders(self, stage: str) -> list[Path]:
        """All folders of a stage by name, also those that are hidden, as they are half made."""
        folder = self.inside(self.root / stage)
        if not folder.is_dir():
            return []
        return [path for path in sorted(folder.iterdir()) if path.is_dir()]

    # ---- publishing ----

    def publish(
        self,
        stage: str,
        name: str,
        key: str,
        build: Callable[[Path], dict[str, Any]],
        describe: dict[str, Any],
    ) -> Artefact:
        """Build an artefact in a partial folder, then rename it into place; an older one stands until then.

        `build(folder)` writes the files and returns `{"content": …, "info": …, "timing": …, "origin": …}` (content: by
        default the hash of all files; timing and origin are not hashed); `describe` goes into `artefact.json` (request,
        inputs, versions). Raises RunError where the disk does not take it.
        """
        final = self.path(stage, name, key)
        partial = final.with_name(PARTIAL + final.name)
        try:
            begin_folder(partial)
            built = build(partial)
            if built.get("timing") is not None:
                write_json(partial / TIMING, built["timing"])
            origin = {**({"command": self.command} if self.command else {}), **built.get("origin", {})}
            if origin:
                write_json(partial / ORIGIN, origin)
            follow_umask(partial)
            files = hash_files(partial)
            content = built.get("content") or digest(files)
            info = built.get("info", {})
            meta = seal({"stage": stage, "name": name, "key": key, **describe, "content": content, "info": info,
                         "files": files})  # fmt: skip
            write_json(partial / META, meta)
            sync_tree(partial)
            swap_in(partial, final)
        except (OSError, SafetensorError) as error:
            failure = publish_failure(error, final, partial)
            discard(partial)
            raise failure from error
        except BaseException:
            discard(partial)
            raise
        return Artefact(final, meta)

    @contextmanager
    def lock(
        self, stage: str, name: str, key: str, waiting: Callable[[str], None], wait: bool = True
    ) -> Iterator[None]:
        """Hold the artefact's lock and clear its leftovers.

        Where another process has it, `waiting` is told and this one waits; without `wait` RunError is raised. The lock
        is the system's: it ends with the process that holds it, however that ends.
        """
        final = self.path(stage, name, key)
        lock = self._open_lock(final)
        try:
            lock.acquire(timeout=LOCK_GRACE)
        except Timeout:
            if not wait:
                raise RunError(
                    f"Another process is making {stage}/{name}-{key}",
                    where=str(self.root),
                    fix="Try again when it is done, or leave --no-wait out to wait for it.",
                ) from None
            mark = f" (or, if that was killed on another machine, until you delete {lock.lock_file})"
            by_file = mark if isinstance(lock, SoftFileLock) else ""
            waiting(f"waiting for another process that makes {stage}/{name}-{key}{by_file}")
            lock.acquire()
        try:
            recover(final)
            yield
        finally:
            lock.release()

    def remove(self, path: Path, locked_as: Path | None = None) -> bool:
        """Delete the folder of an artefact, unless a process holds its lock, or that of `locked_as`: then False.

        What a killed process left in its place is recovered, as by everyone who takes the lock. Raises RunError where
        the disk refuses.
        """
        final = self.inside(path).with_name(path.name.removeprefix(PARTIAL).removeprefix(ASIDE))
        try:
            with self._open_lock(locked_as or final).acquire(timeout=0):
                recover(final)
                if path == final:
                    discard(final)
        except Timeout:
            return False
        if os.path.lexists(path):
            raise RunError("What is to be deleted cannot be removed", str(path), "Look who owns its files.")
        return True

    def held_locks(self) -> list[str]:
        """The names of artefacts whose locks processes hold now, with a hyphen after the stage, in order."""
        names = {file.stem for file in (self.root / LOCKS).glob("*") if file.is_file()}
        return sorted(name for name in names if lock_state(self.root / LOCKS / f"{name}.lock") == "held")

    def lock_state(self, path: Path) -> State:
        """Whether a process holds the lock of this artefact's folder now, as far as that can be seen."""
        return lock_state(self._lock_path(path))

    def _lock_path(self, path: Path) -> Path:
        """By the folder, not the key, as all reports share one."""
        return self.root / LOCKS / ("-".join(path.relative_to(self.root).parts) + ".lock")

    def _open_lock(self, path: Path) -> BaseFileLock:
        file = self.inside(self._lock_path(path))
        try:
            return open_lock(file)
        except OSError as error:
            raise _unwritable(self.root, f"{error.strerror}: {file}") from error

    def _clear_leftovers(self) -> None:
        """Recover every artefact that a killed process left half-way; those that are being made now are left alone.

        Those of checkpoints wait for their run to go on, as they are under its lock.
        """
        for folder in (self.root, *(self.root / stage for stage in (*STAGES, TRUTH, GROUPS))):
            for prefix in (PARTIAL, ASIDE):
                for leftover in sorted(folder.glob(prefix + "*")):
                    final = self.inside(leftover.parent) / leftover.name.removeprefix(prefix)
                    try:
                        with self._open_lock(final).acquire(timeout=0):
                            recover(final)
                    except Timeout:
                        continue

    # ---- the memory of sources ----

    def sources(self) -> dict[str, str]:
        """Task name -> folder that `--from` named, as far as the workspace remembers."""
        try:
            known = json.loads((self.root / "sources.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._no_sources(f"is not JSON: {error}") from error
        if not isinstance(known, dict) or not all(isinstance(folder, str) for folder in known.values()):
            raise self._no_sources("does not name a folder for each task")
        return known

    def _no_sources(self, what: str) -> UserError:
        return UserError(f"sources.json {what}", str(self.root), "Delete it, and give --from once more.")

    def remember_sources(self, tasks: list[str], folder: Path) -> None:
        """Remember that these tasks come from `folder`, in a workspace that can be written."""
        if not self.writable:
            return
        with self._open_lock(self.root / "sources"):
            before = self.sources()
            known = {**before, **{task: str(folder.resolve()) for task in tasks}}
            if known == before:
                return
            temporary = self.root / ".sources.json"
            discard(temporary)
            write_json(temporary, known)
            sync(temporary)
            replace_file(temporary, self.root / "sources.json")
            sync(self.root)


def _unwritable(root: Path, reason: str | None) -> UserError:
    return UserError(f"The workspace cannot be written: {reason}", str(root), "Give another folder with --workspace.")
