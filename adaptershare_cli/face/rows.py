"""Rows in memory, of any of the forms that people have them in, as the rows that tasks read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS

if TYPE_CHECKING:
    import pandas as pd

    from adaptershare_cli.data.whole_rows import WholeRow
    from adaptershare_cli.kinds.base import TaskInfo

TEXT, PAIR = "text", "text_pair"
FORMS = "Give texts, pairs (tuples) of texts, dicts, a pandas frame or a datasets.Dataset."


@dataclass(frozen=True)
class Given:
    """Rows as dicts, their columns, and what makes a frame of those that were answered."""

    values: Sequence[Mapping[str, Any]]
    columns: tuple[str, ...]
    whole: pd.DataFrame | None = None  # the frame that was given

    def __len__(self) -> int:
        return len(self.values)

    def rows(self) -> Iterator[WholeRow]:
        """The rows, numbered from 1."""
        from adaptershare_cli.data.whole_rows import WholeRow

        return (WholeRow(number, dict(row)) for number, row in enumerate(self.values, 1))

    def frame(self, answered: Sequence[WholeRow], added: Mapping[str, Any]) -> pd.DataFrame:
        """The answered rows with the columns that were `added`; of a frame its other columns, types and index stay."""
        import pandas as pd

        new = {name: [row.values[name] for row in answered] for name in added}
        if self.whole is None:
            own = {name: [row.values.get(name) for row in answered] for name in self.columns}
            return pd.DataFrame({**own, **new}, columns=[*self.columns, *added])
        kept = self.whole.iloc[[row.line - 1 for row in answered]]
        return kept.assign(**{name: pd.Series(values, index=kept.index, dtype=object if not values else None)
                              for name, values in new.items()})  # fmt: skip


def in_columns(rows: Any, infos: Mapping[str, TaskInfo]) -> Given:
    """The rows of a call. Raises UserError for what are none, naming the first."""
    import pandas as pd

    if hasattr(rows, "features") and hasattr(rows, "to_pandas"):
        rows = rows.to_pandas()
    if isinstance(rows, pd.DataFrame):
        if not all(isinstance(name, str) for name in rows.columns) or rows.columns.has_duplicates:
            raise UserError("The frame's columns are not texts that differ", fix="Rename its columns.")
        return Given(_records(rows), tuple(rows.columns), rows)
    if isinstance(rows, str):
        rows = [rows]
    if isinstance(rows, pd.Series):
        rows = rows.tolist()
    if isinstance(rows, Mapping | bytes) or not isinstance(rows, Iterable):
        raise UserError("These are no rows", fix=FORMS)
    read = _reader(infos)
    values = [read(number, row) for number, row in enumerate(rows, 1)]
    columns = tuple(dict.fromkeys(name for row in values for name in row)) or (TEXT, PAIR)
    return Given(values, columns)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of plain values; what is missing is None, arrays are lists."""
    columns = [[_plain(value) for value in frame[name].tolist()] for name in frame.columns]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if value is None or value != value else value


def _reader(infos: Mapping[str, TaskInfo]) -> Callable[[int, Any], Mapping[str, Any]]:
    """A function from a row's number and the row to its values by column."""
    in_words = all(TEXT in KINDS[info.kind].listed for info in infos.values())

    def read(number: int, row: Any) -> Mapping[str, Any]:
        if isinstance(row, Mapping) and all(isinstance(name, str) for name in row):
            return row
        if isinstance(row, str):
            return {TEXT: row}
        if in_words and isinstance(row, list | tuple) and all(isinstance(word, str) for word in row):
            return {TEXT: list(row)}
        if isinstance(row, list | tuple) and len(row) == 2 and all(isinstance(text, str) for text in row):
            return {TEXT: row[0], PAIR: row[1]}
        raise UserError(f"Row {number} is no row: {str(row)[:60]!r}", fix=FORMS)

    return read
