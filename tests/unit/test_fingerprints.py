"""Fingerprints go into the keys of artefacts, so those of all definitions stay what they were.

`fingerprints.json` was written before definitions became models (commit da5382c). No line of it may ever change: a
task's new key, kind or reader leaves every artefact of other tasks its name. (`positive` was written into the one odd
definition with f1: it says what f1 always was of. Without it f1 means something else now, and the fingerprint differs.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.data.tasks import load_tasks

KNOWN: dict[str, Any] = json.loads(Path(__file__).with_name("fingerprints.json").read_text(encoding="utf-8"))


def test_of_the_tasks_that_come_with_the_program() -> None:
    found = {name: task.fingerprint for name, task in load_tasks().tasks.items()}
    assert {name: found.get(name) for name in KNOWN["built-in tasks"]} == KNOWN["built-in tasks"]


@pytest.mark.parametrize("case", KNOWN["odd definitions"], ids=lambda case: case["what"])
def test_of_odd_definitions(tmp_path: Path, case: dict[str, Any]) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(json.dumps(case["definition"], ensure_ascii=False), encoding="utf-8")
    assert parse_definition(file).fingerprint == case["fingerprint"]
