"""Where a task's rows come from: the hub, a folder of files, or files that come with its definition.

`resolve_source` chooses, `source_request` tells what identifies the rows, `files_of` finds a split's files.
"""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.files import DataFile, check_file, is_folder
from adaptershare_cli.data.names import readable
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from; `root` is the folder that its paths start at, None for the hub."""

    kind: Literal["hub", "folder", "embedded"]
    root: Path | None


def resolve_source(definition: TaskDefinition, from_folder: Path | None) -> Source:
    """The source to read: `--from FOLDER`, else what the task brings, files beside its definition, or the hub.

    Raises UserError if there is no such folder, or if the task has no source that can be used.
    """
    task = f"the task `{definition.name}`"
    if from_folder is not None:
        if not is_folder(from_folder):
            raise UserError(f"`{from_folder}` is not a folder", "--from", "Give the folder that holds the data.")
        if str(from_folder.resolve()) != readable(str(from_folder.resolve())):  # the workspace remembers it
            raise UserError("the folder's path is not UTF-8", "--from", "Rename the folder, or make a link to it.")
        if definition.files:
            return Source("folder", from_folder)
        if not definition.embedded:
            fix = "Leave --from out to read it from the hub, or add a `files` block."
            raise UserError(f"{task} has no `files` block, so --from has no meaning for it", str(definition.path), fix)
    if definition.embedded:
        return Source("embedded", definition.folder)
    if definition.files:
        train = definition.files.split("train")
        paths = [name for _, path in train.files for name in _names(definition.folder, path)] if train else []
        if paths and all(locate(definition.folder, path).is_file() for path in paths):
            return Source("folder", definition.folder)
    if definition.hub:
        return Source("hub", None)
    fix = "Give the folder that holds its files with --from FOLDER."
    raise UserError(f"{task} does not say where its data lies", str(definition.path), fix)


def locate(root: Path, path: str) -> Path:
    """`root/path`; if the path's first folder is not in root, root is taken for that folder itself."""
    first, *rest = PurePosixPath(path).parts or (".",)
    return root / path if not rest or (root / first).exists() else root.joinpath(*rest)


def source_request(definition: TaskDefinition, source: Source) -> dict[str, Any]:
    """What identifies the rows, as JSON values: the hub's address, or each file's path and SHA-256.

    Paths are those of the definition, so the request is the same wherever the folder lies. Raises UserError for
    files that are missing.
    """
    spec = spec_of(definition, source)
    if source.kind == "hub":
        return {"kind": "hub", "path": spec.path, "name": spec.name, "revision": spec.revision}
    several = [files for split in splits_to_read(definition, spec) for files in files_of(source, split) or ()]
    found = [file for files in several for file in files.values()]
    paths = {file.name: file.path for file in found}
    return {"kind": source.kind, "files": {name: _sha256(paths[name]) for name in sorted(paths)}}


def check_files(definition: TaskDefinition, source: Source) -> None:
    """Raise UserError for files of a source that are missing; none is read."""
    if source.kind != "hub":
        for split in splits_to_read(definition, spec_of(definition, source)):
            files_of(source, split)


def spec_of(definition: TaskDefinition, source: Source) -> SourceSpec:
    """What the definition says of the source; UserError if it says nothing."""
    name = "files" if source.kind == "folder" else source.kind
    spec: SourceSpec | None = getattr(definition, name)
    if spec is None:
        raise UserError(f"the task `{definition.name}` has no `{name}` block", str(definition.path), "Add one.")
    return spec


def splits_to_read(definition: TaskDefinition, spec: SourceSpec) -> list[SplitSpec]:
    """Train, then the scored splits that the source lists, in the order of report_on."""
    return [split for name in ("train", *definition.report_on) if (split := spec.split(name))]


def files_of(source: Source, split: SplitSpec) -> list[dict[str, DataFile]] | None:
    """The split's files by role, one after the other where there are several; None if it is optional and not there.

    Raises UserError for one that is missing, not an ordinary file, or outside the source's folder.
    """
    assert source.root is not None
    by_role = any(role for role, _ in split.files)
    found = [(role, name) for role, written in split.files for name in _names(source.root, written)]
    files = [(role, DataFile(name, locate(source.root, name))) for role, name in found]
    if split.optional and not any(file.path.exists() for _, file in files):
        return None
    for _, file in files:
        _check_place(file, source.root, split)
    if by_role:
        return [dict(files)]
    return [{role: file} for role, file in files]


def _names(root: Path, written: str) -> list[str]:
    """The files that a path means, as a definition would write each: itself, or the sorted ones that fit a pattern."""
    if not any(sign in written for sign in "*?") or locate(root, written).exists():
        return [written]
    first, *rest = PurePosixPath(written).parts
    inside = not rest or root.resolve().name != first or (root / first).exists()
    pattern = (written if inside else "/".join(rest)).replace("[", "[[]")
    found = sorted(Path(name).as_posix() for name in glob.glob(pattern, root_dir=root, recursive=True))
    names = [name if inside else f"{first}/{name}" for name in found if (root / name).is_file()]
    return names or [written]


def _check_place(file: DataFile, root: Path, split: SplitSpec) -> None:
    if not file.path.exists():
        tried = " and ".join(dict.fromkeys([str(root / file.name), str(file.path)]))
        what = f"the split `{split.name}` has no file {file.name}"
        raise UserError(what, f"looked for {tried}", "Check --from and the definition's path.")
    if not file.path.resolve().is_relative_to(root.resolve()):
        what = f"the file {file.name} leads out of the folder {root}"
        fix = "Put the file itself there, or give --from a folder that holds both the link and the file."
        raise UserError(what, f"{file.path} is {file.path.resolve()}", fix)
    check_file(file)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", str(path), "Give a readable file.") from error
