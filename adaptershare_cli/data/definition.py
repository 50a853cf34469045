"""One task's definition, as it is read from a YAML file, and the fingerprint that goes into the keys of artefacts.

Whatever is wrong with a file becomes an error that names file and key in `parse_definition`, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adaptershare_cli.data.key_faults import KeyFault, check_one_of, inside
from adaptershare_cli.data.names import name_fault, near_names, path_fault, shortened
from adaptershare_cli.data.readers import OPTIONS, READERS, Reader
from adaptershare_cli.data.readers.parting import SPLIT
from adaptershare_cli.data.source_spec import SourceSpec
from adaptershare_cli.data.split_specs import needed_roles, split_specs
from adaptershare_cli.data.task_file import FilesBlock, HubBlock, TaskFile, TaskKeys
from adaptershare_cli.data.yaml_files import load_yaml
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, check_metrics, of_one_label
from adaptershare_cli.kinds.base import EXTRAS, Kind
from adaptershare_cli.kinds.metrics import own
from adaptershare_cli.kinds.rows.texts import folded

_SOURCES = ("hub", "files", "embedded")
# What a fingerprint does not depend on.
_UNIMPORTANT = ("suite", "folder", "path", "description", "aliases")
# Keys and fields that came after the first artefacts were made, with the value at which a fingerprint leaves them out,
# so that artefacts of tasks that do not use them keep their keys. Every new one belongs here.
_NEWER: dict[str, Any] = {"listed": (), "positive": None, "comment": "", "encoding": "", "delimiter": "", "decimal": "",
                          "records": "", "missing": (), "drop": "", "skip_rows": 0, "others": (),
                          "normalise": False}  # fmt: skip
_FIXES_OF_MISSING = {"splits": "Write it so: splits: {train: PATH, dev: PATH}."}


class TaskDefinition(TaskKeys):
    """One labelled data set: what its labels are, how it is scored, and where its rows may come from."""

    name: str
    suite: str
    labels: tuple[str, ...]  # () where they are those that train has
    normalise: bool  # labels that differ only in case, white space or Unicode form are one
    hub: SourceSpec | None
    files: SourceSpec | None
    embedded: SourceSpec | None
    folder: Path
    path: Path

    @property
    def labels_from_train(self) -> bool:
        """Whether the labels are those that train has."""
        return KINDS[self.kind].labelled and not self.labels

    @property
    def _newly_positive(self) -> str | None:
        """`positive`, or None where scores are those of definitions that could not say it: of two labels the second."""
        former = not of_one_label(self.metrics) or self.labels[1:] == (self.positive,)
        return None if former else self.positive

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of name and content; not of place, description, aliases, comments or key order."""
        content = {key: value for key, value in self if key not in _UNIMPORTANT}
        content = _without_newer(content | {"positive": self._newly_positive})
        content["labels_from_train"] = self.labels_from_train
        for name in _SOURCES:
            if content[name] is not None:
                content[name] = _content_of(content[name])
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _content_of(source: SourceSpec) -> dict[str, Any]:
    """A source's part of the fingerprint, in which each column is an entry of its own."""
    content = _without_newer(asdict(source))
    for split in content["splits"]:
        for key in ("share", "values"):  # newer than the first artefacts, too
            if not split[key]:
                del split[key]
    if content.pop("listed", ()):
        content["words"] = True
    return {"text_pair": None, **dict(content.pop("columns")), **content}


def _without_newer(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in _NEWER or value != _NEWER[name]}


def parse_definition(file: Path, suite: str = "") -> TaskDefinition:
    """Read one YAML file. Raises UserError that names the file and the key at fault."""
    if reason := name_fault(file.stem):
        raise UserError(f"`{file.stem}` cannot be a task's name: {reason}", str(file), "Rename the file.")
    content = load_yaml(file, list(TaskFile.model_fields))
    try:
        return _definition(TaskFile.model_validate(content), file, suite)
    except ValidationError as error:
        first = error.errors()[0]  # a KeyFault, or a key that is missing
        keys = [str(key) for key in first["loc"]]
        fault = first["ctx"]["error"] if "ctx" in first else KeyFault("is missing", _FIXES_OF_MISSING.get(keys[-1], ""))
        fault.keys = (*keys, *fault.keys)
    except KeyFault as error:
        fault = error
    raise UserError(shortened(fault.sentence(".".join(fault.keys))), str(file), fault.fix)


def _definition(task: TaskFile, file: Path, suite: str) -> TaskDefinition:
    """The definition that a file gives. Raises KeyFault where its keys do not fit each other."""
    kind = KINDS[task.kind]
    _check_answers(task, kind)
    _check_order(task, kind)
    with inside("metrics"):
        metrics = tuple(_metric(metric, kind, file.parent) for metric in task.metrics)
    labels = task.labels.names
    if labels:
        check_metrics(metrics, labels, str(file))
    if task.positive:
        with inside("positive"):
            _check_positive(task, kind)
    sources: dict[str, SourceSpec | None] = {}
    for name in _SOURCES:
        with inside(name):
            block = getattr(task, name)
            sources[name] = _source(name, block, kind, labels, task.report_on) if block else None
    _check_splits(task.report_on, [source for source in sources.values() if source])
    suite = suite or file.resolve().parent.name
    place = {"name": file.stem, "suite": suite, "folder": file.parent, "path": file}
    said = {"labels": labels, "normalise": task.labels.normalise}
    with inside("labels"):
        _check_alike(labels, task.labels.normalise)
    return TaskDefinition.model_construct(**{**dict(task), **said, "metrics": metrics, **sources, **place})


def _metric(written: str, kind: Kind, folder: Path) -> str:
    """A metric's name; of a user's own, written as a file in `folder` and its function, with that file's hash."""
    if not own.is_own(written):
        return check_one_of(kind.metric_names, written)
    if fault := path_fault(written.rpartition(":")[0]):
        raise KeyFault(f"names `{written}`, which is no file beside the definition: {fault}")
    try:
        return own.named(written, folder)
    except own.BadMetric as error:
        raise KeyFault(f"names `{written}`, which {error}", "Write it so: metrics: [cost.py:cost].") from error


def _check_answers(task: TaskFile, kind: Kind) -> None:
    """Kinds with labels need those, kinds with a range need that, and no other kind may have them."""
    for key, trait in (("labels", "labelled"), ("range", "ranged")):
        needed, written = getattr(kind, trait), key in task.model_fields_set
        if needed and not written:
            raise KeyFault("is missing", keys=[key])
        if written and not needed:
            others = [name for name, other in KINDS.items() if getattr(other, trait)]
            fix = f"Take it out, or write kind: {others[0]}."
            raise KeyFault(f"belongs to a {' or '.join(others)}", fix, [key])


def _check_alike(labels: Sequence[str], normalise: bool) -> None:
    """Labels that are one when they are normalised cannot be two in the list."""
    seen: dict[str, str] = {}
    for label in labels if normalise else ():
        if (other := seen.setdefault(folded(label), label)) != label:
            raise KeyFault(f"has `{other}` and `{label}`, which are one with normalise", "Keep one.", ["names"])


def _check_order(task: TaskFile, kind: Kind) -> None:
    """Labels that have an order must be listed: train does not tell it."""
    if kind.ordered and not task.labels.names:
        fix = "Write them from the lowest to the highest: labels: [bad, ok, good]."
        raise KeyFault("cannot be from-train, as that does not tell their order", fix, ["labels"])


def _check_positive(task: TaskFile, kind: Kind) -> None:
    """It is one of the labels, as far as these are known by now, and a metric asks for it."""
    if not of_one_label(task.metrics):
        fitting = [name for name in kind.metric_names if of_one_label([name])]
        fix = "Take it out" + (f", or add {' or '.join(fitting)} to metrics." if fitting else ".")
        raise KeyFault(f"means nothing to {', '.join(task.metrics)}", fix)
    if task.labels.names:
        check_one_of(task.labels.names, task.positive)


def _source(
    name: str, block: HubBlock | FilesBlock, kind: Kind, labels: tuple[str, ...], report_on: Sequence[str]
) -> SourceSpec:
    """One source with its defaults filled in."""
    header, form = True, "file"
    names: tuple[str, ...] = ()
    defaults: Mapping[str, str] = {}
    details: dict[str, Any]
    if isinstance(block, HubBlock):
        details = {"path": block.path, "name": block.name, "revision": block.revision}
    else:
        reader = READERS[block.reader]
        _check_reader(block, reader, kind)
        header, form = block.header and not reader.numbered_columns, reader.splits
        details = {"reader": reader.name, "quoting": block.quoting or reader.quoting, "header": header}
        details["comment"] = block.comment or ""
        details |= {"missing": block.missing, "skip_rows": block.skip_rows}
        details |= {key: getattr(block, key) or "" for key in ("encoding", "delimiter", "decimal", "records", "drop")}
        if block.decimal and not kind.ranged:
            raise KeyFault("belongs to a regression", "Take it out.", ["decimal"])
        names, defaults = reader.columns, reader.defaults
    _check_label_map(block, kind, labels)
    with inside("columns"):
        extras = EXTRAS if isinstance(block, HubBlock) or "split_column" in reader.options else ()
        written = block.columns.only([*kind.roles, *extras]) if block.columns else {}
        columns = _columns({**defaults, **written}, kind, header)
        for role, column in columns.items() if names else ():
            with inside(role):
                check_one_of(names, str(column))
    if isinstance(block, FilesBlock) and block.split_column:
        with inside("split_column"):
            columns[SPLIT] = _split_column(block.split_column.name, columns, header)
        details["others"] = block.split_column.leave_out
    splits = split_specs(name, block, form, written, kind, report_on)
    return SourceSpec(
        kind=name,
        splits=splits,
        columns=tuple(columns.items()),
        pair_if_present=header and "text_pair" in kind.roles and "text_pair" not in written,
        label_map=block.label_map,
        listed=kind.listed,
        **details,
    )


def _check_reader(block: FilesBlock, reader: Reader, kind: Kind) -> None:
    if ("words" if "text" in kind.listed else "texts") not in reader.rows:
        what = f"cannot be `{reader.name}` in a task of kind {kind.name}"
        raise KeyFault(what, "Choose another reader.", ["reader"])
    for key in OPTIONS:
        if key in block.model_fields_set and key not in reader.options:
            raise KeyFault(f"means nothing to the reader `{reader.name}`", "Take it out.", [key])


def _check_label_map(block: HubBlock | FilesBlock, kind: Kind, labels: tuple[str, ...]) -> None:
    if "label_map" in block.model_fields_set and not kind.labelled:
        raise KeyFault("belongs to a classification", "Take it out.", ["label_map"])
    for value, label in block.label_map:
        if labels and label not in labels:
            fix = f"{near_names(label, labels)}Labels: {', '.join(labels)}."
            raise KeyFault(f"gives `{label}`, which is not among the labels", fix, ["label_map", value])


def _columns(written: Mapping[str, str], kind: Kind, header: bool) -> dict[str, str | int]:
    """The column of each role that is read: as written, else of the role's name; a number where there is no header."""
    columns: dict[str, str | int] = {role: written.get(role, role) for role in kind.roles if header or role in written}
    columns |= {role: written[role] for role in EXTRAS if role in written}
    if not header:
        for role, number in written.items():
            if not number.isascii() or not number.isdigit():
                raise KeyFault("must be a column number, counted from 0, as there is no header", keys=[role])
            columns[role] = int(number)
        for role in needed_roles(kind):
            if role not in written:
                raise KeyFault("is missing", "Without a header each column needs its number, from 0.", [role])
    if len(set(columns.values())) < len(columns):
        raise KeyFault("names one column for two things")
    return columns


def _split_column(name: str, columns: Mapping[str, str | int], header: bool) -> str | int:
    """The name, or number, of the column that says of which split a row is."""
    if not header and not (name.isascii() and name.isdigit()):
        raise KeyFault("must be a column number, counted from 0, as there is no header", keys=["name"])
    column = name if header else int(name)
    if column in columns.values():
        raise KeyFault("names a column that is there for something else", keys=["name"])
    return column


def _check_splits(report_on: Sequence[str], sources: Sequence[SourceSpec]) -> None:
    """Every source gives something to score, every scored split has a source, and no split goes unused."""
    if not sources:
        raise KeyFault("the task has no source", "Give one of hub, files and embedded.")
    if "train" in report_on:
        raise KeyFault("cannot hold train", keys=["report_on"])
    for source in sources:
        listed = {split.name for split in source.splits} - {"train"}
        with inside(source.kind, "splits"):
            if not listed & set(report_on):
                raise KeyFault("has none of the splits in report_on", f"({', '.join(report_on)})")
            for name in sorted(listed - set(report_on)):
                raise KeyFault("would never be used", "Put it into report_on or take it out.", [name])
    for name in report_on:
        if not any(source.split(name) for source in sources):
            fix = "Correct the name, or add it to splits."
            raise KeyFault(f"names `{name}`, which no source has", fix, ["report_on"])
