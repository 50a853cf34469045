"""Splits that are parts of files, or lie in several: rows by the value of a column, and one file after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from adaptershare_cli.data.names import near_names
from adaptershare_cli.data.readers.rows import FilesByRole, RowFault, UncheckedRow, UncheckedRows
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import excerpt, told

SPLIT = "split"  # the role of the column that says of which split a row is
_OF_NO_SPLIT = "rows of no split"
_MOST_KNOWN = 20  # values that a message names


def rows_of_split(found: UncheckedRows, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The rows whose split column has one of the split's values, without that column.

    A value that stands for no split is a row's fault. Faults, and what is left out, are those of train alone, so that
    they are told once.
    """
    place, name = list(found.columns).index(SPLIT), found.columns[SPLIT]
    every = [value for one in spec.splits for value in one.values]
    mine = frozenset(split.values)
    others, once = frozenset(spec.others), split.name == "train"
    left_out = found.left_out if once else Counter[str]()
    strange = f"stands for no split ({told(sorted([*every, *spec.others]))})"

    def rows() -> Iterator[UncheckedRow | RowFault]:
        seen: dict[str, None] = {}
        any_row = False
        for row in found.rows:
            if isinstance(row, RowFault):
                if once:
                    yield row
                continue
            value = "" if row.values[place] is None else str(row.values[place]).strip()
            if value in mine:
                any_row = True
                yield row._replace(values=[one for at, one in enumerate(row.values) if at != place])
            elif value in others:
                left_out[_OF_NO_SPLIT] += once
            elif value not in every and once:
                yield RowFault((row.files or found.files)[SPLIT], row.line, name, excerpt(value), strange)
            if len(seen) < _MOST_KNOWN:
                seen.setdefault(value)
        if not any_row:
            what = f"no row is of the split `{split.name}`: none has {' or '.join(split.values)} in the column `{name}`"
            fix = f"{near_names(split.values[0], seen)}There stand: {told(list(seen), _MOST_KNOWN)}."
            raise UserError(what, found.files[SPLIT], fix)

    columns = {role: column for role, column in found.columns.items() if role != SPLIT}
    files = {role: file for role, file in found.files.items() if role != SPLIT}
    return replace(found, columns=columns, files=files, rows=rows(), left_out=left_out)


def one_after_the_other(read: Callable[[FilesByRole], UncheckedRows], several: Sequence[FilesByRole]) -> UncheckedRows:
    """The rows of several files, numbered on. Raises UserError, also while they are read, where columns are others."""
    first = read(several[0])

    def rows() -> Iterator[UncheckedRow | RowFault]:
        before = 0
        for number, files in enumerate(several):
            found = read(files) if number else first
            if list(found.columns.items()) != list(first.columns.items()):
                here, there = ("; ".join(f"{r} = {c}" for r, c in one.columns.items()) for one in (found, first))
                what = f"the file has other columns than {next(iter(several[0].values())).name}: {here}, not {there}"
                raise UserError(what, str(next(iter(files.values())).path), "Files of one split need the same ones.")
            count = 0
            for row in found.rows:
                count += 1
                if isinstance(row, RowFault):
                    yield row
                else:
                    yield row._replace(position=row.position + before, files=found.files)
            before += count
            if number:
                first.left_out.update(found.left_out)

    most = first.most_characters * len(several)
    return replace(first, rows=chain(rows()), most_characters=most)
