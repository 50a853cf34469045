"""Tables at any width: names stay apart, numbers whole, columns filled."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from adaptershare_cli.cli import streams
from adaptershare_cli.cli.fitting import fitted, shortened
from adaptershare_cli.methods.attention_table import attention_table
from adaptershare_cli.methods.planned.tables import plan_table
from adaptershare_cli.sharing.plan import SharingPlan

NAMES = st.text("ab_", min_size=1, max_size=30)
PREFIXED = st.builds("{}{}{}".format, st.sampled_from(["sentiment_", "x"]), NAMES, st.sampled_from(["_reviews", ""]))
LINES = re.compile("[│┃|]")


def printed(table: Table, width: int | None, encoding: str = "utf-8") -> list[str]:
    """The lines of a table as they are shown in a terminal of that width, or in a pipe."""
    streams.make_reliable()
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=streams.READABLE)
    console = Console(file=file, width=width or 9999, color_system=None)
    for part in fitted(table, console, width):
        console.print(part)
    file.seek(0)
    return file.read().splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in LINES.split(line)[1:-1]] for line in lines if LINES.match(line)]


@given(st.lists(st.one_of(NAMES, PREFIXED), max_size=40), st.integers(0, 40))
def test_short_names_are_short_and_stay_as_they_are_where_they_fit(names: list[str], width: int) -> None:
    found = shortened(names, width)
    assert set(found) == set(names)
    assert all(len(short) <= width for short in found.values())
    assert all(found[name] == name for name in names if len(name) <= width)
    assert found == shortened(names, width)


@given(st.sets(st.one_of(NAMES, PREFIXED), max_size=60), st.integers(6, 40))
def test_different_names_differ(names: set[str], width: int) -> None:
    assert len(set(shortened(sorted(names), width).values())) == len(names)


@pytest.mark.parametrize(
    ("names", "width", "expected"),
    [
        (["sentiment_books", "sentiment_dvd"], 10, ["senti…ooks", "senti…_dvd"]),
        (["sentiment_books_long_v1", "sentiment_books_long_v2"], 9, ["sent…g_v1", "sent…g_v2"]),
        (["books_sentiment", "dvd_sentiment"], 8, ["book…ent", "dvd_…ent"]),
        (["sentiment_books_reviews", "sentiment_dvds_reviews"], 10, ["sen…boo…ws", "sen…dvd…ws"]),
    ],
)
def test_names_are_cut_in_the_middle(names: list[str], width: int, expected: list[str]) -> None:
    assert list(shortened(names, width).values()) == expected


def table_of(names: list[str], numbers: list[str], heads: int = 1) -> Table:
    table = Table(title="a table")
    table.add_column("task")
    table.add_column("what is said of it", overflow="fold")
    for place in range(heads):
        table.add_column(f"score {place}", justify="right")
    for name, number in zip(names, numbers, strict=True):
        table.add_row(name, f"something of {name}", *[number] * heads)
    return table


@settings(max_examples=25)
@given(st.lists(PREFIXED, min_size=1, max_size=12, unique=True), st.integers(1, 12), st.integers(20, 200))
def test_a_table_fits_and_numbers_stay_whole(names: list[str], heads: int, width: int) -> None:
    numbers = [f"{number}.5" for number in range(len(names))]
    lines = printed(table_of(names, numbers, heads), width)
    assert max(map(len, lines)) <= width
    shown = [cell for line in cells(lines) for cell in line]
    for number in numbers:
        assert shown.count(number) == heads


@settings(max_examples=25)
@given(st.lists(PREFIXED, min_size=2, max_size=12, unique=True), st.integers(1, 12))
def test_in_a_pipe_a_table_is_whole(names: list[str], heads: int) -> None:
    _, *body = cells(printed(table_of(names, ["1.0"] * len(names), heads), None))
    assert [line[0] for line in body] == names
    assert all(line[2:] == ["1.0"] * heads for line in body)


def test_columns_that_do_not_fit_follow_with_the_names_of_their_rows() -> None:
    lines = printed(table_of(["one", "two"], ["11.123", "22.456"], 12), 60)
    heads = [line for line in cells(lines) if line[0] == "task"]
    assert len(heads) > 1 and sum(len(line) for line in heads) == 2 + 12 + len(heads) - 1
    assert "(goes on)" in "\n".join(lines)


def test_rows_are_told_apart_by_as_many_columns_as_it_takes() -> None:
    table = Table()
    for head in ("target", "step"):
        table.add_column(head)
    for place in range(9):
        table.add_column(f"value {place}", justify="right")
    for step in "01":
        table.add_row("mrpc", step, *["0.12345"] * 9)
    rows = [line for line in cells(printed(table, 60)) if line[0] == "mrpc"]
    assert len(rows) > 2 and all(line[1] in "01" for line in rows)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("width", [60, 80, None])
def test_what_an_encoding_lacks_leaves_columns_straight(encoding: str, width: int | None) -> None:
    table = table_of(["a – b", "naïve"], ["1.0 ± 0.2", "…"])
    lines = [line for line in printed(table, width, encoding) if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(match.start() for match in re.finditer(r"\|", line)) for line in lines if "---" not in line}) == 1


def plan(tasks: int, layers: int = 12) -> SharingPlan:
    names = tuple(f"sentiment_{number:03}" for number in range(tasks))
    halves = (names[: tasks // 2], names[tasks // 2 :])
    return SharingPlan(names, ((names,),) * (layers // 2) + (halves,) * (layers - layers // 2))


@pytest.mark.parametrize("tasks", [2, 30, 200])
@pytest.mark.parametrize("width", [40, 80, None])
def test_a_plan_has_a_row_a_task_and_a_column_for_layers_that_are_alike(tasks: int, width: int | None) -> None:
    head, *rows = cells(printed(plan_table(plan(tasks), "seed 0"), width))
    assert head == ["task \\ layer", "0-5", "6-11"]
    assert [row[0] for row in rows] == list(plan(tasks).tasks)
    assert [row[1:] for row in rows] == [["a", "a"]] * (tasks // 2) + [["a", "b"]] * (tasks // 2)


def test_layers_that_changed_are_marked() -> None:
    before = SharingPlan.shared(plan(4).tasks, 12)
    head, *_ = cells(printed(plan_table(plan(4), "step 9", before), None))
    assert head == ["task \\ layer", "0-5", "* 6-11"]


def test_twelve_layers_that_all_differ_fit_a_terminal() -> None:
    names = tuple(f"sentiment_of_{name}_reviews" for name in ("books", "dvds", "toys", "food"))
    layers = tuple(((names[0], names[1 + layer % 3]), *((n,) for n in names[1:] if n != names[1 + layer % 3]))
                   for layer in range(12))  # fmt: skip
    lines = cells(printed(plan_table(SharingPlan(names, layers), "seed 0"), 80))
    assert len(lines) == 5 and len({line[0] for line in lines}) == 5
    assert lines[0][1:] == [str(layer) for layer in range(12)]


def test_attention_over_many_adapters_names_the_strongest() -> None:
    import pandas as pd

    names = [f"task{number:02}" for number in range(30)]
    rows = [
        {"task": task, "layer": 0, "location": "output", "members": [source], "attention": number / sum(range(30))}
        for task in names for number, source in enumerate(names)
    ]  # fmt: skip
    _, *body = cells(printed(attention_table(pd.DataFrame(rows), "seed 0"), None))
    assert len(body) == 30
    assert body[0] == ["task00", "task29 7, task28 6, task27 6, task26 6, task25 6, 25 others 69"]
