"""Metrics that users wrote: what they are given, what they may give, and how their faults are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from adaptershare_cli.data.definition import TaskDefinition, parse_definition
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, METRICS, metric_title
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.metrics import own
from adaptershare_cli.kinds.rows.answers import Answers
from tests.cli.conftest import definition, good, only, refused
from tests.cli.conftest import project as project

OUTPUTS, LABELS = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=np.float32), np.array([0, 1, 0])


def parsed(folder: Path, source: str, written: str = "cost.py:cost", **changes: object) -> TaskDefinition:
    (folder / "cost.py").write_text(source, encoding="utf-8")
    file = folder / "mine.yaml"
    file.write_text(json.dumps(definition("mine", ("no", "yes"), metrics=["accuracy", written], **changes)))
    return parse_definition(file)


def scored(folder: Path, body: str, before: str = "") -> dict[str, float | None]:
    """The scores of a metric whose function has this body, without the built-in one."""
    names = parsed(folder, f"{before}\ndef cost(predictions, references):\n    {body}\n").metrics
    info = TaskInfo("mine", "classification", ("no", "yes"), None, names)
    found = KINDS["classification"].scores(info, OUTPUTS, Answers(LABELS))
    return {name: value for name, value in found.items() if name != "accuracy"}


def test_it_is_given_names_and_gives_a_number(tmp_path: Path) -> None:
    found = scored(tmp_path, "return float(predictions == ['no', 'yes', 'yes'] and references == ['no', 'yes', 'no'])")
    ((name, value),) = found.items()
    assert re.fullmatch(r"cost\.py:cost@[0-9a-f]{8}", name) and value == 1.0
    assert metric_title(name, None) == "cost.py:cost" and METRICS[name].name == name
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["cost.py", "mine.yaml"]  # nothing is left beside it


def test_less_may_be_better_and_a_dict_gives_several(tmp_path: Path) -> None:
    found = scored(tmp_path, "return {'all': 3, 'worst': 2.5}", "GREATER_IS_BETTER = False")
    assert [metric_title(name, None) for name in found] == ["neg_cost.py:cost", "neg_cost.py:cost[worst]"]
    assert list(found.values()) == [-3.0, -2.5]


def test_scores_come_as_numbers_and_words_as_sentences(tmp_path: Path) -> None:
    name = parsed(tmp_path, "def cost(predictions, references):\n    return len(references[0])\n").metrics[1]
    metric, answers = METRICS[name], Answers(np.array([0, 1, 1]), facts={"place": np.array([0, 1, 0])})
    info = TaskInfo("tags", "tagging", ("O", "B"), None, (name,))
    assert KINDS["tagging"].scored(info, metric, answers.labels, answers) == [["O", "B"], ["B"]]
    score = TaskInfo("score", "regression", (), (0.0, 5.0), (name,))
    assert KINDS["regression"].scored(score, metric, np.array([1.5, 2.0]), answers) == [1.5, 2.0]


@pytest.mark.parametrize(
    ("body", "what", "line"),
    [
        ("raise ValueError('no cost')", "ValueError: no cost", ", line 3"),
        ("return 1 / 0", "ZeroDivisionError", ", line 3"),
        ("raise SystemExit(3)", "SystemExit: 3", ", line 3"),
        ("return 'much'", "'much', which is no number", ""),
        ("return None", "None, which is no number", ""),
        ("return True", "True, which is no number", ""),
        ("return {}", "an empty dict", ""),
        ("return {'a': []}", "[], which is no number", ""),
    ],
)
def test_faults_are_one_message_with_the_place(tmp_path: Path, body: str, what: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        scored(tmp_path, body)
    assert what in error.value.what and "cost.py:cost" in error.value.what and "@" not in error.value.what
    assert error.value.where == f"{tmp_path / 'cost.py'}{line}"


def test_what_is_not_a_number_is_undefined_unless_less_is_better(tmp_path: Path) -> None:
    assert list(scored(tmp_path, "return float('nan')").values()) == [None]
    with pytest.raises(UserError, match="where less is better it needs a number"):
        scored(tmp_path, "return float('nan')", "GREATER_IS_BETTER = False")


def test_its_source_is_part_of_the_fingerprint_and_is_not_run_to_be_read(tmp_path: Path) -> None:
    source = "raise RuntimeError('run')\ndef cost(predictions, references):\n    return 1\n"
    first, again = (parsed(tmp_path, source).fingerprint for _ in range(2))
    assert first == again != parsed(tmp_path, source.replace("return 1", "return 2")).fingerprint


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("cost.py:other", "has no function `other`"),
        ("gone.py:cost", "cannot be read"),
        ("../cost.py:cost", "`..`"),
        ("/tmp/cost.py:cost", "not relative"),
        ("https://example.org/cost.py:cost", "cannot be read"),
    ],
)
def test_definitions_name_a_function_that_is_there(tmp_path: Path, written: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        parsed(tmp_path, "def cost(predictions, references):\n    return 1\n", written)
    with pytest.raises(UserError, match="is not Python"):
        parsed(tmp_path, "def cost(\n")


def test_it_is_not_run_where_no_definition_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = parsed(tmp_path, "def cost(predictions, references):\n    return 1\n").metrics[1]
    monkeypatch.setattr(own, "_PLACES", {})
    with pytest.raises(UserError, match="its definition was not read here"):
        METRICS[name].compute(["no"], ["no"])
    assert METRICS[name].of_constant(["no"], ["no"]) is None


def test_a_training_is_scored_by_it_and_fails_before_it_begins(project: Path, encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "cost.py").write_text("def cost(predictions, references):\n    return len(predictions)\n")
    content = definition("first", ("bad", "good"), metrics=["cost.py:cost", "accuracy"])
    (folder / "first.yaml").write_text(json.dumps(content))
    places = ("--task-dir", folder, "--from", project / "data", "--model", encoder, "-w", tmp_path / "w")
    command = ("train-single", "-t", "first", *places, "--max-steps", "2", "--threads", "1", "--precision", "fp32")
    assert "1200.0*" in good(*command, "--max-seq-length", "64").output  # 12 rows; a constant prediction has as many
    assert "cost.py:cost" in good("report", "-w", tmp_path / "w").output  # where no definition was read
    (folder / "cost.py").write_text("def cost(predictions, references):\n    return {}[0]\n")
    refused(*command, "--max-seq-length", "64", says=("KeyError", "cost.py, line 2"))
    assert only(tmp_path / "w", "train-single/*")


def test_what_no_definition_here_names_is_refused_before_anything_is_trained() -> None:
    own.require_known("t", ["accuracy"])
    with pytest.raises(UserError, match="the task t is scored by cost.py:cost"):
        own.require_known("t", ["accuracy", "cost.py:cost@12345678"])
