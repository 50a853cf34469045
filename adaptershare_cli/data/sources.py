"""Sources: from a task's definition to checked rows, whether they come from the hub, a folder or with the task.

`resolve_source` chooses, `source_request` tells what identifies the rows, `read_task` reads and checks them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli import schemas
from adaptershare_cli.data.checks import RowCheck
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.files import DataFile, check_file, is_folder
from adaptershare_cli.data.hub import read_hub_split
from adaptershare_cli.data.names import LONGEST_EXCERPT, folded, readable
from adaptershare_cli.data.readers import read_rows
from adaptershare_cli.data.readers.rows import RowFault, UncheckedRows
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.data.task_kinds import check_metrics
from adaptershare_cli.errors import UserError

_TOLD = 5  # faults that an error message spells out
_COUNTED = 10_000  # faulty rows beyond --max-rejected that are counted
_FEW_LABELS = 20  # so many labels are believed whatever the number of rows


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
    unseen: dict[str, dict[str, int]]  # of a tagging: by split the labels that train never has, and their words


def resolve_source(definition: TaskDefinition, from_folder: Path | None) -> Source:
    """The source to read: `--from FOLDER`, else what the task brings, files beside its definition, or the hub.

    Raises UserError if the folder is none, or if the task has no source that can be used.
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
    faults: list[tuple[str, RowFault]] = []
    labels = definition.labels
    for split in _wanted(definition, spec):
        raw = _read_split(source, spec, split, definition.labels)
        if raw is None:
            continue
        found: list[RowFault] = []
        room = max_rejected + _COUNTED - len(faults)
        splits[split.name] = RowCheck(definition, spec, labels).table(raw, found, room)
        faults += [(split.name, fault) for fault in sorted(found, key=lambda fault: fault.row)]
        if len(found) > room:
            break
        if split.name == "train" and definition.labels_from_train:
            labels = tuple(sorted(pc.unique(_labels(splits["train"])).to_pylist()))
    if len(faults) > max_rejected:
        raise _too_many(definition, source, faults, max_rejected)
    scored = [name for name in definition.report_on if name in splits]
    if not scored:
        what = f"the task `{definition.name}` has nothing to score: {', '.join(definition.report_on)} is absent"
        raise UserError(what, str(source.root or spec.path), "Give at least one of the splits in report_on.")
    for name, table in splits.items():
        if not table.num_rows:
            raise UserError(f"no row of the split `{name}` can be used", _whereabouts(spec, name), "Correct its rows.")
    if not spec.listed:
        _check_pairs(definition, spec, splits)
    if definition.labels_from_train:
        _check_found_labels(definition, spec, labels, len(_labels(splits["train"])))
    missing = tuple(name for name in definition.report_on if name not in splits)
    check_metrics(definition.metrics, labels, _whereabouts(spec, "train"))
    unseen = {name: new for name in scored if spec.listed and (new := _unseen(splits[name], labels))}
    return ReadTask(splits, _rejected_table(faults), labels, missing, unseen)


def _labels(table: pa.Table) -> pa.ChunkedArray:
    """The labels of all rows, of a tagging those of all words."""
    column = table["label"]
    return pc.list_flatten(column) if pa.types.is_list(column.type) else column


def _unseen(table: pa.Table, labels: tuple[str, ...]) -> dict[str, int]:
    """How many words have each label that is none of `labels`, by label."""
    counts = {item["values"]: item["counts"] for item in pc.value_counts(_labels(table)).to_pylist()}
    return {label: counts[label] for label in sorted(counts) if label not in labels}


def _check_pairs(definition: TaskDefinition, spec: SourceSpec, splits: dict[str, pa.Table]) -> None:
    """Raise UserError unless all splits have text pairs or none has."""
    paired = {name: table["text_pair"].null_count == 0 for name, table in splits.items()}
    for name, has_pairs in paired.items():
        if has_pairs != paired["train"]:
            with_pairs, without = (name, "train") if has_pairs else ("train", name)
            what = f"the task `{definition.name}` has text pairs in the split `{with_pairs}`, but none in `{without}`"
            where = f"{_whereabouts(spec, with_pairs)} and {_whereabouts(spec, without)}"
            raise UserError(what, where, "Give every split a column of second texts, or none.")


def _check_found_labels(definition: TaskDefinition, spec: SourceSpec, labels: tuple[str, ...], count: int) -> None:
    """Raise UserError if the labels found in train are too few, too many, or the same but for their writing.

    `count` are the rows (of a tagging the words) that have them.
    """
    where = _whereabouts(spec, "train")
    task = f"train of the task `{definition.name}`"
    if len(labels) < 2:
        raise UserError(
            f"{task} has one label only, {labels[0]!r}", where, f"A {definition.kind} needs at least two labels."
        )
    if len(labels) > _FEW_LABELS and 2 * len(labels) > count:
        fix = "Is it the right column? If so, list the labels in the definition."
        counted = f"{count} {'words' if spec.listed else 'rows'}"
        raise UserError(f"{task} has {len(labels)} labels in {counted}", f"{where}, column {spec.column('label')}", fix)
    alike: dict[str, str] = {}
    for label in labels:
        other = alike.setdefault(folded(label), label)
        if other != label:
            what = f"the labels {other!r} and {label!r} in {task} differ only in case, white space or Unicode form"
            fix = f"Make one of them with `label_map: {{{label}: {other}}}`, or list the labels if they are two."
            raise UserError(what, where, fix)


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


def _places(source: Source, split: SplitSpec) -> dict[str, DataFile] | None:
    """The split's files by role, or None if it is optional and none of them is there."""
    assert source.root is not None
    places = {role: DataFile(path, locate(source.root, path)) for role, path in split.files}
    if split.optional and not any(place.path.exists() for place in places.values()):
        return None
    for place in places.values():
        if not place.path.exists():
            tried = " and ".join(dict.fromkeys([str(source.root / place.name), str(place.path)]))
            what = f"the split `{split.name}` has no file {place.name}"
            raise UserError(what, f"looked for {tried}", "Check --from and the definition's path.")
        if not place.path.resolve().is_relative_to(source.root.resolve()):
            what = f"the file {place.name} leads out of the folder {source.root}"
            fix = "Put the file itself there, or give --from a folder that holds both the link and the file."
            raise UserError(what, f"{place.path} is {place.path.resolve()}", fix)
        check_file(place)
    return places


def _read_split(source: Source, spec: SourceSpec, split: SplitSpec, labels: tuple[str, ...]) -> UncheckedRows | None:
    if source.kind == "hub":
        return read_hub_split(spec, split, labels)
    places = _places(source, split)
    return None if places is None else read_rows(places, split, spec)


def _too_many(definition: TaskDefinition, source: Source, faults: list[tuple[str, RowFault]], limit: int) -> UserError:
    """The error for more faulty rows than may be rejected; where they are very many, not all were counted."""
    told = [_sentence(fault, "" if source.root else f" ({split})") for split, fault in faults[:_TOLD]]
    if len(faults) > _TOLD:
        told.append(f"and {len(faults) - _TOLD} more")
    all_counted = len(faults) <= limit + _COUNTED
    count = "1 row" if len(faults) == 1 else f"{'' if all_counted else 'at least '}{len(faults)} rows"
    what = f"{count} of the task `{definition.name}` cannot be used ({limit} may be rejected)"
    place = f"in {source.root}: " if source.root else ""
    fix = f"Correct them, or let them go to rejected.parquet with --max-rejected {len(faults)}."
    if not all_counted:
        fix = "Check the definition's reader, its options and its columns."
    if definition.labels and any("not one of the labels" in fault.reason for _, fault in faults):
        fix += " Labels that are written otherwise in the data need a label_map in the definition."
    return UserError(what, place + "; ".join(told), fix)


def _sentence(fault: RowFault, split: str) -> str:
    column = f", column {readable(fault.column)}" if fault.column else ""
    value = fault.value if len(fault.value) <= 60 else fault.value[:60] + "…"
    return f"{fault.file}{split}, row {fault.row}{column}: {value!r} {fault.reason}"


def _rejected_table(faults: list[tuple[str, RowFault]]) -> pa.Table:
    rows = [
        {
            "split": split,
            "file": fault.file,
            "row": fault.row,
            "column": readable(fault.column),
            "value": readable(fault.value)[:LONGEST_EXCERPT],
            "reason": readable(fault.reason),
        }
        for split, fault in faults
    ]
    return pa.Table.from_pylist(rows, schema=schemas.REJECTED)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", str(path), "Give a readable file.") from error
