"""Nothing is unpickled, nothing leads out of the workspace, nothing asks the network, and modes follow the umask."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import stat
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.model.source import EMBEDDED_PACKAGE
from adaptershare_cli.store.artefact import META, seal
from adaptershare_cli.store.workspace import CHECKPOINTS, Workspace
from tests.cli.conftest import call, good, only, refused
from tests.faults.conftest import Project, exact
from tests.faults.processes import Command

# ---- weights ----


class Trap:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (66,)


def zipped() -> bytes:
    """As torch.save writes: a zip archive that holds a pickle."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    data = buffer.getvalue()
    assert zipfile.is_zipfile(io.BytesIO(data))
    return data


PICKLES = {"pickle": pickle.dumps(Trap()), "old pickle": pickle.dumps(Trap(), protocol=0), "zip": zipped()}


@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_a_pickle_in_the_place_of_the_encoder(name: str, kind: str, project: Project, place: Path) -> None:
    folder = Path(shutil.copytree(project.root / "encoder", place / "encoder"))
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(PICKLES[kind])
    for stage in ("prepro", "train-single", "train-share shared"):
        refused(*project.command(stage, place / "w"), "--model", folder, says=(name, "unpickled"))
    assert not (place / "w" / "prepro").exists()


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_in_the_place_of_a_checkpoint(kind: str, project: Project, place: Path) -> None:
    """By somebody who mends the checksums too."""
    from tests.faults.processes import send_at

    workspace = project.start_of("train-share shared", place / "w")
    killing = (send_at, "adaptershare_cli.training.optimizer", "Optimizer.step", 5, 9)
    assert project.run("train-share shared", workspace, prepare=killing).wait() == -9
    folder = only(workspace, "checkpoints/*/main-00000003")
    (folder / "tensors.safetensors").write_bytes(PICKLES[kind])
    reseal(folder)
    refused(*project.command("train-share shared", workspace), says=("damaged", str(folder)))


def reseal(folder: Path, **changes: Any) -> None:
    """Write an `artefact.json` that fits the files and the changes."""
    from adaptershare_cli.store.artefact import hash_files, write_json

    meta = {k: v for k, v in json.loads((folder / META).read_text()).items() if k != "checksum"}
    write_json(folder / META, seal({**meta, "files": hash_files(folder), **changes}))


# ---- names and paths ----

NAMES = [
    "..",
    ".",
    "",
    "../x",
    "a/b",
    "/etc",
    "a\\b",
    "C:",
    "C:x",
    "a\0b",
    "a\nb",
    "\x1b[31m",
    ".hidden",
    "-x",
    "ü",
    "a b",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_would_lead_elsewhere(name: str, place: Path) -> None:
    """Whatever reaches the workspace: task, method, run or phase."""
    space = Workspace(place / "w")
    for stage, part, key in (("prepro", name, "0123abcd"), ("prepro", "x", name), (f"{CHECKPOINTS}/{name}", "x", "1")):
        with pytest.raises(UserError, match="cannot be part of an artefact's name"):
            space.path(stage, part, key)
        with pytest.raises(UserError, match="cannot be part of an artefact's name"):
            space.publish(stage, part, key, lambda folder: {}, {"request": {}, "inputs": []})
    assert not list(place.iterdir())


def test_every_methods_name_can_name_a_folder(place: Path) -> None:
    space = Workspace(place / "w")
    for method in METHODS:
        assert space.path("train-share", method, "0123abcd").parent == place / "w" / "train-share"


@pytest.mark.parametrize("name", [name for name in NAMES if "\0" not in name])
def test_names_on_the_command_line(name: str, project: Project, place: Path) -> None:
    workspace = Path(shutil.copytree(project.trained, place / "w"))
    before = exact(workspace)
    outside = sorted(path.name for path in place.iterdir())
    for option, stage in (
        ("--tasks", "train-share shared"),
        ("--run", "correlate"),
        ("--run", "report"),
        ("--init-plan", "train-share given-plan"),
        ("--method", "train-share shared"),
        ("--measure", "correlate"),
    ):
        result = call(*project.command(stage, workspace), option, name)
        assert result.exit_code == 2, f"{option} {name!r}: {result.output}"
        assert "Traceback" not in result.output and "\x1b" not in result.output
    assert exact(workspace) == before and sorted(path.name for path in place.iterdir()) == outside


@pytest.mark.parametrize("text", ["a\\u0000b", "\\u001b[31m", "a\\nb"])
@pytest.mark.parametrize("name", ["tasks", "model", "from", "task-dir", "workspace", "init-plan", "method", "pooling"])
def test_control_characters_in_a_config(name: str, text: str, project: Project, place: Path) -> None:
    file = place / "config.toml"
    file.write_text(f'{name} = "{text}"\n')
    for more in ((), ("-t", "first,second", "-w", place / "w")):  # also where the command line wins
        refused("train-share", "--config", file, *more, says=(name, str(file)))
    assert not (place / "w").exists()


def test_a_model_folder_with_an_odd_name(project: Project, place: Path) -> None:
    """Markup and terminal codes do no harm; a name that is not UTF-8 is refused before anything is made."""
    folder = place / "[red]\x1b[31m x"
    shutil.copytree(project.root / "encoder", folder)
    workspace = project.start_of("train-share shared", place / "w")
    outputs = [project.finished("train-share shared", workspace, "--model", folder).output]
    outputs.append(project.finished("report", workspace).output)
    assert not any("\x1b" in output for output in outputs) and "[red]" in outputs[1]
    latin = folder.rename(place / os.fsdecode(b"\xff"))
    refused(*project.command("prepro", workspace), "--model", latin, says=("not UTF-8", "--model"))
    refused(*project.command("download", latin), says=("not UTF-8", "--workspace"))


# ---- links ----


def outside(place: Path) -> Path:
    """A folder beside the workspace that must stay as it is."""
    folder = place / "outside"
    (folder / ".partial-x").mkdir(parents=True)
    for file in (folder / "mine", folder / ".partial-x" / "mine"):
        file.write_text("mine")
    return folder


LINKS = ["download", "prepro", "train-share", "report", ".locks", "checkpoints", "correlate"]


@pytest.mark.parametrize("name", LINKS)
def test_links_out_of_the_workspace(name: str, project: Project, place: Path) -> None:
    workspace = Path(shutil.copytree(project.trained, place / "w"))
    target = outside(place)
    shutil.rmtree(workspace / name, ignore_errors=True)
    (workspace / name).symlink_to(target)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    stage = {"report": "report", "correlate": "correlate"}.get(name, "train-share shared")
    refused(*project.command(stage, workspace), says=("leads out of the workspace", "symbolic link", name))
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_an_artefact_that_is_a_link(project: Project, place: Path) -> None:
    workspace = Path(shutil.copytree(project.trained, place / "w"))
    target = place / "elsewhere"
    for pattern, stage in (
        ("prepro/first-*", "train-share shared"),
        ("train-share/*", "report"),
        ("train-share/*", "train-share adaptershare"),
    ):
        folder = only(workspace, pattern)
        folder.rename(target)
        folder.symlink_to(target)
        for more in ((), ("--force",)) if stage == "train-share adaptershare" else ((),):
            refused(*project.command(stage, workspace, *more), says=("leads out of the workspace", folder.name))
        assert (target / META).is_file()
        assert "leads out of the workspace" in call("status", "-w", workspace).output
        folder.unlink()
        target.rename(folder)


def test_half_made_things_that_are_links(project: Project, place: Path) -> None:
    """They are removed themselves, not what they point at."""
    workspace = Path(shutil.copytree(project.prepared, place / "w"))
    target = outside(place)
    first = only(workspace, "prepro/first-*")
    for prefix in (".partial-", ".aside-"):
        first.with_name(prefix + first.name).symlink_to(target)
    (workspace / ".sources.json").symlink_to(target / "mine")
    before = exact(workspace)
    good(*project.command("prepro", workspace, "--force"))
    assert exact(workspace) == before
    assert (target / "mine").read_text() == "mine" and (target / ".partial-x" / "mine").is_file()


def test_a_workspace_that_is_a_link_is_its_users_wish(project: Project, place: Path) -> None:
    (place / "disk").mkdir()
    (place / "w").symlink_to(place / "disk")
    good(*project.command("download", place / "w"))
    assert len(list((place / "disk" / "download").iterdir())) == 3


def test_pictures_are_only_taken_from_the_artefacts_own_files(project: Project, place: Path) -> None:
    workspace = Path(shutil.copytree(project.trained, place / "w"))
    folder = only(workspace, "correlate/gradient-????????")
    (place / "secret.svg").write_text("secret")
    meta = json.loads((folder / META).read_text())
    reseal(folder, info={**meta["info"], "plots": ["../../../secret.svg"]})
    refused("report", "-w", workspace, says=("lists no file ../../../secret.svg",))
    assert not (workspace / "report").exists()


# ---- the network ----


def refuse_sockets(log: str, offline: bool) -> None:
    """In a command's process: every attempt to reach another machine is noted, and fails."""

    def attempt(what: str) -> Any:
        def refuse(*arguments: Any, **options: Any) -> NoReturn:
            with open(log, "a") as file:
                file.write(f"{what} {arguments[1:]}\n")
            raise OSError(f"no network: {what}")

        return refuse

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, attempt(name))
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        setattr(socket, name, attempt(name))
    if not offline:
        import huggingface_hub.constants

        huggingface_hub.constants.HF_HUB_OFFLINE = False


@pytest.mark.parametrize("offline", [True, False], ids=["HF_HUB_OFFLINE=1", "without"])
def test_no_stage_asks_the_network(offline: bool, place: Path) -> None:
    """All stages on the embedded tiny tasks with the embedded encoder; nothing is asked without the variable either."""
    pytest.importorskip(EMBEDDED_PACKAGE, reason="the embedded encoder is not installed")
    log, workspace = place / "attempts", ("-w", place / "w")
    parts = ("--max-train-examples", "16", "--select-size", "8", "--heldout-size", "4", "--max-eval-examples", "8")
    tasks = ("-t", "sentiment-film,topic-news", *workspace, *parts, "--max-seq-length", "16")
    steps = ("--max-steps", "2", "--threads", "1")
    commands = [
        ("download", "-t", "tiny", *workspace),
        ("prepro", *tasks),
        ("train-single", *tasks, *steps),
        ("train-share", *tasks, *steps, "--first-check", "1", "--check-every", "1"),
        ("correlate", "--plot", *workspace),
        ("report", *workspace),
        ("status", "--verify", *workspace),
    ]
    for arguments in commands if offline else commands[:4:3]:
        command = Command(place / "log", arguments, refuse_sockets, str(log), offline)
        assert command.wait() == 0, command.output
    assert not log.exists(), log.read_text()


def test_what_needs_the_network_says_so(place: Path) -> None:
    for arguments in (
        ("download", "-t", "rte", "-w", place / "w"),
        ("prepro", "-t", "sentiment-film", "--model", "nobody/no-such-encoder", "-w", place / "w"),
    ):
        command = Command(place / "log", arguments, refuse_sockets, str(place / "attempts"), True)
        assert command.wait() == 2 and "Traceback" not in command.output, command.output
    assert not (place / "attempts").exists()  # with HF_HUB_OFFLINE=1 it is not even tried


# ---- file modes ----


def set_umask(mask: int) -> None:
    """In a command's process."""
    os.umask(mask)


@pytest.mark.parametrize("mask", [0o077, 0o002], ids=oct)
def test_modes_follow_the_umask(mask: int, project: Project, place: Path) -> None:
    workspace = place / "w"
    for stage in ("train-share adaptershare", "correlate", "report"):
        command = project.run(stage, workspace, prepare=(set_umask, mask))
        assert command.wait() == 0, command.output
    found = {}
    for path in [workspace, *workspace.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode != (0o777 if path.is_dir() else 0o666) & ~mask:
            found[path.relative_to(workspace).as_posix()] = oct(mode)
    assert not found


def test_no_remote_code(project: Project, place: Path) -> None:
    """An encoder that asks for code of its own is taken as what its type says, or refused; the code does not run."""
    folder = Path(shutil.copytree(project.root / "encoder", place / "encoder"))
    (folder / "evil.py").write_text("import os\nos._exit(66)\n")
    config = json.loads((folder / "config.json").read_text())
    names = ("AutoConfig", "AutoModel", "AutoTokenizer")
    config["auto_map"] = {name: f"evil.{name}" for name in names}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["evil.Slow", "evil.Fast"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    command = project.run("train-share shared", place / "w", "--model", folder)
    assert command.wait() in (0, 2) and "Traceback" not in command.output, command.output


def test_settings_of_every_method_are_plain_values() -> None:
    """What goes into a name, a key or a command is text, a number or a truth value."""
    for method in METHODS:
        for value in vars(method_settings(method, {})).values():
            assert value is None or isinstance(value, str | int | float | bool)
