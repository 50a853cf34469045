"""What a definition says of one source of rows, as frozen values with all defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitSpec:
    """Where one split lies: `files` pairs a role with a relative path; none for a split that is a `share` of train.

    The role is "" for a split in one file (or the split's name on the hub), and in several, each a path or a pattern;
    the reader `lines` has one file a role.
    `key` chooses a list inside a file of the reader `clinc`, a sheet inside one of `xlsx` ("": its only one).
    """

    name: str
    files: tuple[tuple[str, str], ...]
    key: str = ""
    optional: bool = False
    share: float = 0.0  # of train's rows, where the split has no files of its own
    values: tuple[str, ...] = ()  # of the source's split column: the rows that are of this split; () for all


@dataclass(frozen=True)
class SourceSpec:
    """One source: the hub, files in a folder, or files that come with the definition."""

    kind: str  # hub | files | embedded
    splits: tuple[SplitSpec, ...]
    # By role (text, text_pair, label; split, group, weight) its column's name, or number from 0 where is no header.
    columns: tuple[tuple[str, str | int], ...] = (("text", "text"), ("text_pair", "text_pair"), ("label", "label"))
    pair_if_present: bool = True  # text_pair was not written down: it is read where the data has it
    label_map: tuple[tuple[str, str], ...] = ()  # (value in the data, label), sorted
    reader: str = ""  # of files and embedded
    quoting: str = ""  # none | standard, of readers that know quotes
    header: bool = True
    skip_rows: int = 0  # that stand above the header, or above the first row
    comment: str = ""  # what comments in files begin with; "" where it is not said, none where there are none
    encoding: str = ""  # of text files; "" is UTF-8
    delimiter: str = ""  # of csv and tsv, where it is another than the reader's
    decimal: str = ""  # the mark before the fraction of a number; "" is a point
    missing: tuple[str, ...] = ()  # what stands, besides nothing, where a value is missing
    drop: str = ""  # "missing": rows that lack a value are left out, whatever their number
    records: str = ""  # of the reader `json`: the keys, parted by points, under which its list stands
    path: str = ""  # of the hub, with name and revision
    name: str | None = None
    revision: str | None = None
    others: tuple[str, ...] = ()  # values of the split column whose rows are of no split
    listed: tuple[str, ...] = ()  # roles whose values are lists, or texts whose words are parted by blanks

    def split(self, name: str) -> SplitSpec | None:
        """The split of that name, or None if the source does not list it."""
        return next((split for split in self.splits if split.name == name), None)

    def column(self, role: str) -> str | int | None:
        """The name or number of a role's column; None if it is not read."""
        return dict(self.columns).get(role)
