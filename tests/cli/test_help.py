"""Help answers at once, and completely: every command with an example, every option with its text."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from adaptershare_cli import __version__
from adaptershare_cli.cli.app import app
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS
from adaptershare_cli.settings import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    SelectionSettings,
    StartSettings,
    TrainingSettings,
    VerdictSettings,
)
from adaptershare_cli.store.artefact import STAGES
from tests.cli.conftest import ENVIRONMENT, call, good

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
HEAVY = (
    "torch", "transformers", "adapters", "datasets", "pandas", "numpy", "pyarrow", "sklearn", "matplotlib",
    "fastapi", "uvicorn", "prometheus_client", "adaptershare_cli.data.task_file",  # the pydantic models of definitions
)  # fmt: skip
DATA = [DownloadSettings, PreproSettings]
TRAINING = [*DATA, TrainingSettings, RuntimeSettings]
SETTINGS = {
    "download": [DownloadSettings],
    "prepro": DATA,
    "train-single": [*TRAINING, StartSettings],
    "train-share": [*TRAINING, *(spec.settings for spec in METHODS.values())],
    "correlate": [RuntimeSettings, SelectionSettings, VerdictSettings, *(spec.settings for spec in MEASURES.values())],
    "report": [],
}


def written(name: str, option: str, width: int) -> list[str]:
    """The lines of a command's help in a terminal of that width, without frames."""
    environment = {**ENVIRONMENT, "COLUMNS": str(width)}
    result = CliRunner().invoke(app, [name, option], env=environment, prog_name="adaptershare")
    assert result.exit_code == 0, result.output
    return [line.replace("│", " ").rstrip() for line in result.stdout.splitlines() if not line.startswith("╭─")]


def written_as(parameter: Any) -> list[str]:
    """How an option is written, or what stands for an argument."""
    if parameter.param_type_name == "argument":
        return [parameter.metavar]
    return [*parameter.opts, *parameter.secondary_opts]


def test_there_is_a_command_for_each_stage() -> None:
    assert tuple(COMMANDS) == (*STAGES, "status", "predict", "serve", "init", "export", "compare", "ls", "clean")


def test_help_of_the_program_lists_the_commands() -> None:
    text = good("--help").stdout
    for name in COMMANDS:
        assert name in text
    assert "adaptershare train-share --tasks tiny" in text


def test_no_argument_shows_the_help() -> None:
    result = call()
    assert "train-share" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str) -> None:
    text = " ".join(good(name, "--help-all").stdout.replace("│", " ").split())
    assert f"Example: adaptershare {name}" in text
    for parameter in COMMANDS[name].params:
        for option in written_as(parameter):
            assert f"{option} " in text, f"{option} is not in the help of {name}"
        assert parameter.help and parameter.help.strip().endswith((".", "exit")), f"{parameter.name}: {parameter.help}"
        assert parameter.help.split()[0] in text


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_never_cut(name: str, width: int) -> None:
    lines = written(name, "--help-all", width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for parameter in COMMANDS[name].params:
        for option in (*written_as(parameter), "--help", "--help-all"):
            assert option in words, f"{option} is not whole in the help of {name} at {width}"
    assert "…" not in " ".join(lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_what_most_people_need_and_that_there_is_more(name: str) -> None:
    lines = written(name, "--help", 80)
    shown = {line.split()[0] for line in lines if line.startswith("  --")}
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    basic, more = shown & known, f"adaptershare {name} --help-all"
    assert {"--workspace", "--json", "--config"} <= basic and len(shown) <= 24
    assert any(more in line for line in lines) == any(option.startswith("--") for option in known - basic)
    if name.startswith("train"):
        assert {"--tasks", "--from", "--model", "--seeds", "--max-steps", "--learning-rate", "--device"} <= basic
    if name == "train-share":
        assert "--method" in basic and "--entropy-angle" not in shown


def test_a_choice_is_listed_or_explained() -> None:
    text = " ".join(" ".join(written("train-share", "--help-all", 80)).split())
    assert "--fusion-head <fresh | copied> Stage two" in text
    assert "--method adapterfusion: train" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_line_of_a_command_is_one_imperative_sentence(name: str) -> None:
    line = COMMANDS[name].help.strip().splitlines()[0]
    assert line[0].isupper() and line.endswith("."), line


@pytest.mark.parametrize("name", STAGES)
def test_every_setting_is_an_option(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    for cls in SETTINGS[name]:
        for item in fields(cls):
            assert "--" + item.name.replace("_", "-") in options


def test_methods_and_measures_are_explained() -> None:
    share, correlate = (" ".join(good(name, "--help-all").stdout.replace("│", " ").split()) for name in
                        ("train-share", "correlate"))  # fmt: skip
    for method, spec in METHODS.items():
        assert f"{method}: {spec.summary.split()[0]}" in share
    for measure in MEASURES:
        assert f"{measure} (" in correlate


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import json, sys
from adaptershare_cli.cli.app import app
found = {{}}
for arguments in {[["--help"], ["--version"], *([name, "--help-all"] for name in COMMANDS)]!r}:
    try:
        app(arguments)
    except SystemExit as end:
        found[" ".join(arguments)] = [end.code, sorted(set({HEAVY!r}) & set(sys.modules))]
print(json.dumps(found), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stderr)
    assert len(found) == len(COMMANDS) + 2
    assert found == {arguments: [0, []] for arguments in found}


def test_version() -> None:
    done = subprocess.run([sys.executable, "-m", "adaptershare_cli", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"adaptershare {__version__}\n", "")


def test_unknown_command_and_option() -> None:
    for arguments in (("train",), ("download", "--task", "x"), ("report", "--learning-rate", "1")):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "No such" in result.stderr
