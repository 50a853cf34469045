"""Paths are paths, `~` is the home wherever one is taken, and a command that is told works from any folder."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.store.artefact import ORIGIN, Artefact, workspace_of
from tests.cli.conftest import Share, call, definition, flip_byte, good, made, only, refused
from tests.unit.test_parquet_files import ODD_NAMES

LENGTH = ("--max-seq-length", "64")  # what the small encoder takes


@pytest.fixture
def parquet_task(tmp_path: Path) -> Path:
    """A task of Parquet files: its definition in `tasks`, its files in `data`."""
    split = {"train": "train.parquet", "dev": "dev.parquet"}
    content = definition("odd", ("bad", "good"), files={"reader": "parquet", "splits": split})
    for folder in ("tasks", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tasks" / "odd.yaml").write_text(json.dumps(content), encoding="utf-8")
    words = {"text": [f"film {'good' if n % 2 else 'bad'} {n}" for n in range(40)], "label": ["bad", "good"] * 20}
    write_parquet(pa.table(words), tmp_path / "data" / "train.parquet")
    write_parquet(pa.table(words).slice(0, 8), tmp_path / "data" / "dev.parquet")
    return tmp_path


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if not name.startswith(("~", "."))])
def test_folders_of_any_name(
    name: str, parquet_task: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workspace, data, definitions and encoder lie in folders of that name, given as relative paths."""
    place = tmp_path / "place"
    (place / name).mkdir(parents=True)
    monkeypatch.chdir(place)
    for folder in ("tasks", "data"):
        shutil.copytree(parquet_task / folder, Path(name) / folder)
    shutil.copytree(encoder, Path(name) / "encoder")
    inside = {option: f"{name}/{option}" for option in ("tasks", "data", "encoder", "w")}
    options = ["--task-dir", inside["tasks"], "--from", inside["data"], "--model", inside["encoder"], *LENGTH]
    assert len(made(good("prepro", "-t", "odd", *options, "-w", inside["w"]).stdout)) == 2
    found = json.loads(good("status", "-w", inside["w"], "--verify", "--json").stdout)["artefacts"]
    assert {row["state"] for row in found} == {"whole"}
    assert [path.name for path in place.iterdir()] == [name]


def test_a_training_in_a_folder_that_looks_like_an_address(
    share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good(*share("run:1", "--max-steps", "2", "--method", "shared"))
    good("correlate", "--measure", "plan", "--plot", "-w", "run:1")
    good("report", "-w", "run:1")


def test_the_home_is_expanded_wherever_a_path_is_taken(
    parquet_task: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(parquet_task))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(encoder, parquet_task / "enc")
    (parquet_task / "more").mkdir()
    shutil.copyfile(parquet_task / "tasks" / "odd.yaml", parquet_task / "more" / "even.yaml")
    options = ("--task-dir=~/tasks, ~/more", "--from=~/data", "--model=~/enc")
    good("prepro", "-t", "odd,even", *options, *LENGTH, "--workspace=~/w")
    assert len(list((parquet_task / "w" / "prepro").glob("[!.]*"))) == 2
    (parquet_task / "c.toml").write_text(
        'workspace = "~/w2"\nfrom = "~/data"\ntask-dir = ["~/tasks", "~/more"]\nmodel = "~/enc"\ntasks = "even"\n'
    )
    good("prepro", "--config=~/c.toml", *LENGTH)
    assert len(list((parquet_task / "w2" / "prepro").glob("[!.]*"))) == 1
    monkeypatch.setenv("ADAPTERSHARE_WORKSPACE", "~/w2")
    assert "even" in good("status").stdout
    refused(
        "prepro", "-t", "odd", "--from=~nobody-of-that-name/x", says=("home folder", "~nobody-of-that-name", "./~n")
    )
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("option", ["--workspace", "--from", "--config"])
def test_an_empty_path_is_refused(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused("download", "-t", "tiny", option, "", says=("A path is empty",))
    assert not list(tmp_path.iterdir())


# ---- commands that are told ----


def told(text: str) -> list[str]:
    """The words of the command that a line tells, without the program's name."""
    (line,) = [line for line in text.splitlines() if "adaptershare " in line]
    return shlex.split(line[line.index("adaptershare ") :])[1:]


def test_the_advice_works_after_the_workspace_was_moved(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "it's elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    for folder in ("tasks", "data"):
        shutil.copytree(project / folder, here / folder)
    (here / "c.toml").write_text('from = "data"\nmax-rejected = 3\n', encoding="utf-8")
    monkeypatch.chdir(here)
    good("download", "-t", "first", "--task-dir", "tasks", "--config", "c.toml", "-w", "wp", "--no-wait")
    file = only(here, "wp/download/first-*/train.parquet")
    before = file.read_bytes()
    flip_byte(file, 30)

    shutil.move(here / "wp", elsewhere / "w p")
    monkeypatch.chdir(elsewhere)
    folder = only(elsewhere, "w p/download/first-*")
    for text in (
        call("status", "-w", "w p", "--verify").stdout,
        call("prepro", "-t", "first", "--task-dir", here / "tasks", "--from", here / "data", "--max-rejected", "3",
             "-w", "w p").stderr,
    ):  # fmt: skip
        words = told(text)
        assert words[-2:] == ["--workspace", str(elsewhere / "w p")]
        assert {str(here / "tasks"), str(here / "data"), str(here / "c.toml"), "--no-wait"} <= {*words}
        shutil.rmtree(folder)
        monkeypatch.chdir(tmp_path)
        good(*words)
        assert (folder / "train.parquet").read_bytes() == before
        flip_byte(folder / "train.parquet", 30)
        monkeypatch.chdir(elsewhere)


def test_an_interrupted_command_tells_one_that_goes_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(project)
    monkeypatch.setenv("ADAPTERSHARE_WORKSPACE", str(tmp_path / "w"))
    with monkeypatch.context() as patch:
        patch.setattr("adaptershare_cli.commands.download.read_task", stop)
        result = call("download", "-t", "first", "--task-dir", "tasks", "--from=data", "--force")
    assert result.exit_code == 130
    monkeypatch.delenv("ADAPTERSHARE_WORKSPACE")
    monkeypatch.chdir(tmp_path)
    words = told(result.stderr)
    assert "--force" in words
    good(*words)
    assert len(list((tmp_path / "w" / "download").glob("[!.]*"))) == 1


def test_runs_are_recorded_by_name_as_the_workspace_may_move(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    run = only(workspace, "train-share/*")
    good("correlate", "--run", run.relative_to(workspace), "--measure", "random", "-w", ".")
    moved = Path(shutil.move(workspace, tmp_path / "moved"))
    artefact = Artefact(only(moved, "correlate/random-*"), {})
    words = shlex.split(artefact.command)
    assert words[words.index("--run") + 1] == run.name
    monkeypatch.chdir(tmp_path)
    good(*words[1:])


def test_a_command_of_an_earlier_version_names_the_workspace_of_today(tmp_path: Path) -> None:
    folder = tmp_path / "w" / "download" / "first-0123abcd"
    folder.mkdir(parents=True)
    (folder / ORIGIN).write_text(json.dumps({"command": "adaptershare download -t first -w wp"}), encoding="utf-8")
    assert shlex.split(Artefact(folder, {}).command)[-2:] == ["--workspace", str(tmp_path / "w")]


@pytest.mark.parametrize("root", ["w", "report", "train-share", "truth/x"])
@pytest.mark.parametrize(
    "path", ["report", ".partial-report", "download/first-01", "truth/.aside-x-01", "checkpoints/a-01/main-003"]
)  # fmt: skip
def test_the_workspace_of_an_artefact(root: str, path: str) -> None:
    assert workspace_of(Path("/a", root, path)) == Path("/a", root)


def test_options_are_repeated_as_they_count(project: Path, tmp_path: Path) -> None:
    """Flags, numbers and lists come back with the meaning that they had."""
    good(
        "download", "-t", "first , second", "--task-dir", project / "tasks", "--from", project / "data", "-w", tmp_path
    )
    words = shlex.split(Artefact(only(tmp_path, "download/first-*"), {}).command)
    assert words == [
        "adaptershare", "download", "--tasks", "first , second", "--task-dir", str(project / "tasks"),
        "--from", str(project / "data"), "--workspace", str(tmp_path),
    ]  # fmt: skip
