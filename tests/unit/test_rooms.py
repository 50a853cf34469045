"""The house: which room stands on which floor, and that no import goes up, in a circle, or out of its door."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import adaptershare_cli

PACKAGE = Path(adaptershare_cli.__file__).parent
# From the top floor to the ground; what stands on one line may not import each other.
FLOORS = (
    {"__main__", "face"},
    {"cli"},
    {"commands"},
    {"studies"},
    {"runs"},
    {"reporting", "serving"},
    {"measures"},
    {"methods"},
    {"training"},
    {"observe"},
    {"model"},
    {"data"},
    {"kinds"},
    {"statistics"},
    {"sharing", "store"},
    {"settings"},
    {"parquet_files", "schemas", "screen", "templates"},
    {"errors", "scratch", "seeds", "signals"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Takes values and gives values: it knows no workspace, no artefact, no command and no screen.
CORE = {"serving", "measures", "methods", "training", "observe", "model", "data", "kinds", "statistics", "sharing"}
OUTSIDE = {"face", "cli", "commands", "studies", "runs", "reporting", "store", "screen"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, without the package's own."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if name}


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for word in named:
            parts = word.split(".")[1:] if word.split(".")[0] == PACKAGE.name else []
            known = [end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in modules()]
            if known:
                found.add(".".join(parts[: known[0]]))
    return frozenset(found - {name})


def room(name: str) -> str:
    """The room that a module stands in."""
    return name.split(".")[0]


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in modules()} - FLOOR_OF.keys() == set()


def test_no_import_goes_up() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        if room(name) != room(other) and FLOOR_OF[room(name)] >= FLOOR_OF[room(other)]
    ]
    assert wrong == []


def test_the_core_knows_nothing_of_what_is_around_it() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        if room(name) in CORE and room(other) in OUTSIDE
    ]
    assert wrong == []


@pytest.mark.parametrize("inside", sorted(FLOOR_OF))
def test_no_circle_within_a_room(inside: str) -> None:
    """Imports inside functions count too, but for those of a registry's own entries, which it lists."""
    own = [name for name in modules() if room(name) == inside]
    graph = {name: {other for other in imports(name) if room(other) == inside} for name in own}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' -> '.join(error.args[1])}") from None


def test_the_adapters_library_is_reached_through_the_model_alone() -> None:
    wrong = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(word.split(".")[0] == "adapters" for word in named) and room(name) != "model":
                wrong.append(name)
    assert wrong == []
