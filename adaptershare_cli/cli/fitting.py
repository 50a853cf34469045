"""Tables that fit where they are shown: at any width no column is empty, no number cut, no two names look alike.

What a column holds is said as rich says it: a justified one holds numbers, which stay whole; one whose overflow is
folded holds text, which goes on in the next line; any other holds names, which are shortened in the middle. Columns
that do not fit beside each other follow in further tables.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from adaptershare_cli.cli.streams import writable

WIDEST_TEXT = 100  # where there is no width to fit
LEAST_TEXT, LEAST_NAME, WIDEST_WORD = 12, 10, 24
WIDEST_NAME = 32  # up to here names come first
KEYS = 3  # so many first columns at most are repeated where a table goes on
CUT, PLAIN_CUT = "…", ".."


def shortened(names: Iterable[str], width: int, cut: str = CUT) -> dict[str, str]:
    """Each name within `width` characters, cut in the middle, different names differently where that is possible.

    All names are cut at one place if that keeps them apart. Else those that it does not keep apart leave out how they
    begin alike; in the end each name shows any piece that no other shows, or a number.
    """
    names = list(dict.fromkeys(names))
    long = [name for name in names if len(name) > width]
    room = width - len(cut)
    whole = {name: name for name in names if len(name) <= width}
    if room < 1:
        return whole | {name: name[: max(width, 0)] for name in long}
    middle = (room + 1) // 2
    for head in sorted(range(room + 1), key=lambda place: abs(place - middle)):
        found = whole | {name: _cut(name, head, room, cut) for name in long}
        if _differ(found):
            return found
    in_middle = {name: _cut(name, middle, room, cut) for name in long}
    for form in set(in_middle.values()):
        alike = [name for name in long if in_middle[name] == form]
        if len(alike) > 1:
            in_middle |= _without_beginning(alike, width, cut)
    if _differ(whole | in_middle):
        return whole | in_middle
    found, taken = dict(whole), set(whole.values())
    for name in long:
        found[name] = next((form for form in _pieces(name, room, cut) if form not in taken), in_middle[name])
        taken.add(found[name])
    return found


def _differ(short: dict[str, str]) -> bool:
    return len(set(short.values())) == len(short)


def _cut(name: str, head: int, room: int, cut: str) -> str:
    return name[:head] + cut + name[len(name) - (room - head) :]


def _without_beginning(names: list[str], width: int, cut: str) -> dict[str, str]:
    """The names without what all of them begin with, but for its first letters, if that tells them apart."""
    common = len(os.path.commonprefix(names))
    for head in range(min(3, common - 1), -1, -1):
        rests = shortened((name[common:] for name in names), width - head - len(cut), cut)
        found = {name: name[:head] + cut + rests[name[common:]] for name in names}
        if common > head and _differ(found):
            return found
    return {}


def _pieces(name: str, room: int, cut: str) -> Iterator[str]:
    """Further short forms: two ends cut at any place, an end and a piece from within, an end and a number."""
    yield from (_cut(name, head, room, cut) for head in range(room, -1, -1))
    inner = room - len(cut)
    for head in range(inner // 2, -1, -1):
        for start in range(head, len(name)):
            yield name[:head] + cut + name[start : start + inner - head] + cut
    for number in range(1, 10**room):
        yield name[: room - len(str(number))] + cut + str(number)


def fitted(table: Table, console: Console, width: int | None) -> Iterator[Table]:
    """The table within `width` cells (None: as wide as it is), as one or several tables that follow each other."""
    plain = not console.encoding.startswith("utf")
    text = lambda cell: _text(cell, console, plain)  # noqa: E731
    columns = [
        _Column(column, text(column.header), [text(cell) for cell in column.cells], PLAIN_CUT if plain else CUT)
        for column in table.columns
    ]
    if not columns:
        return
    for number, part in enumerate(_parts(columns, width)):
        widths = _widths(part, width)
        yield _drawn(table, part, widths, goes_on=number > 0)


def _text(cell: object, console: Console, plain: bool) -> Text:
    text = cell.copy() if isinstance(cell, Text) else console.render_str(str(cell))
    if plain and (written := writable(text.plain, console.encoding)) != text.plain:
        style = text.spans[0].style if text.spans else text.style
        text = Text(written, style=style)
    return text


def _longest(parts: Iterable[str]) -> int:
    return max((Text(part).cell_len for part in parts), default=0)


@dataclass(frozen=True)
class _Column:
    """A column's head and cells, and how wide it wants to be."""

    column: Column
    head: Text
    cells: Sequence[Text]
    cut: str

    @cached_property
    def is_text(self) -> bool:
        return self.column.overflow == "fold"

    @cached_property
    def is_number(self) -> bool:
        return not self.is_text and self.column.justify != "left"

    def is_short_name(self, width: int) -> bool:
        """Whether it holds names, and could well do with more than this width."""
        return not self.is_text and not self.is_number and width < WIDEST_NAME

    @cached_property
    def natural(self) -> int:
        """The width at which nothing is shortened and no line broken."""
        lines = [line for text in (self.head, *self.cells) for line in text.plain.split("\n")]
        return max(1, _longest(lines))

    @cached_property
    def least(self) -> int:
        """The width from which on it can be read."""
        head = min(_longest(self.head.plain.split()), WIDEST_WORD)
        if self.is_number:
            least = _longest(line for cell in self.cells for line in cell.plain.split("\n"))
        elif self.is_text:
            words = _longest(word for cell in self.cells for word in cell.plain.split())
            least = max(LEAST_TEXT, min(words, WIDEST_WORD))
        else:
            least = next(width for width in range(LEAST_NAME, max(self.natural, LEAST_NAME) + 1) if self._apart(width))
        return max(1, min(self.natural, max(least, head)))

    def _apart(self, width: int) -> bool:
        """Whether names are told apart at this width by where all of them are cut."""
        names = {cell.plain for cell in self.cells}
        return len(set(shortened(names, width, self.cut).values())) == len(names)

    def drawn(self, width: int) -> tuple[Text, list[Text]]:
        """Head and cells at this width."""
        head = self.head
        if _longest(head.plain.split()) > width:
            head = _same_style(head, shortened([head.plain], width, self.cut)[head.plain])
        if self.is_text or self.is_number:
            return head, list(self.cells)
        short = shortened((cell.plain for cell in self.cells), width, self.cut)
        return head, [_same_style(cell, short[cell.plain]) for cell in self.cells]


def _same_style(text: Text, plain: str) -> Text:
    if plain == text.plain:
        return text
    changed = text.copy()
    changed.plain = plain
    return changed


def _frame(columns: int) -> int:
    """Cells that lines and blanks take."""
    return 3 * columns + 1


def _parts(columns: list[_Column], width: int | None) -> Iterator[list[_Column]]:
    """The columns that stand beside each other; what tells rows apart comes first in each part."""
    if width is None or _frame(len(columns)) + sum(column.least for column in columns) <= width:
        yield columns
        return
    keys = _keys(columns)
    if _frame(len(keys)) + sum(column.least for column in keys) > width / 2:
        keys = keys[:1]
    part = list(keys)
    for column in columns[len(keys) :]:
        if len(part) > len(keys) and _frame(len(part) + 1) + sum(c.least for c in (*part, column)) > width:
            yield part
            part = list(keys)
        part.append(column)
    yield part


def _keys(columns: list[_Column]) -> list[_Column]:
    """The first columns, as many as it takes to tell the rows apart."""
    for count in range(1, min(KEYS, len(columns) - 1) + 1):
        rows = list(zip(*([cell.plain for cell in column.cells] for column in columns[:count]), strict=True))
        if len(set(rows)) == len(rows):
            return columns[:count]
    return columns[:1]


def _widths(columns: list[_Column], width: int | None) -> list[int]:
    """What each column gets: its least, then of what is left names and the narrowest first, up to what they want."""
    if width is None:
        return [min(column.natural, WIDEST_TEXT) if column.is_text else column.natural for column in columns]
    room = width - _frame(len(columns))
    widths = [column.least for column in columns]
    while sum(widths) > room and max(widths) > 1:  # narrower than anything can be read
        widths[widths.index(max(widths))] -= 1
    for _ in range(room - sum(widths)):
        wanting = [place for place, column in enumerate(columns) if widths[place] < column.natural]
        if not wanting:
            break
        widths[min(wanting, key=lambda place: (not columns[place].is_short_name(widths[place]), widths[place]))] += 1
    return widths


def _drawn(table: Table, columns: list[_Column], widths: list[int], goes_on: bool) -> Table:
    """A table of these columns, each as wide as said."""
    title = table.title
    if goes_on and title:
        title = Text.assemble(title, " (goes on)")
    drawn = Table(title=title, box=table.box, header_style=table.header_style, show_header=table.show_header)
    body = []
    for column, width in zip(columns, widths, strict=True):
        head, cells = column.drawn(width)
        drawn.add_column(head, justify=column.column.justify, style=column.column.style, width=width, overflow="fold")
        body.append(cells)
    for row, line in zip(table.rows, zip(*body, strict=True), strict=True):
        drawn.add_row(*line, style=row.style, end_section=row.end_section)
    return drawn
