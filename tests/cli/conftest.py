"""Three small CSV tasks, a way to call the command line in this process, and a workspace that is trained once."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adaptershare_cli.cli.app import app
from adaptershare_cli.runs.checkpoints import CheckpointStore
from adaptershare_cli.store.artefact import ORIGIN, TIMING, Artefact
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.training.checkpoint import Checkpoint
from tests.conftest import WORDS

TASKS = ("first", "second", "score")
LABELS = {"first": ("bad", "good"), "second": ("a", "b", "c"), "score": ()}
ROWS = {"first": 60, "second": 50, "score": 40}
# Ten updates with checks and splits, in about half a second; the small encoders take 64 tokens.
QUICK = (
    "--max-steps", "10", "--per-device-train-batch-size", "8", "--max-seq-length", "64", "--threads", "1",
    "--precision", "fp32", "--learning-rate", "0.01",
)  # fmt: skip
NOTHING = "Nothing to do"
SPLITTING = ("--check-every", "2", "--guard", "none", "--max-interference", "-0.5")
SEARCH = ("--method", "plan-search", "--search-measure", "knn", "--budget", "9")
NO_TRAINING = ("-t", "first,second,score")  # for calls whose stage is replaced
ENVIRONMENT = {"COLUMNS": "240", "NO_COLOR": "1", "TERM": "dumb"}


def definition(name: str, labels: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """What the YAML file of a small CSV task says (JSON is YAML)."""
    content: dict[str, Any] = {
        "kind": "classification" if labels else "regression",
        "metrics": ["accuracy"] if labels else ["pearson"],
        "report_on": ["dev"],
        "files": {"reader": "csv", "splits": {split: f"set/{name}-{split}.csv" for split in ("train", "dev")}},
    }
    content |= {"labels": list(labels)} if labels else {"range": [0, 5]}
    return {**content, **changes}


def write_rows(file: Path, labels: tuple[str, ...], rows: int, seed: str) -> None:
    """Rows of random words whose label depends on them; the same arguments write the same file."""
    draw = random.Random(seed)
    lines = ["text,label"]
    for _ in range(rows):
        words = [draw.choice(WORDS) for _ in range(draw.randint(3, 9))]
        size = sum(map(len, words))
        lines.append(f"{' '.join(words)},{labels[size % len(labels)] if labels else size % 50 / 10}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def add_task(root: Path, name: str, labels: tuple[str, ...], rows: int = 40, **changes: Any) -> None:
    """A task's definition in `root/tasks` and its files in `root/data/set`."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "tasks" / f"{name}.yaml").write_text(json.dumps(definition(name, labels, **changes)), encoding="utf-8")
    for split, count in (("train", rows), ("dev", 12)):
        write_rows(root / "data" / "set" / f"{name}-{split}.csv", labels, count, f"{name} {split}")


def snapshot(folder: Path, times: bool = False) -> dict[str, Any]:
    """Every file's SHA-256 (with `times` also its mtime) by relative path; lock files are left out."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(".locks/"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (digest, path.stat().st_mtime_ns) if times else digest
    return found


def hashed(folder: Path) -> dict[str, str]:
    """The files that must be the same wherever and whenever they are made: not durations, places and the report."""
    files = snapshot(folder)
    return {
        name: digest
        for name, digest in files.items()
        if name != "sources.json" and name.rpartition("/")[2] not in (TIMING, ORIGIN) and not name.startswith("report/")
    }


def only(folder: Path, pattern: str) -> Path:
    """The one path that matches."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def made(output: str) -> list[str]:
    """The artefacts that a command says it made."""
    return [line.split()[1] for line in output.splitlines() if line.startswith("made ")]


def kept(output: str) -> list[str]:
    """The artefacts that a command says were there."""
    return [line.split()[1] for line in output.splitlines() if line.startswith("kept ")]


def stages(labels: list[str]) -> list[str]:
    """The stages of artefacts."""
    return [label.split("/")[0] for label in labels]


def interrupt_at(done: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT to this process when the checkpoint of that update of a run is saved."""
    save = CheckpointStore.save

    def send(self: CheckpointStore, checkpoint: Checkpoint) -> None:
        save(self, checkpoint)
        if checkpoint.updates == done:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(CheckpointStore, "save", send)


def flip_byte(file: Path, place: int) -> None:
    """Change one byte of a file."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def call(*arguments: Any) -> Result:
    """Call the command line in this process; an error that is not meant for users is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=ENVIRONMENT)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*arguments: Any) -> Result:
    """Call the command line, which must succeed."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: Any, says: tuple[str, ...] = ()) -> str:
    """Call the command line, which must refuse: exit code 2 and one message, on stderr, without a traceback."""
    result = call(*arguments)
    text = result.stderr
    assert result.exit_code == 2, result.output
    assert "Traceback" not in text
    assert text.count("error:") + text.count("─ Error ─") == 1, text
    for words in says:
        assert words in text, f"{words!r} is not in: {text}"
    return text


def found(workspace: Path, name: str) -> Artefact:
    """The one artefact of correlate with that name."""
    (artefact,) = [a for a in Workspace(workspace).artefacts("correlate") if a.name == name]
    return artefact


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tasks` (definitions) and `data`; tests read it only."""
    root = tmp_path_factory.mktemp("project")
    for name in TASKS:
        add_task(root, name, LABELS[name], ROWS[name])
    return root


@pytest.fixture
def own_project(project: Path, tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    return Path(shutil.copytree(project, tmp_path / "project"))


Share = Callable[..., tuple[Any, ...]]


def without(arguments: tuple[Any, ...], option: str) -> tuple[Any, ...]:
    """The arguments without the first mention of an option and its value."""
    place = arguments.index(option)
    return (*arguments[:place], *arguments[place + 2 :])


@pytest.fixture(scope="session")
def share(project: Path, encoder: Path) -> Share:
    """The arguments of a quick train-share in a workspace; further ones come after, so they win."""

    def arguments(workspace: Path, *more: Any, root: Path = project, tasks: str = "first,second,score") -> tuple:
        places = ("--task-dir", root / "tasks", "--from", root / "data", "--model", encoder, "-w", workspace)
        return ("train-share", "--tasks", tasks, *places, *QUICK, *more)

    return arguments


@pytest.fixture(scope="session")
def trained(share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one adaptershare run, its correlations and pictures, and the report; tests read it only."""
    workspace = tmp_path_factory.mktemp("trained") / "workspace"
    good(*share(workspace, *SPLITTING))
    good("correlate", "--plot", "-w", workspace)
    good("report", "-w", workspace)
    return workspace


@pytest.fixture(scope="session")
def searched(share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a search of three tasks: each alone, and groups of six tasks in all; tests read it only."""
    workspace = tmp_path_factory.mktemp("searched") / "workspace"
    result = good(*share(workspace, *SEARCH))
    assert stages(made(result.stdout))[-1] == "train-share"
    assert "Groups that were trained, seed 0" in result.stdout
    assert "chosen on one half of them and valued on the other" in " ".join(result.stdout.split())
    return workspace


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained workspace (times kept) that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "workspace"))


def made_by(workspace: Path, stage: str) -> list[Path]:
    """What a stage left in a workspace, hidden folders included."""
    return list((workspace / stage).iterdir()) if (workspace / stage).exists() else []
