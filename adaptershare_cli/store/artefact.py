"""One artefact: what its `artefact.json` says, whether that holds, and its files.

`artefact.json` has the SHA-256 of every file and, as `checksum`, of itself: a byte that changed anywhere is found.
Beside the hashed files lie `timing.json` (durations) and `origin.json` (the command that made it, and where its encoder
lay): they may differ between two makings of the same artefact.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from adaptershare_cli.errors import UserError
from adaptershare_cli.parquet_files import read_parquet

FORMAT = 2
META, TIMING, ORIGIN = "artefact.json", "timing.json", "origin.json"
PARTIAL, ASIDE = ".partial-", ".aside-"
CHECKPOINTS = "checkpoints"
TRUTH = "truth"  # the trainings behind correlate's measured truths, of which only the scores are kept
OWN = "own"  # rows that were given in memory, with their definitions
GROUPS = "groups"  # groups of tasks under one adapter a layer, which plan search puts together
UNHASHED = frozenset({META, TIMING, ORIGIN})
STAGES = ("download", "prepro", "train-single", "train-share", "correlate", "report")
TRAININGS = ("train-single", "train-share", TRUTH, GROUPS)  # where runs, and what they are made of, stand
FOLDERS = (*STAGES, TRUTH, GROUPS, CHECKPOINTS)  # of a workspace
FIELDS: dict[str, type] = {
    "stage": str, "name": str, "key": str, "request": dict, "inputs": list, "content": str, "info": dict,
    "files": dict,
}  # fmt: skip


class Unreadable(UserError):
    """A file of an artefact that this user may not read; nothing is known of what is in it."""

    def __init__(self, file: Path, error: PermissionError) -> None:
        fix = "Ask its owner for the right to read it."
        super().__init__(f"{file.name} cannot be read: {error.strerror}", where=str(file), fix=fix)


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

    @property
    def made(self) -> int:
        """When it was made, in nanoseconds; 0 where it was replaced or removed since it was read."""
        try:
            return (self.path / META).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @property
    def command(self) -> str:
        """The command that makes it anew where it lies now; "" where that is not known any more."""
        # One that an earlier version recorded names the workspace as it was then; what stands last counts.
        root, command = workspace_of(self.path).absolute(), self.recorded_command
        return shlex.join([*_own_found(command, root), "--workspace", str(root)]) if command else ""

    @property
    def recorded_command(self) -> str:
        """The command that made it, without the workspace; "" where that is not known any more."""
        return self._origin("command")

    @property
    def encoder_folder(self) -> str:
        """Where the encoder lay that a run was trained on, on the machine that made it; "" where that is not known."""
        return self._origin("encoder")

    def _origin(self, name: str) -> str:
        try:
            found = json.loads((self.path / ORIGIN).read_text(encoding="utf-8"))[name]
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return found if isinstance(found, str) else ""

    def file(self, name: str) -> Path:
        """The path of one of its files. Raises UserError for a name that `artefact.json` does not list."""
        if name not in self.meta["files"]:
            raise damaged(self, f"{META} lists no file {name}")
        return self.path / name

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read one Parquet file (or some of its columns), its page checksums verified."""
        try:
            return read_parquet(self.file(name), columns)
        except (OSError, pa.ArrowException) as error:
            raise damaged(self, f"{name}: {error}") from error

    def timing(self) -> dict[str, float]:
        """How long its making took, in seconds, by part."""
        try:
            timing = json.loads((self.path / TIMING).read_text(encoding="utf-8"))
            return {str(part): float(seconds) for part, seconds in timing.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise damaged(self, f"{TIMING} cannot be read ({error})") from error


def _own_found(command: str, root: Path) -> list[str]:
    """The words of a command; rows of the user's own, kept in the workspace, are where that lies now."""
    moved = {path.name: str(path) for path in (root / OWN).glob("*")}

    def found(path: str) -> str:
        folder, _, name = path.rpartition("/")
        return moved.get(name, path) if folder.endswith(f"/{OWN}") else path

    return [",".join(map(found, word.split(","))) for word in shlex.split(command)]


def workspace_of(path: Path) -> Path:
    """The workspace that the folder of an artefact, half made perhaps, or of a checkpoint lies in."""
    for folder in (path, *path.parents):
        if folder.name.removeprefix(PARTIAL).removeprefix(ASIDE) in FOLDERS:
            return folder.parent
    return path.parent.parent


def read_artefact(path: Path) -> Artefact | None:
    """The artefact in the folder `path`, or None where there is no `artefact.json`.

    Raises UserError where that file is not what a stage wrote. The other files are looked at by `verify`.
    """
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise Unreadable(path / META, error) from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(Artefact(path, {}), f"{META}: expected JSON, found: {error}") from error
    fault = _fault(meta)
    if fault:
        raise damaged(Artefact(path, {}), f"{META} {fault}")
    return Artefact(path, meta)


def _fault(meta: Any) -> str:
    """What is wrong with the content of an `artefact.json`, or ""."""
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else None
        return f"has another format: expected {FORMAT}, found {found}"
    expected, found = checksum(meta), meta.get("checksum")
    if found != expected:
        return f"was changed after it was written: expected SHA-256 {expected[:12]}…, found {str(found)[:12]}…"
    for name, kind in FIELDS.items():
        if not isinstance(meta.get(name), kind):
            return f"has no usable field {name!r}"
    for name, entry in meta["files"].items():
        if not _is_inside(name):
            return f"names a file outside its folder: {name!r}"
        sha256, size = (entry.get("sha256"), entry.get("bytes")) if isinstance(entry, dict) else (None, None)
        if not isinstance(sha256, str) or type(size) is not int:
            return f"has no usable entry for {name!r}"
    return ""


def _is_inside(name: str) -> bool:
    """Whether a file's name, written with /, leads to a place below the folder, on any system."""
    parts = PurePosixPath(name).parts
    odd = not name.isprintable() or any(sign in name for sign in "\\:")  # C:\x leads elsewhere on Windows
    return bool(parts) and not odd and parts[0] != "/" and ".." not in parts


def verify(artefact: Artefact) -> None:
    """Read every hashed file and compare. Raises UserError that names the file, expected and found."""
    verify_sizes(artefact)
    for name, entry in artefact.meta["files"].items():
        try:
            found = file_sha256(artefact.path / name)
        except PermissionError as error:
            raise Unreadable(artefact.path / name, error) from error
        if found != entry["sha256"]:
            raise damaged(artefact, f"{name}: expected SHA-256 {entry['sha256'][:12]}…, found {found[:12]}…")


def verify_sizes(artefact: Artefact) -> None:
    """As `verify`, but without reading: every file is there, is no link and has its size."""
    folder = artefact.path.resolve()
    for name, entry in artefact.meta["files"].items():
        path = artefact.path / name
        if path.is_symlink() or path.resolve() != folder / name:
            raise damaged(artefact, f"{name} is a symbolic link")
        if not path.is_file():
            raise damaged(artefact, f"{name} is missing")
        if path.stat().st_size != entry["bytes"]:
            raise damaged(artefact, f"{name}: expected {entry['bytes']} bytes, found {path.stat().st_size}")


def damaged(artefact: Artefact, what: str) -> UserError:
    """The error for an artefact that is not what its `artefact.json` says."""
    stage = artefact.path.parent.name if artefact.path.parent.name in STAGES else artefact.path.name
    if artefact.command:
        fix = f"Delete the folder, then run: {artefact.command}"
    elif stage in STAGES:
        fix = "Delete the folder, then give the command that made it once more."
    else:  # a checkpoint
        fix = "Delete the folder to go on from an earlier checkpoint."
    return UserError(f"The artefact {artefact.label} is damaged: {what}", where=str(artefact.path), fix=fix)


# ---- writing ----


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the text that keys are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """The SHA-256 of a JSON-able value, in hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def request_key(request: dict[str, Any]) -> str:
    """The first 8 hex digits of the SHA-256 of a request: stage, code version, settings, inputs."""
    return digest(request)[:8]


def checksum(meta: dict[str, Any]) -> str:
    """The SHA-256 of what an `artefact.json` says, but for its own checksum."""
    return digest({name: value for name, value in meta.items() if name != "checksum"})


def seal(meta: dict[str, Any]) -> dict[str, Any]:
    """The content of an `artefact.json` as it will be read back, with format and checksum."""
    meta = json.loads(canonical({**meta, "format": FORMAT}))
    return {**meta, "checksum": checksum(meta)}


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON with sorted keys."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file in a folder that counts, by its name with /."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {n: {"sha256": file_sha256(p), "bytes": p.stat().st_size} for n, p in files.items() if n not in UNHASHED}
