"""Whatever byte changes in a workspace, the stage that would use it refuses and says what, where and what to do."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.errors import UserError
from adaptershare_cli.store.artefact import META, ORIGIN, TIMING, read_artefact, seal, verify
from tests.cli.conftest import call, flip_byte, good, only, refused
from tests.faults.conftest import Project, exact
from tests.faults.processes import send_at

STAGES = ["download", "prepro", "train-single", "train-share adaptershare", "correlate", "report"]


@pytest.fixture(scope="session")
def full(project: Project) -> Path:
    """A workspace with an artefact of every stage, and the checkpoints of a run that was killed; tests copy it."""
    workspace = Path(shutil.copytree(project.trained, project.root / "full"))
    for stage in ("train-single", "report"):
        project.finished(stage, workspace)
    killed = (send_at, "adaptershare_cli.training.optimizer", "Optimizer.step", 8, signal.SIGKILL)
    assert project.run("train-share shared", workspace, prepare=killed).wait() == -signal.SIGKILL
    return workspace


@pytest.fixture
def workspace(full: Path, place: Path) -> Path:
    return Path(shutil.copytree(full, place / "w"))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "flipped at the start": lambda file: flip_byte(file, 0),
    "flipped in the middle": lambda file: flip_byte(file, file.stat().st_size // 2),
    "flipped at the end": lambda file: flip_byte(file, -1),
    "cut": cut,
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "empty": lambda file: file.write_bytes(b""),
    "missing": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a link": lambda file: (shutil.copy(file, file.with_name("copy")), file.unlink(), file.symlink_to("copy")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_of_every_artefact_and_checkpoint(damage: str, full: Path, workspace: Path) -> None:
    """Each file in turn; `verify` is what each stage calls before it uses an artefact."""
    kinds, count = set(), 0
    for meta in sorted(full.rglob(META)):
        for name in json.loads(meta.read_text())["files"]:
            file = workspace / meta.parent.relative_to(full) / name
            if not file.stat().st_size:
                continue
            count, kinds = count + 1, kinds | {file.suffix}
            DAMAGES[damage](file)
            artefact = read_artefact(workspace / meta.parent.relative_to(full))
            assert artefact is not None
            with pytest.raises(UserError) as caught:
                verify(artefact)
            error = caught.value
            assert f"damaged: {name}" in error.what and error.where == str(artefact.path)
            assert error.fix.startswith("Delete the folder, then run: adaptershare "), error.fix
            if damage not in ("missing", "a folder", "a link"):
                assert "expected" in error.what and "found" in error.what
            if file.is_dir():
                file.rmdir()
            else:
                file.unlink(missing_ok=True)
            shutil.copyfile(meta.parent / name, file)
            verify(artefact)
    assert count > 70
    assert kinds == {".parquet", ".safetensors", ".json", ".md", ".html", ".svg", ".png", ".csv", ".tex"}


def edit(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changes})


def resealed(**changes: Any) -> Callable[[str], str]:
    """An edit by somebody who mends the checksum too."""
    return lambda text: json.dumps(seal({k: v for k, v in {**json.loads(text), **changes}.items() if k != "checksum"}))


def drop(*names: str) -> Callable[[str], str]:
    return lambda text: json.dumps(seal({k: v for k, v in json.loads(text).items() if k not in (*names, "checksum")}))


FILE = {"sha256": "0" * 64, "bytes": 1}
EDITS: dict[str, tuple[Callable[[str], str], str]] = {
    "one value": (lambda text: text.replace('"format": 2', '"format": 2, "extra": 1'), "expected SHA-256"),
    "the content": (edit(content="0" * 64), "was changed after it was written"),
    "the info": (edit(info={}), "was changed after it was written"),
    "no checksum": (edit(checksum=None), "expected SHA-256"),
    "another format": (edit(format=1), "has another format: expected 2, found 1"),
    "no format": (edit(format=None), "has another format: expected 2, found None"),
    "a list": (lambda text: "[]", "has another format"),
    "empty": (lambda text: "", "expected JSON, found"),
    "half": (lambda text: text[: len(text) // 2], "expected JSON, found"),
    "not UTF-8": (lambda text: "\udcff", "expected JSON, found"),
    "deep": (lambda text: "[" * 100_000, "expected JSON, found"),
    "files missing": (drop("files"), "no usable field 'files'"),
    "info missing": (drop("info"), "no usable field 'info'"),
    "inputs of another type": (resealed(inputs={}), "no usable field 'inputs'"),
    "name of another type": (resealed(name=3), "no usable field 'name'"),
    "files above": (resealed(files={"../../x": FILE}), "outside its folder"),
    "files elsewhere": (resealed(files={"/etc/passwd": FILE}), "outside its folder"),
    "files in the middle": (resealed(files={"a/../../x": FILE}), "outside its folder"),
    "files on a drive": (resealed(files={"C:\\x": FILE}), "outside its folder"),
    "files with a NUL": (resealed(files={"a\0b": FILE}), "outside its folder"),
    "files without name": (resealed(files={"": FILE}), "outside its folder"),
    "files without size": (resealed(files={"x": {"sha256": "0"}}), "no usable entry for 'x'"),
    "files without hash": (resealed(files={"x": {"bytes": 1}}), "no usable entry for 'x'"),
    "files that are text": (resealed(files={"x": "y"}), "no usable entry for 'x'"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_artefact_json(name: str, workspace: Path) -> None:
    change, says = EDITS[name]
    meta = only(workspace, "train-share/*/artefact.json")
    meta.write_bytes(change(meta.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="artefact.json") as caught:
        read_artefact(meta.parent)
    assert says in caught.value.what
    refused("correlate", "-w", workspace, says=("artefact.json", str(meta.parent), "Delete the folder", says))


@pytest.mark.parametrize("stage", STAGES)
def test_the_stage_refuses_and_its_advice_helps(stage: str, project: Project, full: Path, place: Path) -> None:
    """Each stage, given again over its own damaged artefact: refused; with the folder deleted and the command that
    the error names, or with --force, all is as before."""
    name, _, method = stage.partition(" ")
    folder = "report" if name == "report" else f"{name}/{method or '*'}*"
    for file in (META, "*.parquet"):
        workspace = Path(shutil.copytree(full, place / f"{file[0]}w"))
        damaged = sorted(workspace.glob(f"{folder}/{file}"))[0]
        flip_byte(damaged, damaged.stat().st_size // 2)
        text = refused(*project.command(stage, workspace), says=(damaged.name, str(damaged.parent), "expected"))
        words = shlex.split(text.partition("then run: ")[2])
        assert words[0] == "adaptershare" and words[-1] == str(workspace)  # not the one that it is a copy of
        shutil.rmtree(damaged.parent)
        good(*words[1:])
        assert exact(workspace) == exact(full)
        flip_byte(damaged, 1)
        good(*project.command(stage, workspace, "--force"))
        assert exact(workspace) == exact(full)


def test_a_later_stage_refuses_what_it_builds_on(project: Project, workspace: Path) -> None:
    train_share = project.command("train-share shared", workspace)
    for pattern, command in (
        ("download/first-*/train.parquet", train_share),
        ("prepro/second-*/heldout.parquet", train_share),
        ("checkpoints/shared-*/main-*6/tensors.safetensors", train_share),
        ("checkpoints/shared-*/main-*6/state.json", train_share),
        ("checkpoints/shared-*/main-*6/steps.parquet", train_share),
        ("train-share/adaptershare-*/sharing.parquet", ("correlate", "-w", workspace)),
    ):
        file = only(workspace, pattern)
        before = exact(workspace)
        flip_byte(file, -5)
        refused(*command, says=(f"{file.name}: expected SHA-256", str(file.relative_to(workspace).parts[1])))
        flip_byte(file, -5)
        assert exact(workspace) == before


def test_the_report_leaves_out_what_is_damaged(workspace: Path) -> None:
    for pattern in (
        "train-share/adaptershare-*/tasks/first/head.safetensors",
        "train-single/first-*/metrics.parquet",
        "correlate/gradient-????????/heatmap.svg",
    ):
        file = only(workspace, pattern)
        flip_byte(file, -5)
        result = call("report", "-w", workspace)
        assert result.exit_code == 1 and f"{file.name}: expected SHA-256" in result.stderr
        assert str(file.relative_to(workspace).parts[1]) in (workspace / "report" / "report.html").read_text()
        flip_byte(file, -5)
    good("report", "-w", workspace)


def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(project: Project, workspace: Path) -> None:
    newest = only(workspace, "checkpoints/shared-*/main-*6")
    flip_byte(newest / "tensors.safetensors", -5)
    refused(*project.command("train-share shared", workspace), says=("tensors.safetensors", "Delete the folder"))
    shutil.rmtree(newest)
    assert "goes on after update 3 of 14" in good(*project.command("train-share shared", workspace)).stdout
    whole, _ = project.unbroken("train-share shared")
    names = {name for name in whole if name.startswith("train-share/shared")}
    assert {name: digest for name, digest in exact(workspace).items() if name in names} == {n: whole[n] for n in names}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"training_seconds": "long"}', None])
def test_spoilt_durations(content: str | None, workspace: Path) -> None:
    """They are not hashed, so only what cannot be read is noticed."""
    file = only(workspace, f"train-share/*/{TIMING}")
    file.unlink()
    if content is not None:
        file.write_text(content)
    shutil.rmtree(workspace / "report")
    refused("report", "--run", file.parent.name, "-w", workspace, says=(TIMING, str(file.parent)))


@pytest.mark.parametrize("content", ["", "[]", '{"command": 3}', None])
def test_a_spoilt_origin_costs_the_advice_only(content: str | None, workspace: Path) -> None:
    file = only(workspace, f"train-share/*/{ORIGIN}")
    file.unlink()
    if content is not None:
        file.write_text(content)
    good("report", "-w", workspace)
    flip_byte(only(workspace, "train-share/*/metrics.parquet"), 9)
    refused(
        "report",
        "--run",
        file.parent.name,
        "-w",
        workspace,
        says=("metrics.parquet", "give the command that made it once more"),
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"first": 3}', '{"first": null}', None])
def test_a_spoilt_memory_of_sources(content: str | None, project: Project, workspace: Path) -> None:
    file = workspace / "sources.json"
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    for stage in ("download", "train-share adaptershare"):
        refused(*project.command(stage, workspace), says=("sources.json", str(workspace), "Delete it"))
    assert "Traceback" not in call("status", "-w", workspace, "--verify").output


def test_a_stage_is_not_stopped_by_what_it_does_not_use(project: Project, workspace: Path) -> None:
    flip_byte(only(workspace, "train-share/*/metrics.parquet"), 9)
    flip_byte(only(workspace, "prepro/score-*/train.parquet"), 9)
    arguments = project.command("train-share shared", workspace)
    good(*("first,second" if word == "first,second,score" else word for word in arguments))
    good("correlate", "--run", "shared", "-w", workspace)
