"""One task definition: what a YAML file may say, checked and parsed into frozen values."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from adaptershare_cli.data.blocks import Block, load_yaml, near_names
from adaptershare_cli.data.names import name_fault, path_fault
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, METRICS
from adaptershare_cli.kinds.base import ROLES, Kind
from adaptershare_cli.kinds.rows.texts import label_fault

# What a block may say beside reader, splits and label_map, for each reader.
READER_KEYS: dict[str, tuple[str, ...]] = {
    "tsv": ("columns", "quoting", "header"),
    "csv": ("columns", "quoting", "header"),
    "jsonl": ("columns",),
    "parquet": ("columns",),
    "lines": ("columns",),
    "clinc": (),
    "conll": ("columns",),
}
TEXT_READERS, WORD_READERS = ("clinc",), ("conll",)  # readers whose rows are always texts, or lists of words
_TASK_KEYS = (
    "kind", "description", "aliases", "labels", "range", "metrics", "report_on", "hub", "files", "embedded",
)  # fmt: skip
# Never one word alone: `datasets` takes `pandas` and the like for its own readers of the current folder's files, and
# that one unpickles them.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_RESERVED_SPLITS = ("heldout", "select", "rejected")  # the stages write files of these names


@dataclass(frozen=True)
class SplitSpec:
    """Where one split lies: `files` pairs a role with a relative path.

    The role is "" for a split in one file (or the split's name on the hub); the `lines` reader has one file a
    role. `key` chooses a list inside a `clinc` file.
    """

    name: str
    files: tuple[tuple[str, str], ...]
    key: str = ""
    optional: bool = False


@dataclass(frozen=True)
class SourceSpec:
    """One `hub`, `files` or `embedded` block with its defaults filled in."""

    kind: str
    splits: tuple[SplitSpec, ...]
    text: str | int = "text"
    text_pair: str | int | None = "text_pair"
    label: str | int = "label"
    pair_if_present: bool = True  # text_pair was not written down: it is read where the data has it
    label_map: tuple[tuple[str, str], ...] = ()  # (raw value, label name), sorted
    reader: str = ""
    quoting: str = ""  # none | standard, for tsv and csv
    header: bool = True
    path: str = ""  # the three of a hub block
    name: str | None = None
    revision: str | None = None
    listed: tuple[str, ...] = ()  # roles whose values may be lists (`Kind.listed`)

    def split(self, name: str) -> SplitSpec | None:
        """The split of that name, or None if the block does not list it."""
        return next((split for split in self.splits if split.name == name), None)


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
        content = dataclasses.asdict(self)
        for unimportant in ("suite", "folder", "path", "description", "aliases"):
            del content[unimportant]
        for spec in (content["hub"], content["files"], content["embedded"]):
            if spec and "text" in spec.pop("listed"):
                spec["words"] = True  # said of these alone, so that artefacts keep their keys
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_definition(file: Path, suite: str = "") -> TaskDefinition:
    """Read one YAML file. Raises UserError that names the file and the key at fault."""
    name = file.stem
    if fault := name_fault(name):
        raise UserError(f"`{name}` cannot be a task's name: {fault}", str(file), "Rename the file.")
    top = Block(file, "", load_yaml(file, _TASK_KEYS), _TASK_KEYS)
    kind = KINDS[top.choice("kind", tuple(KINDS))]
    labels, from_train = _labels(top, kind)
    metrics = top.choices("metrics", kind.metric_names)
    if labels:
        check_metrics(metrics, labels, str(file))
    blocks = {key: _source(top, key, labels, kind) for key in ("hub", "files", "embedded")}
    report_on = top.texts("report_on")
    _check_splits(top, report_on, [block for block in blocks.values() if block])
    return TaskDefinition(
        name=name,
        suite=suite or file.resolve().parent.name,
        kind=kind.name,
        description=top.text("description", ""),
        aliases=top.texts("aliases", ()),
        labels=labels,
        labels_from_train=from_train,
        range=_range(top, kind),
        metrics=metrics,
        report_on=report_on,
        folder=file.parent,
        path=file,
        **blocks,
    )


def check_metrics(metrics: Sequence[str], labels: Sequence[str], where: str) -> None:
    """Raise UserError for a metric that the labels do not allow."""
    for metric in metrics:
        if fault := METRICS[metric].labels_fault(labels):
            raise UserError(fault[0], where, fault[1])


def _labels(top: Block, kind: Kind) -> tuple[tuple[str, ...], bool]:
    if not kind.labelled:
        if "labels" in top:
            top.fail("labels", "belongs to a classification", "Take it out, or write kind: classification.")
        return (), False
    if top.values.get("labels") == "from-train":
        return (), True
    labels = tuple(label.strip() for label in top.texts("labels"))
    if len(labels) < 2:
        top.fail("labels", "needs at least two labels")
    if len(set(labels)) < len(labels):
        top.fail("labels", "names something twice")
    _check_labels(top, "labels", labels)
    return labels, False


def _check_labels(block: Block, key: str, labels: Iterable[str]) -> None:
    for label in labels:
        if fault := label_fault(label):
            block.fail(key, f"has a label that {fault}: {label[:40]!r}")


def _range(top: Block, kind: Kind) -> tuple[float, float] | None:
    if not kind.ranged:
        if "range" in top:
            top.fail("range", "belongs to a regression", "Take it out, or write kind: regression.")
        return None
    written = top.texts("range")
    try:
        low, high = (float(value) for value in written)
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(high - low) and low < high):
        top.fail("range", "must be two numbers, the lower one first", "Write it so: range: [0, 5].")
    return low, high


def _source(top: Block, kind: str, labels: tuple[str, ...], task_kind: Kind) -> SourceSpec | None:
    if kind not in top:
        return None
    if kind == "hub":
        block = top.block(kind, ("path", "name", "revision", "splits", "columns", "label_map"))
        own: dict[str, Any] = {
            "path": _hub_id(block),
            "name": block.text("name") if "name" in block else None,
            "revision": block.text("revision") if "revision" in block else None,
        }
    else:
        every = tuple(dict.fromkeys(key for keys in READER_KEYS.values() for key in keys))
        block = top.block(kind, ("reader", "splits", *every, "label_map"))
        reader = block.choice("reader", tuple(READER_KEYS))
        if reader in (TEXT_READERS if "text" in task_kind.listed else WORD_READERS):
            block.fail("reader", f"cannot be `{reader}` in a task of kind {task_kind.name}", "Choose another reader.")
        for key in every:
            if key in block and key not in READER_KEYS[reader]:
                block.fail(key, f"means nothing to the reader `{reader}`", "Take it out.")
        delimited = "quoting" in READER_KEYS[reader]
        quoting = block.choice("quoting", ("none", "standard"), "none" if reader == "tsv" else "standard")
        header = reader != "conll" and block.flag("header", True)
        own = {"reader": reader, "quoting": quoting if delimited else "", "header": header}
    label_map = _label_map(block, labels, task_kind)
    columns = _columns(block, own.get("header", True), task_kind.roles)
    splits = _splits(block, own.get("reader", ""), columns, task_kind.roles)
    return SourceSpec(kind=kind, splits=splits, label_map=label_map, listed=task_kind.listed, **columns, **own)


def is_hub_id(path: str) -> bool:
    """Whether a text names a repository of the hub, and nothing that `datasets` would look for on this machine."""
    return bool(_HUB_ID.fullmatch(path)) and ".." not in path


def _hub_id(block: Block) -> str:
    path = block.text("path")
    if not is_hub_id(path):
        block.fail("path", f"cannot be a hub id: `{path}`", "Write it so: path: OWNER/NAME.")
    return path


def _label_map(block: Block, labels: tuple[str, ...], task_kind: Kind) -> tuple[tuple[str, str], ...]:
    if "label_map" not in block:
        return ()
    if not task_kind.labelled:
        block.fail("label_map", "belongs to a classification", "Take it out.")
    written = block.block("label_map", block.values["label_map"])
    pairs = [(raw.strip(), written.text(raw).strip()) for raw in written.values]
    if not all(raw for raw, _ in pairs) or len({raw for raw, _ in pairs}) < len(pairs):
        block.fail("label_map", "has an empty value, or one twice", "White space at the ends does not count.")
    _check_labels(block, "label_map", (label for _, label in pairs))
    for raw, label in pairs:
        if labels and label not in labels:
            fix = f"{near_names(label, labels)}Labels: {', '.join(labels)}."
            written.fail(raw, f"gives `{label}`, which is not among the labels", fix)
    return tuple(sorted(pairs))


def _columns(block: Block, header: bool, roles: tuple[str, ...]) -> dict[str, Any]:
    written = block.block("columns", roles) if "columns" in block else None
    given: dict[str, Any] = {role: written.text(role) for role in roles if written and role in written}
    columns: dict[str, Any] = {"pair_if_present": "text_pair" not in given, **given}
    if not header:
        for role, value in given.items():
            if not value.isascii() or not value.isdigit():
                block.fail(f"columns.{role}", "must be a column number, counted from 0, as there is no header")
            columns[role] = int(value)
        for role in ("text", "label"):
            if role not in given:
                block.fail(f"columns.{role}", "is missing", "Without a header each column needs its number, from 0.")
    if not header or "text_pair" not in roles:
        columns.update({"text_pair": columns.get("text_pair"), "pair_if_present": False})
    used = [columns.get(role, role) for role in ROLES if columns.get(role, role) is not None]
    if len(set(used)) < len(used):
        block.fail("columns", "names one column for two things")
    return columns


def _splits(block: Block, reader: str, columns: dict[str, Any], roles: tuple[str, ...]) -> tuple[SplitSpec, ...]:
    if "splits" not in block:
        block.fail("splits", "is missing", "Write it so: splits: {train: PATH, dev: PATH}.")
    splits = block.block("splits", block.values["splits"])
    if "train" not in splits:
        splits.fail("train", "is missing")
    for name in splits.values:
        fault = "the stages write a file of that name" if name.lower() in _RESERVED_SPLITS else name_fault(name)
        if fault:
            splits.fail(name, f"cannot be a split's name: {fault}", "Give the split another name.")
    if len({name.lower() for name in splits.values}) < len(splits.values):
        block.fail("splits", "has names that differ only in case", "Some file systems take their files for one.")
    found = tuple(_split(splits, name, reader, columns, roles) for name in sorted(splits.values))
    for split in found if block.prefix != "hub" else ():
        for _, path in split.files:
            if fault := path_fault(path):
                fix = "Write it from the folder down, with /, and give the folder with --from."
                splits.fail(
                    split.name, f"has the path `{path}`, which cannot be inside the source's folder: {fault}", fix
                )
    return found


def _split(splits: Block, name: str, reader: str, columns: dict[str, Any], roles: tuple[str, ...]) -> SplitSpec:
    """One split: a path (or hub split), {path, optional}, for `clinc` a key too, for `lines` a file a role.

    Shorter forms: a `lines` split that is a path is a folder whose files are named in `columns`; a `clinc`
    split's key is its own name unless given.
    """
    value = splits.values[name]
    if isinstance(value, str):
        value = {"path": splits.text(name)}
    by_role = reader == "lines" and isinstance(value, dict) and "path" not in value
    allowed = [*(roles if by_role else ["path"]), *(["key"] if reader == "clinc" else []), "optional"]
    block = Block(splits.file, splits.name(name), value, allowed)
    optional = block.flag("optional", False)
    if optional and name == "train":
        splits.fail(name, "cannot be optional")
    wanted = [role for role in roles if role != "text_pair" or role in block or columns.get(role)]
    if by_role and any(columns.get(role) for role in roles):
        splits.fail(name, "names its files, and columns names them too", "Take columns out.")
    if by_role:
        files = {role: block.text(role) for role in wanted}
    elif reader == "lines":
        files = {role: f"{block.text('path')}/{columns.get(role, role)}" for role in wanted}
    else:
        files = {"": block.text("path")}
    key = block.text("key", name) if reader == "clinc" else ""
    return SplitSpec(name, tuple((role, str(PurePosixPath(path))) for role, path in files.items()), key, optional)


def _check_splits(top: Block, report_on: tuple[str, ...], blocks: list[SourceSpec]) -> None:
    """Every source gives something to score, every scored split has a source, and no split goes unused."""
    if not blocks:
        fix = "Give one of hub, files and embedded."
        raise top.error("the task has no source", fix)
    if "train" in report_on:
        top.fail("report_on", "cannot hold train")
    for block in blocks:
        listed = {split.name for split in block.splits} - {"train"}
        if not listed & set(report_on):
            top.fail(f"{block.kind}.splits", "has none of the splits in report_on", f"({', '.join(report_on)})")
        for name in sorted(listed - set(report_on)):
            top.fail(f"{block.kind}.splits.{name}", "would never be used", "Put it into report_on or take it out.")
    for name in report_on:
        if not any(block.split(name) for block in blocks):
            top.fail("report_on", f"names `{name}`, which no source has", "Correct the name, or add it to splits.")
