"""What it takes to do everything again: commands, settings, versions, machine, and the hashes of data and encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.reporting.page.facts import PageFacts, RunFacts
from adaptershare_cli.reporting.page.results import Entry, TableView

SHOWN_DIGITS = 12  # of a hash


@dataclass(frozen=True)
class CommandView:
    """A command, "" where it is not known, and the runs that it makes."""

    command: str
    runs: list[str]


@dataclass(frozen=True)
class RunView:
    """A run, and the settings in which runs differ."""

    name: str
    own: list[tuple[str, str]]


@dataclass(frozen=True)
class AgainView:
    """The section's content: `common` is the same for all runs."""

    commands: list[CommandView]
    runs: list[RunView]
    common: TableView
    data: TableView


def again_view(facts: PageFacts) -> AgainView | None:
    """All runs; None where there are none."""
    runs = list(facts.runs.values())
    if not runs:
        return None
    told = [_told(run) for run in runs]
    names = list(dict.fromkeys(name for one in told for name in one))
    same = [name for name in names if all(one.get(name) == told[0].get(name) for one in told)]
    views = [
        RunView(run.name, [(name, value) for name, value in one.items() if name not in same])
        for run, one in zip(runs, told, strict=True)
    ]
    common = _table("What all runs have in common", "setting", [(name, told[0][name]) for name in same])
    made: dict[str, list[str]] = {}
    for run in runs:
        made.setdefault(run.command, []).append(run.name)
    commands = [CommandView(command, of_command) for command, of_command in made.items()]
    return AgainView(commands, views, common, _table("Hashes of prepared rows and encoders", "what", _hashes(runs)))


def _told(run: RunFacts) -> dict[str, str]:
    """Everything that may differ from run to run, as text."""
    machine = {name: value for name, value in run.machine.items() if name not in run.versions}
    parts: list[tuple[str, Mapping[str, Any]]] = [
        ("", {"encoder": run.encoder, "precision": run.precision}),
        ("", run.settings),
        ("machine: ", machine),
        ("version: ", run.versions),
    ]
    return {f"{prefix}{name.replace('_', '-')}": _text(value) for prefix, part in parts for name, value in part.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _hashes(runs: Sequence[RunFacts]) -> list[tuple[str, str]]:
    found = [(f"encoder {run.encoder}", run.encoder_hash) for run in runs]
    found += [(f"rows of {task}", content) for run in runs for task, content in run.data.items()]
    return [(name, content[:SHOWN_DIGITS]) for name, content in dict.fromkeys(found)]


def _table(caption: str, first: str, rows: Sequence[tuple[str, str]]) -> TableView:
    return TableView(caption, [(first, ""), ("value", "")], [(name, [Entry(text, None)]) for name, text in rows], [])
