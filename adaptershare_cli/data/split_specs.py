"""The splits that a source's block lists, each with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from adaptershare_cli.data.key_faults import KeyFault, inside
from adaptershare_cli.data.names import path_fault
from adaptershare_cli.data.source_spec import SplitSpec
from adaptershare_cli.data.task_file import FilesBlock, HubBlock, SplitBlock, SplitColumn
from adaptershare_cli.kinds.base import Kind

_LISTED = ("file", "sheet in file")  # forms of splits that may lie in several files


def split_specs(
    name: str, block: HubBlock | FilesBlock, form: str, written: Mapping[str, str], kind: Kind, report_on: Sequence[str]
) -> tuple[SplitSpec, ...]:
    """The splits of a source `name` in the form of its reader; `written` are the columns that it names.

    Raises KeyFault for what cannot be.
    """
    sheet = block.sheet if isinstance(block, FilesBlock) else None
    form = "one path" if isinstance(block, HubBlock) else form
    splits = []
    for split in sorted(block.splits):
        with inside("splits", split):
            splits.append(_split(split, block.splits[split], form, written, kind, sheet or ""))
            if name != "hub":
                _check_paths(splits[-1])
    _check_shares(splits)
    if isinstance(block, FilesBlock) and block.split_column:
        with inside("split_column"):
            splits = _parted(splits, block.split_column, report_on)
    return tuple(splits)


def _parted(splits: Sequence[SplitSpec], column: SplitColumn, report_on: Sequence[str]) -> list[SplitSpec]:
    """The splits and those that lie in train's files, by the values of a column."""
    found = {split.name: split for split in splits}
    train = found["train"]
    values = column.values or {name: (name,) for name in ("train", *report_on) if name == "train" or name not in found}
    if both := next((name for name in values if name != "train" and name in found), ""):
        raise KeyFault("has a place of its own in splits", "Take it out there, or here.", ["values", both])
    if len(values) < 2:
        raise KeyFault("parts nothing: there is no split but train", "Put others into report_on.")
    if twice := next((one for of in values.values() for one in of if one in column.leave_out), ""):
        raise KeyFault(f"holds `{twice}`, which stands for a split", keys=["leave_out"])
    found |= {name: replace(train, name=name, optional=False, values=of) for name, of in values.items()}
    return [found[name] for name in sorted(found)]


def needed_roles(kind: Kind) -> list[str]:
    """The roles that every row has."""
    return [role for role in kind.roles if role != "text_pair"]


def _split(name: str, block: SplitBlock, form: str, columns: Mapping[str, str], kind: Kind, sheet: str) -> SplitSpec:
    """One split in the form of its reader (`Reader.splits`); `columns` are those that are written down.

    `sheet` is that of splits that name none.

    Shorter forms: with a file per role a path is the folder of files that the columns name; the key of a list in a
    file is the split's name unless written.
    """
    if block.share is not None:
        return _shared_split(name, block)
    by_role = form == "file per role" and not block.path
    needed = needed_roles(kind) if by_role else ["path"]
    inside_file = {"key in file": ["key"], "sheet in file": ["sheet"]}.get(form, [])
    keys = [*(kind.roles if by_role else ["path"]), *inside_file, "optional"]
    written = block.only(keys)
    if block.optional and name == "train":
        raise KeyFault("cannot be optional")
    if by_role and columns:
        raise KeyFault("names its files, and columns names them too", "Take columns out.")
    for key in needed:
        if key not in written:
            raise KeyFault("is missing", keys=[key])
    if by_role:
        paths = [(role, written[role]) for role in kind.roles if role in written]
    elif form == "file per role":
        roles = [role for role in kind.roles if role in columns or role in needed_roles(kind)]
        folder = _only_path(block)
        paths = [(role, f"{folder}/{columns.get(role, role)}") for role in roles]
    else:
        paths = [("", path) for path in (block.path if form in _LISTED else [_only_path(block)])]
    files = tuple((role, str(PurePosixPath(path))) for role, path in paths)
    key = (block.key or name) if form == "key in file" else block.sheet or sheet
    return SplitSpec(name, files, key, block.optional)


def _only_path(block: SplitBlock) -> str:
    if len(block.path) > 1:
        raise KeyFault("must be one path with this reader", keys=["path"])
    return block.path[0]


def _shared_split(name: str, block: SplitBlock) -> SplitSpec:
    """A split that is a share of train."""
    block.only(["share"])
    if name == "train":
        raise KeyFault("cannot be a share of itself", "Give its file.")
    assert block.share is not None
    return SplitSpec(name, (), share=block.share)


def _check_shares(splits: Sequence[SplitSpec]) -> None:
    if (total := sum(split.share for split in splits)) >= 1:
        raise KeyFault(f"take {total:.0%} of train, so that none of it is left", "Make them smaller.", ["splits"])


def _check_paths(split: SplitSpec) -> None:
    for _, path in split.files:
        if fault := path_fault(path):
            fix = "Write it from the folder down, with /, and give the folder with --from."
            raise KeyFault(f"has the path `{path}`, which cannot be inside the source's folder: {fault}", fix)
