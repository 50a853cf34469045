"""What messages tell users to type exists: options, and commands with their options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import adaptershare_cli
from adaptershare_cli.cli.app import app
from adaptershare_cli.settings import PreproSettings, RuntimeSettings, TrainingSettings, option_value

PACKAGE = Path(adaptershare_cli.__file__).parent
ERRORS = ("UserError", "RunError", "Interrupted", "KeyFault", "RunTable")
PLACE_OF_FIX = {"KeyFault": 1}  # among the positional arguments; of the others it is the third
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
COMMAND = re.compile(r"adaptershare ([a-z]+(?:-[a-z]+)*)((?: --[a-z][a-z-]*(?: [^-\s]+)?)*)")
NO_COMMANDS = ("with",)  # what may stand behind the method `adaptershare`
# In whose messages they may stand; elsewhere any command's options may.
OWNERS = {
    "methods": ("train-share", "train-single"), "measures": ("correlate", "train-share"),
    "commands/correlate.py": ("correlate",), "commands/train_share.py": ("train-share",),
}  # fmt: skip


def options() -> dict[str, set[str]]:
    """The options of each command."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: {written for parameter in command.params for written in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in commands.items()
    }


def words(node: ast.AST) -> str:
    """The texts in an expression, what is filled in left out."""
    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return " ".join(parts)


def advice() -> Iterator[tuple[str, str]]:
    """Each text that says what to do: the file that it stands in, and the text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in ERRORS:
                place = PLACE_OF_FIX.get(called, 2)
                yield from ((name, words(argument)) for argument in node.args[place : place + 1])
                yield from ((name, words(k.value)) for k in node.keywords if k.arg in ("fix", "advice"))
            elif isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(ast.unparse(target).lower().endswith(("fix", "name_it")) for target in targets):
                    yield name, words(node.value)


FOUND = [(name, text) for name, text in advice() if OPTION.search(text) or COMMAND.search(text)]


def test_there_is_advice_to_look_at() -> None:
    assert len(FOUND) > 50


@pytest.mark.parametrize("name", sorted({name for name, _ in FOUND}))
def test_options_that_messages_tell_exist(name: str) -> None:
    known = options()
    owners = next((commands for place, commands in OWNERS.items() if name.startswith(place)), tuple(known))
    there = set().union(*(known[owner] for owner in owners))
    for text in (text for place, text in FOUND if place == name and "pip install" not in text):
        assert set(OPTION.findall(text)) <= there, text
        for command, given in (found for found in COMMAND.findall(text) if found[0] not in NO_COMMANDS):
            assert command in known, text
            assert set(OPTION.findall(given)) <= known[command], text


@pytest.mark.parametrize(
    ("settings", "name", "value", "said"),
    [
        (TrainingSettings, "reduction_factor", 8, 8),
        (TrainingSettings, "reduction_factor", 8.0, 8),
        (TrainingSettings, "reduction_factor", 1.5, None),
        (TrainingSettings, "reduction_factor", 0, None),
        (TrainingSettings, "reduction_factor", True, None),
        (TrainingSettings, "reduction_factor", {"0": 8, "default": 16}, None),
        (TrainingSettings, "reduction_factor", float("nan"), None),
        (TrainingSettings, "learning_rate", 1, 1.0),
        (TrainingSettings, "learning_rate", "1", None),
        (TrainingSettings, "pooling", "cls", "cls"),
        (TrainingSettings, "pooling", "max", None),
        (TrainingSettings, "adapter_config", "seq_bn", "seq_bn"),
        (PreproSettings, "max_train_examples", 5, 5),
        (RuntimeSettings, "inexact", True, True),
    ],
)
def test_what_an_option_can_be_given(settings: type, name: str, value: object, said: object) -> None:
    assert option_value(settings, name, value) == said
