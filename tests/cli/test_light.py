"""Commands that find everything there, and those that are refused for their words, import nothing heavy.

Each table runs in one process of its own, as this one has imported torch already.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ENVIRONMENT, SPLITTING, Share, snapshot

TORCH = {"torch", "transformers", "adapters", "datasets", "evaluate", "sklearn"}
HEAVY = TORCH | {"pandas", "scipy", "matplotlib"}

SCRIPT = """
import json, sys
from typer.testing import CliRunner
from adaptershare_cli.cli.app import app
found = []
for arguments in json.load(sys.stdin):
    before = set(sys.modules)
    result = CliRunner().invoke(app, arguments, env={environment!r})
    heavy = sorted(({heavy!r} & set(sys.modules)) - before)
    traceback = not isinstance(result.exception, SystemExit | None)
    found.append([result.exit_code, heavy, repr(result.exception) if traceback else result.stderr, result.stdout])
print(json.dumps(found))
"""


def run(calls: list[tuple[Any, ...]]) -> list[tuple[int, list[str], str, str]]:
    """Of each call its exit code, what heavy modules it was the first to import, and what it wrote."""
    script = SCRIPT.format(environment=ENVIRONMENT, heavy=HEAVY)
    words = json.dumps([[str(argument) for argument in arguments] for arguments in calls])
    done = subprocess.run([sys.executable, "-c", script], input=words, capture_output=True, text=True, check=True)
    return [tuple(found) for found in json.loads(done.stdout)]


def test_what_is_there_is_found_without_torch(share: Share, trained: Path) -> None:
    """A second call of status, report, correlate and a training: all is kept, every byte compared, and no torch."""
    automatic = share(trained, *SPLITTING)
    calls = [
        ("status", "-w", trained),
        automatic,
        ("correlate", "-w", trained),
        ("report", "-w", trained),
    ]
    before = snapshot(trained, times=True)
    found = run(calls)
    assert snapshot(trained, times=True) == before
    for (code, heavy, stderr, stdout), arguments in zip(found, calls, strict=True):
        assert (code, stderr) == (0, ""), arguments
        assert not TORCH & set(heavy), arguments
        assert arguments[0] == "status" or "Nothing to do" in stdout
    assert not found[0][1] and not found[1][1]  # tables of what is compared take pandas


@pytest.fixture(scope="module")
def bad_calls(
    share: Share, project: Path, encoder: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict:
    """A bad value for options of every command, by what the message must say; `WORKSPACE` must stay as it is."""
    root = tmp_path_factory.mktemp("bad")
    (root / "empty").mkdir()
    (root / "file").write_text("text")
    (root / "data").mkdir()
    places = ("--task-dir", project / "tasks", "--from", project / "data", "--model", encoder)
    new = ("-w", root / "new")
    tasks = ("--tasks", "first,second")
    both: dict[str, tuple] = {}

    def every(name: str, says: str, *words: Any, commands: tuple[str, ...]) -> None:
        for command in commands:
            both[f"{command}: {name}"] = (says, (command, *words, *new))

    stages = ("download", "prepro", "train-single", "train-share")
    trainings = stages[2:]
    makers = stages[1:]
    every("unknown task", "unknown task", "--tasks", "firts", *places[:4], commands=stages)
    every("no task", "No tasks are named", *places[:4], commands=stages)
    every("a task folder that is none", "not a folder", *tasks, "--task-dir", root / "none", commands=stages)
    every("an empty task folder", "no task definition", *tasks, "--task-dir", root / "empty", commands=stages)
    every("a source that is not there", "not a folder", *tasks, *places[:2], "--from", root / "none", commands=stages)
    every("a source without the files", "has no file", *tasks, *places[:2], "--from", root / "data", commands=stages)
    every("rejected rows", "--max-rejected", *tasks, *places[:4], "--max-rejected", -1, commands=stages)
    every("an unknown option", "No such option", *tasks, "--lerning-rate", 1, commands=stages)
    every("a config that is not there", "does not exist", *tasks, "--config", root / "none.toml", commands=stages)
    every(
        "an encoder that is not there",
        "is not a folder",
        *tasks,
        *places[:4],
        "--model",
        root / "none",
        commands=makers,
    )
    every(
        "an encoder's folder without one",
        "config.json",
        *tasks,
        *places[:4],
        "--model",
        root / "empty",
        commands=makers,
    )
    every("a length", "--max-seq-length", *tasks, *places, "--max-seq-length", 2, commands=makers)
    every("seeds as a range", "--seeds 0,1,2", *tasks, *places, "--seeds", "0-2", commands=trainings)
    every("a seed below 0", "--seeds", *tasks, *places, "--seeds", "0,-1", commands=trainings)
    every("seeds twice", "exclude each other", *tasks, *places, "--seeds", "0", "--seed", 1, commands=trainings)
    every("updates", "--max-steps", *tasks, *places, "--max-steps", 0, commands=trainings)
    every("a rate", "--learning-rate", *tasks, *places, "--learning-rate", "nan", commands=trainings)
    every("threads", "--threads", *tasks, *places, "--threads", 0, commands=trainings)
    every("a precision", "fp16", *tasks, *places, "--precision", "fp16", commands=trainings)
    every("a kind of adapter", "lora2", *tasks, *places, "--adapter-config", "lora2", commands=trainings)
    every("no effect", "belongs to", *tasks, *places, "--sampling-temperature", 3, commands=trainings)
    every("an earlier run", "No run matches", *tasks, *places, "--from-run", "x", commands=("train-single",))
    share_only = {
        "a method": ("sharde", "--method", "sharde"),
        "another method's option": ("does not know --rounds", "--rounds", 2),
        "one task": ("at least two tasks", "--tasks", "first"),
        "a plan's run": ("No run matches", "--init-plan", "x"),
        "a masks' run": ("No run matches", "--method", "sparse-sharing", "--masks", "given", "--mask-run", "x"),
        "a fusion's run": ("No run matches", "--method", "adapterfusion", "--fusion-over", "x"),
        "a selection": ("There is no selection", "--tasks", "", "--from", "", "--task-dir", "", "--selection", "x"),
        "a check after the end": ("comes after the last", "--max-steps", 5, "--first-check", 9),
        "a preset": ("papre", "--preset", "papre"),
    }
    for name, (says, *words) in share_only.items():
        if name == "a selection":
            words, given = ["--selection", "x"], ("--model", encoder)
        else:
            given = (*tasks, *places)
        both[f"train-share: {name}"] = (says, ("train-share", *given, *words, *new))
    of_runs = ("-w", trained)
    for name, says, *words in (
        ("a run", "No run matches", "--run", "x"),
        ("a measure", "gradeint", "--measure", "gradeint"),
        ("another measure's option", "does not know", "--target-steps", 3),
        ("seeds", "--seeds 0,1,2", "--measure", "transfer", "--seeds", "0-2"),
        ("seeds without effect", "--seeds has no effect", "--seeds", "1"),
        (
            "a target",
            "is no task of the run",
            "--measure",
            "size",
            "--select",
            "threshold",
            "--threshold",
            1,
            "--target",
            "x",
        ),
        ("a truth", "gradient", "--against", "gradient"),
        ("an encoder", "is not a folder", "--measure", "text", "--model", root / "none"),
    ):
        both[f"correlate: {name}"] = (says, ("correlate", *words, *of_runs))
    both["correlate: nothing there"] = ("There is no run", ("correlate", *new))
    both["report: nothing there"] = ("There is no run", ("report", *new))
    both["report: a run"] = ("No run matches", ("report", "--run", "x", *of_runs))
    both["status: a task folder that is none"] = ("not a folder", ("status", "--task-dir", root / "none", *new))
    for command in (*stages, "correlate", "report", "status"):
        words = (*tasks, *places[:4]) if command in stages else ()
        both[f"{command}: a workspace that is a file"] = ("is a file", (command, *words, "-w", root / "file"))
    return {"root": root, "calls": both, "trained": trained}


def test_bad_words_are_refused_before_anything_heavy(bad_calls: dict[str, Any]) -> None:
    """With one message and exit code 2, before anything is imported that takes long, and nothing is made."""
    calls: dict[str, tuple[str, tuple]] = bad_calls["calls"]
    before = snapshot(bad_calls["trained"], times=True)
    found = run([arguments for _, arguments in calls.values()])
    wrong = {
        name: (code, heavy, stderr)
        for (name, (says, _)), (code, heavy, stderr, stdout) in zip(calls.items(), found, strict=True)
        if code != 2 or TORCH & set(heavy) or says not in " ".join(stderr.split()) or "made" in stdout
    }
    assert not wrong, json.dumps(wrong, indent=1)
    assert snapshot(bad_calls["trained"], times=True) == before
    assert not [path for path in (bad_calls["root"] / "new").rglob("*") if path.is_file()]
