"""The encoder that runs recorded is found again on this machine; a folder's name is never asked of the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from adaptershare_cli.store.artefact import ORIGIN
from tests.cli.conftest import good, made, only, refused

TEXT = ("correlate", "--measure", "text", "--samples", "4", "-w")
Asked = list[str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the hub is asked for over the network; its cache is empty."""
    found: Asked = []

    def download(name: str, local_files_only: bool = False, **_: Any) -> str:
        if not local_files_only:
            found.append(name)
        raise LocalEntryNotFoundError("nothing is there")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return found


@pytest.fixture
def recorded(workspace: Path) -> Callable[..., None]:
    """Change what the workspace's run tells of where its encoder lay."""
    origin = only(workspace, "train-share/*") / ORIGIN

    def change(**values: Any) -> None:
        known = json.loads(origin.read_text())
        kept = {name: value for name, value in {**known, **values}.items() if value is not None}
        origin.write_text(json.dumps(kept))

    return change


def test_a_folder_is_found_where_it_was(
    workspace: Path, encoder: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    origin = json.loads((only(workspace, "train-share/*") / ORIGIN).read_text())
    assert origin["encoder"] == str(encoder.resolve()) and origin["command"]
    assert made(good(*TEXT, workspace).output)[0].startswith("correlate/text-")
    assert asked == []


@pytest.mark.parametrize("place", [None, "gone", "other", ["no path"]])
def test_a_folder_that_is_not_found_again(
    place: Any, workspace: Path, encoder: Path, encoders: dict[str, Path], recorded: Callable[..., None], asked: Asked,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Moved, changed, or of a run that did not record where it was: the folder is asked for, and taken when given."""
    where = {"gone": str(tmp_path / "nowhere"), "other": str(encoders["electra"])}
    recorded(encoder=where.get(place, place) if isinstance(place, str) else place)
    says = ["The encoder 'bert' of train-share/adaptershare-", "it was a folder", "Give its folder: --model FOLDER"]
    says += [f"{encoders['electra']} holds another one now"] if place == "other" else []
    for command in (TEXT, ("correlate", "--against", "transfer", "--target-steps", "1", "-w")):
        refused(*command, workspace, says=tuple(says))
    moved = shutil.copytree(encoder, tmp_path / "moved")
    told = refused(*TEXT, workspace, "--model", encoders["electra"], says=("is not the encoder that",))
    assert "its folder, or its id on the hub" in told
    good(*TEXT, workspace, "--model", moved)
    assert asked == []


def test_a_run_that_needs_no_encoder_asks_for_none(workspace: Path, recorded: Callable[..., None]) -> None:
    recorded(encoder=None)
    good("correlate", "--measure", "gradient,plan", "-w", workspace)
    good("report", "-w", workspace)


def test_names_that_runs_recorded(
    workspace: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    """A name in the hub's cache is taken only with the weights that were recorded; an id may be fetched again."""
    from adaptershare_cli.model.source import find_encoder, is_hub_id, locate_encoder

    source = locate_encoder(str(encoder))
    assert find_encoder("bert", source.weights, []) is None and asked == []
    assert find_encoder("embedded", source.weights, [encoder]) is not None  # a folder of that name
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, local_files_only: str(encoder))
    found = find_encoder("some/toy", source.weights, [])
    assert found is not None and (found.name, found.folder) == ("some/toy", encoder)
    assert find_encoder("some/toy", "0" * 64, []) is None
    assert is_hub_id("some/toy") and not is_hub_id("bert")
