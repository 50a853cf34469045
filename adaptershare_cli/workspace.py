"""Where artefacts live: keys, publishing, verifying, locks and the memory of where tasks come from.

An artefact is a folder `<stage>/<name>-<key>/` that is whole once its `artefact.json` stands: that file is written
last, and the folder is renamed into place only then. `artefact.json` holds the SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from adaptershare_cli.errors import RunError, UserError

FORMAT = 1
META = "artefact.json"
UNHASHED = frozenset({META, "timing.json"})
PARTIAL, ASIDE = ".partial-", ".aside-"
STAGES = ("download", "prepro", "train-single", "train-share", "correlate", "report")
CHECKPOINTS = "checkpoints"

# Raised whenever the results of a stage change; a method or a measure has its own number in its registry.
CODE_VERSIONS = {"download": 1, "prepro": 2, "train-single": 2, "train-share": 2, "correlate": 1, "report": 1}


@dataclass(frozen=True)
class Artefact:
    """A whole artefact: its folder and what its `artefact.json` says."""

    path: Path
    meta: dict[str, Any]

    @property
    def label(self) -> str:
        """`stage/name-key`, as users see it."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def name(self) -> str:
        """The task or method."""
        return self.meta["name"]

    @property
    def key(self) -> str:
        """Eight hex digits."""
        return self.meta["key"]

    @property
    def content(self) -> str:
        """Fingerprint of what it holds; keys of later stages build on it."""
        return self.meta["content"]

    @property
    def info(self) -> dict[str, Any]:
        """What the stage recorded for later stages."""
        return self.meta["info"]

    def table(self, file: str, columns: list[str] | None = None) -> pa.Table:
        """Read one Parquet file (or some of its columns), its page checksums verified."""
        try:
            return pq.read_table(self.path / file, columns=columns, page_checksum_verification=True, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise damaged(self, f"{file}: {error}") from error


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the text that keys are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def request_key(request: dict[str, Any]) -> str:
    """The first 8 hex digits of the SHA-256 of a request: stage, code version, settings, inputs."""
    return hashlib.sha256(canonical(request).encode()).hexdigest()[:8]


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write one Parquet file: zstd, page checksums; the same table gives the same bytes."""
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def damaged(artefact: Artefact, what: str) -> UserError:
    """The error for an artefact that is not what its `artefact.json` says."""
    stage = artefact.meta.get("stage", "")
    fix = f"Make it anew with `adaptershare {stage} --force`, or delete the folder."
    if stage not in STAGES:  # a checkpoint
        fix = "Train anew with --force, or delete the folder to go on from an earlier checkpoint."
    return UserError(f"The artefact {artefact.label} is damaged: {what}", where=str(artefact.path), fix=fix)


def _unwritable(root: Path, reason: str | None) -> UserError:
    return UserError(f"The workspace cannot be written: {reason}", str(root), "Give another folder with --workspace.")


class Workspace:
    """A folder of artefacts, made when the first is. Opening it clears what a killed process left behind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
        if not there.is_dir():
            what = "The workspace is a file" if there == root else f"The workspace cannot be made: {there} is a file"
            raise UserError(what, where=str(root), fix="Give a folder with --workspace.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise _unwritable(root, "Permission denied")
        self._clear_leftovers()

    # ---- finding ----

    def path(self, stage: str, name: str, key: str) -> Path:
        """Where the artefact with this key is, or would be. There is one report, in `report/`."""
        if stage == "report":
            return self.root / "report"
        return self.root / stage / f"{name}-{key}"

    def find(self, stage: str, name: str, key: str) -> Artefact | None:
        """The whole artefact with this key, or None."""
        found = self.read(self.path(stage, name, key))
        return found if found is not None and found.key == key else None

    def read(self, path: Path) -> Artefact | None:
        """The artefact in `path`, or None where there is no `artefact.json`. Raises UserError if that is not JSON."""
        try:
            meta = json.loads((path / META).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise damaged(Artefact(path, {"stage": path.parent.name}), f"{META} is not JSON ({error})") from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT or "files" not in meta:
            raise damaged(Artefact(path, {"stage": path.parent.name}), f"{META} has another format")
        return Artefact(path, meta)

    def artefacts(self, stage: str) -> list[Artefact]:
        """All whole artefacts of a stage, oldest first (by the time of `artefact.json`, then by name)."""
        folder = self.root / stage
        found = [self.read(path) for path in folder.iterdir() if path.is_dir() and path.name[0] != "."] \
            if folder.is_dir() else []  # fmt: skip
        whole = [artefact for artefact in found if artefact is not None]
        return sorted(whole, key=lambda a: ((a.path / META).stat().st_mtime_ns, a.path.name))

    def verify(self, artefact: Artefact) -> None:
        """Read every hashed file and compare. Raises UserError that names the file, expected and found."""
        for name, entry in artefact.meta["files"].items():
            path = artefact.path / name
            if not path.is_file():
                raise damaged(artefact, f"{name} is missing")
            if path.stat().st_size != entry["bytes"]:
                raise damaged(artefact, f"{name}: expected {entry['bytes']} bytes, found {path.stat().st_size}")
            found = file_sha256(path)
            if found != entry["sha256"]:
                raise damaged(artefact, f"{name}: expected SHA-256 {entry['sha256'][:12]}…, found {found[:12]}…")

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

        `build(folder)` writes the files and returns `{"content": …, "info": …, "timing": …}` (content: by default the
        hash of all files); `describe` goes into `artefact.json` (request, inputs, versions).
        """
        final = self.path(stage, name, key)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(PARTIAL + final.name)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            built = build(partial)
            if built.get("timing") is not None:
                write_json(partial / "timing.json", built["timing"])
            files = _hash_files(partial)
            content = built.get("content") or hashlib.sha256(canonical(files).encode()).hexdigest()
            meta = {
                "format": FORMAT, "stage": stage, "name": name, "key": key, **describe,
                "content": content, "info": built.get("info", {}), "files": files,
            }  # fmt: skip
            write_json(partial / META, meta)
            _sync_tree(partial)
            _swap_in(partial, final)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            what = f"Could not publish {stage}/{final.name}: {error.strerror or error}"
            raise RunError(what, where=str(error.filename or final)) from error
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return Artefact(final, meta)

    @contextmanager
    def lock(self, stage: str, name: str, key: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the artefact's lock and clear its leftovers; `waiting` is told where another process has it."""
        final = self.path(stage, name, key)
        lock = self._file_lock(final)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting(f"waiting for another process that makes {stage}/{name}-{key}")
            lock.acquire()
        try:
            self._recover(final)
            yield
        finally:
            lock.release()

    def _file_lock(self, path: Path) -> FileLock:
        """The lock of one path of the workspace (by path, as all reports share one)."""
        try:
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.root, error.strerror) from error
        return FileLock(self.root / ".locks" / ("-".join(path.relative_to(self.root).parts) + ".lock"))

    def _clear_leftovers(self) -> None:
        """Recover every artefact that a killed process left half-way; those that are being made now are left alone."""
        for folder in (self.root, *(self.root / stage for stage in STAGES)):
            for prefix in (PARTIAL, ASIDE):
                for leftover in sorted(folder.glob(prefix + "*")):
                    final = leftover.with_name(leftover.name.removeprefix(prefix))
                    try:
                        with self._file_lock(final).acquire(timeout=0):
                            self._recover(final)
                    except Timeout:
                        continue

    def _recover(self, final: Path) -> None:
        """Put a set-aside artefact back if the rename never came, and remove partial folders."""
        aside = final.with_name(ASIDE + final.name)
        if aside.exists() and not final.exists():
            os.replace(aside, final)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(final.with_name(PARTIAL + final.name), ignore_errors=True)

    # ---- the memory of sources ----

    def sources(self) -> dict[str, str]:
        """Task name -> folder that `--from` named, as far as the workspace remembers."""
        try:
            return json.loads((self.root / "sources.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"sources.json is not JSON: {error}", where=str(self.root), fix="Delete it.") from error

    def remember_sources(self, tasks: list[str], folder: Path) -> None:
        """Remember that these tasks come from `folder`."""
        with self._file_lock(self.root / "sources"):
            before = self.sources()
            known = {**before, **{task: str(folder.resolve()) for task in tasks}}
            if known == before:
                return
            temporary = self.root / ".sources.json"
            write_json(temporary, known)
            os.replace(temporary, self.root / "sources.json")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON with sorted keys, flushed to the disk."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in UNHASHED)
    return {p.relative_to(folder).as_posix(): {"sha256": file_sha256(p), "bytes": p.stat().st_size} for p in files}


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap_in(partial: Path, final: Path) -> None:
    aside = final.with_name(ASIDE + final.name)
    if final.exists():
        os.replace(final, aside)
    try:
        os.replace(partial, final)
    except BaseException:
        if aside.exists():
            os.replace(aside, final)
        raise
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    shutil.rmtree(aside, ignore_errors=True)
