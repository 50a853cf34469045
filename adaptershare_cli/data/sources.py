"""Sources: from a task's definition to checked rows, whether they come from the hub, a folder or with the task.

`resolve_source` chooses, `source_request` tells what identifies the rows, `read_task` reads and checks them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.data.definition import SourceSpec, SplitSpec, TaskDefinition, check_metrics
from adaptershare_cli.data.hub import read_hub_split
from adaptershare_cli.data.readers import Fault, Place, RawRows, read_rows
from adaptershare_cli.errors import UserError

_TOLD = 5  # faults that an error message spells out
_CHARACTERS = 200  # of a rejected value that are kept
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from; `root` is the folder that its paths start at, None for the hub."""

    kind: Literal["hub", "folder", "embedded"]
    root: Path | None


@dataclass
class ReadTask:
    """The checked rows of a task: `splits` by name in schemas.downloaded(kind), train first."""

    splits: dict[str, pa.Table]
    rejected: pa.Table  # schemas.REJECTED
    labels: tuple[str, ...]  # of the definition, or collected from train in sorted order; () for a regression
    missing: tuple[str, ...]  # splits of report_on that the source does not have


def resolve_source(definition: TaskDefinition, from_folder: Path | None) -> Source:
    """The source to read: `--from FOLDER`, else what the task brings, files beside its definition, or the hub.

    Raises UserError if the folder is none, or if the task has no source that can be used.
    """
    task = f"the task `{definition.name}`"
    if from_folder is not None:
        if not from_folder.is_dir():
            raise UserError(f"`{from_folder}` is not a folder", "--from", "Give the folder that holds the data.")
        if definition.files:
            return Source("folder", from_folder)
        if not definition.embedded:
            fix = "Leave --from out to read it from the hub, or add a `files` block."
            raise UserError(f"{task} has no `files` block, so --from has no meaning for it", str(definition.path), fix)
    if definition.embedded:
        return Source("embedded", definition.folder)
    if definition.files:
        train = definition.files.split("train")
        if train and all(locate(definition.folder, path).is_file() for _, path in train.files):
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
    spec = _spec(definition, source)
    if source.kind == "hub":
        return {"kind": "hub", "path": spec.path, "name": spec.name, "revision": spec.revision}
    places = {
        place.name: place.path
        for split in _wanted(definition, spec)
        for place in (_places(source, split) or {}).values()
    }
    return {"kind": source.kind, "files": {name: _sha256(places[name]) for name in sorted(places)}}


def read_task(definition: TaskDefinition, source: Source, max_rejected: int = 0) -> ReadTask:
    """Read train and the scored splits, and check each row.

    Rows that cannot be used go to `rejected`, at most `max_rejected` over all splits. Raises UserError for more
    of them, for files whose structure is at fault, and if train or every scored split is absent or left empty.
    """
    spec = _spec(definition, source)
    splits: dict[str, pa.Table] = {}
    faults: list[tuple[str, Fault]] = []
    labels = definition.labels
    for split in _wanted(definition, spec):
        raw = _read_split(source, spec, split, definition.labels)
        if raw is None:
            continue
        checked = _Check(definition, spec, labels).rows(raw)
        splits[split.name] = checked
        faults += [(split.name, fault) for fault in sorted(raw.faults, key=lambda fault: fault.row)]
        if split.name == "train" and definition.labels_from_train:
            labels = tuple(sorted(set(checked["label"].to_pylist())))
    _check_rejected(definition, source, faults, max_rejected)
    scored = [name for name in definition.report_on if name in splits]
    if not scored:
        what = f"the task `{definition.name}` has nothing to score: {', '.join(definition.report_on)} is absent"
        raise UserError(what, str(source.root or spec.path), "Give at least one of the splits in report_on.")
    for name, table in splits.items():
        if not table.num_rows:
            raise UserError(f"no row of the split `{name}` can be used", _whereabouts(spec, name), "Correct its rows.")
    if definition.labels_from_train and len(labels) < 2:
        what = f"train of the task `{definition.name}` has one label only, {labels[0]!r}"
        raise UserError(what, _whereabouts(spec, "train"), "A classification needs at least two labels.")
    missing = tuple(name for name in definition.report_on if name not in splits)
    check_metrics(definition.metrics, labels, _whereabouts(spec, "train"))
    return ReadTask(splits, _rejected_table(faults), labels, missing)


def _spec(definition: TaskDefinition, source: Source) -> SourceSpec:
    blocks = {"hub": definition.hub, "folder": definition.files, "embedded": definition.embedded}
    spec = blocks[source.kind]
    if spec is None:
        block = "files" if source.kind == "folder" else source.kind
        raise UserError(f"the task `{definition.name}` has no `{block}` block", str(definition.path), "Add one.")
    return spec


def _wanted(definition: TaskDefinition, spec: SourceSpec) -> list[SplitSpec]:
    """Train, then the scored splits that the block lists, in the order of report_on."""
    return [split for name in ("train", *definition.report_on) if (split := spec.split(name))]


def _whereabouts(spec: SourceSpec, name: str) -> str:
    split = spec.split(name)
    return ", ".join(path for _, path in split.files) if split else name


def _places(source: Source, split: SplitSpec) -> dict[str, Place] | None:
    """The split's files by role, or None if it is optional and none of them is there."""
    assert source.root is not None
    places = {role: Place(path, locate(source.root, path)) for role, path in split.files}
    if split.optional and not any(place.path.exists() for place in places.values()):
        return None
    for place in places.values():
        if not place.path.exists():
            tried = " and ".join(dict.fromkeys([str(source.root / place.name), str(place.path)]))
            what = f"the split `{split.name}` has no file {place.name}"
            raise UserError(what, f"looked for {tried}", "Check --from and the definition's path.")
    return places


def _read_split(source: Source, spec: SourceSpec, split: SplitSpec, labels: tuple[str, ...]) -> RawRows | None:
    if source.kind == "hub":
        return read_hub_split(spec, split, labels)
    places = _places(source, split)
    return None if places is None else read_rows(places, split, spec)


class _Check:
    """Checks raw rows against a definition and makes them a table; what fails is added to the rows' faults."""

    def __init__(self, definition: TaskDefinition, spec: SourceSpec, labels: tuple[str, ...]) -> None:
        self.kind = definition.kind
        self.range = definition.range
        self.names = dict(spec.label_map)
        self.labels = frozenset(labels)
        shown = ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
        seen = "that train has" if definition.labels_from_train else ""
        self.no_label = f"is not one of the labels {seen}".rstrip() + f" ({shown})"

    def rows(self, raw: RawRows) -> pa.Table:
        checks: dict[str, Callable[[Any], tuple[Any, str]]] = {
            "text": _text,
            "text_pair": _text,
            "label": self._number if self.kind == "regression" else self._label,
        }
        roles = [(role, checks[role], raw.values[role]) for role in raw.values]
        kept: dict[str, list[Any]] = {"row": [], "text": [], "text_pair": [], "label": []}
        for index, position in enumerate(raw.positions):
            row: dict[str, Any] = {"row": position, "text_pair": None}
            for role, check, values in roles:
                row[role], reason = check(values[index])
                if reason:
                    value = "" if values[index] is None else str(values[index])
                    raw.faults.append(Fault(raw.files[role], raw.lines[index], raw.names[role], value, reason))
                    break
            else:
                for name, column in kept.items():
                    column.append(row[name])
        return pa.table(kept, schema=schemas.downloaded(self.kind))

    def _label(self, raw: Any) -> tuple[str, str]:
        if isinstance(raw, bool):
            raw = "true" if raw else "false"  # as JSON writes them
        elif isinstance(raw, int):
            raw = str(raw)
        text, reason = _text(raw)
        if reason:
            return "", reason
        label = self.names.get(text.strip(), text.strip())
        return label, "" if not self.labels or label in self.labels else self.no_label

    def _number(self, raw: Any) -> tuple[float, str]:
        if isinstance(raw, str) and not _NUMBER.fullmatch(raw):
            finite = raw.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity")
            return 0.0, "is not a number" if finite else "is not a finite number"
        try:
            number = math.nan if raw is None or isinstance(raw, bool) else float(raw)
        except (OverflowError, TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            return 0.0, "is not a finite number" if isinstance(raw, float | int | str) else "is not a number"
        low, high = self.range or (-math.inf, math.inf)
        return number, "" if low <= number <= high else f"is outside the range {low:g} to {high:g}"


def _text(raw: Any) -> tuple[str, str]:
    """The text, or why it is none."""
    if not isinstance(raw, str):
        return "", "is missing" if raw is None else f"is not text but {_TYPES.get(type(raw), type(raw).__name__)}"
    if "\0" in raw:
        return "", "holds a NUL byte"
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            return "", "is not valid UTF-8"
    return raw, "" if raw.strip() else "is empty"


_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def _check_rejected(definition: TaskDefinition, source: Source, faults: list[tuple[str, Fault]], limit: int) -> None:
    if len(faults) <= limit:
        return
    told = [_sentence(fault, "" if source.root else f" ({split})") for split, fault in faults[:_TOLD]]
    if len(faults) > _TOLD:
        told.append(f"and {len(faults) - _TOLD} more")
    count = "1 row" if len(faults) == 1 else f"{len(faults)} rows"
    what = f"{count} of the task `{definition.name}` cannot be used ({limit} may be rejected)"
    place = f"in {source.root}: " if source.root else ""
    fix = f"Correct them, or let them go to rejected.parquet with --max-rejected {len(faults)}."
    if definition.labels and any("not one of the labels" in fault.reason for _, fault in faults):
        fix += " Labels that are written otherwise in the data need a label_map in the definition."
    raise UserError(what, place + "; ".join(told), fix)


def _sentence(fault: Fault, split: str) -> str:
    column = f", column {_clean(fault.column)}" if fault.column else ""
    value = fault.value if len(fault.value) <= 60 else fault.value[:60] + "…"
    return f"{fault.file}{split}, row {fault.row}{column}: {value!r} {fault.reason}"


def _rejected_table(faults: list[tuple[str, Fault]]) -> pa.Table:
    rows = [
        {
            "split": split,
            "file": fault.file,
            "row": fault.row,
            "column": _clean(fault.column),
            "value": _clean(fault.value)[:_CHARACTERS],
            "reason": _clean(fault.reason),
        }
        for split, fault in faults
    ]
    return pa.Table.from_pylist(rows, schema=schemas.REJECTED)


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: bytes that were none come out as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", str(path), "Give a readable file.") from error
