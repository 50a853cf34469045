"""One task's definition as frozen values, with the fingerprint that goes into the keys of its artefacts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Fields that came after the first artefacts were made, with the value at which a fingerprint leaves them out, so that
# artefacts of tasks that do not use them keep their keys. Every new field belongs here.
_NEWER_FIELDS: dict[str, Any] = {"listed": ()}
# What a fingerprint does not depend on.
_UNIMPORTANT = ("suite", "folder", "path", "description", "aliases")


@dataclass(frozen=True)
class SplitSpec:
    """Where one split lies: `files` pairs a role with a relative path.

    The role is "" for a split in one file (or the split's name on the hub); the reader `lines` has one file a role.
    `key` chooses a list inside a file of the reader `clinc`.
    """

    name: str
    files: tuple[tuple[str, str], ...]
    key: str = ""
    optional: bool = False


@dataclass(frozen=True)
class SourceSpec:
    """What a definition says of one source (hub, files or embedded), with all defaults filled in."""

    kind: str
    splits: tuple[SplitSpec, ...]
    # By role (text, text_pair, label) the name of its column, or its number from 0 where there is no header.
    columns: tuple[tuple[str, str | int], ...] = (("text", "text"), ("text_pair", "text_pair"), ("label", "label"))
    pair_if_present: bool = True  # text_pair was not written down: it is read where the data has it
    label_map: tuple[tuple[str, str], ...] = ()  # (value in the data, label), sorted
    reader: str = ""  # of files and embedded
    quoting: str = ""  # none | standard, of readers that know quotes
    header: bool = True
    path: str = ""  # of the hub, with name and revision
    name: str | None = None
    revision: str | None = None
    listed: tuple[str, ...] = ()  # roles whose values may be lists (`Kind.listed`)

    def split(self, name: str) -> SplitSpec | None:
        """The split of that name, or None if the source does not list it."""
        return next((split for split in self.splits if split.name == name), None)

    def column(self, role: str) -> str | int | None:
        """The name or number of a role's column; None if it is not read."""
        return dict(self.columns).get(role)


@dataclass(frozen=True)
class TaskDefinition:
    """One labelled data set: what its labels are, how it is scored, and where its rows may come from."""

    name: str
    suite: str
    kind: str
    description: str
    aliases: tuple[str, ...]
    labels: tuple[str, ...]  # () for a regression, or if they are collected from train
    labels_from_train: bool
    range: tuple[float, float] | None
    metrics: tuple[str, ...]  # the first is the main one
    report_on: tuple[str, ...]
    hub: SourceSpec | None
    files: SourceSpec | None
    embedded: SourceSpec | None
    folder: Path
    path: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of name and content; not of place, description, aliases, comments or key order."""
        content = _without_newer(asdict(self))
        for name in _UNIMPORTANT:
            del content[name]
        for name in ("hub", "files", "embedded"):
            if content[name] is not None:
                content[name] = _source_content(content[name])
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _source_content(source: dict[str, Any]) -> dict[str, Any]:
    """A source's part of the fingerprint, in which each column is an entry of its own."""
    content = _without_newer(source)
    if "text" in content.pop("listed", ()):
        content["words"] = True
    return {"text_pair": None, **dict(content.pop("columns")), **content}


def _without_newer(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in _NEWER_FIELDS or value != _NEWER_FIELDS[name]}
