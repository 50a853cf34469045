"""Where libraries keep their caches: in a temporary folder of the process, whatever HOME is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from adaptershare_cli.scratch import use_scratch

SET = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As a program finds it that starts; what is set is put back after the test."""
    for name in (*SET, "HF_HOME", "ADAPTERSHARE_SCRATCH"):
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return monkeypatch


def test_caches_lie_in_the_temporary_folder(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_scratch(tmp_path / "w")
    places = [Path(os.environ[name]) for name in SET]
    assert all(place.is_relative_to(tmp_path / "tmp") for place in places)
    assert Path(os.environ["HF_HOME"]) == tmp_path / "home" / ".cache" / "huggingface"
    assert not list((tmp_path / "tmp").iterdir())  # made by who needs it
    use_scratch(tmp_path / "other")
    assert [Path(os.environ[name]) for name in SET] == places


def test_another_process_has_a_folder_of_its_own(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_scratch(tmp_path / "w")
    parents = os.environ["XDG_CACHE_HOME"]
    environment.setattr(os, "getpid", lambda: 1)  # a child that has inherited the variables
    use_scratch(tmp_path / "w")
    assert os.environ["XDG_CACHE_HOME"] != parents
    assert Path(os.environ["HF_HOME"]) == tmp_path / "home" / ".cache" / "huggingface"


@pytest.mark.parametrize(
    ("names", "hub"),
    [({"HF_HOME": "/hub"}, "/hub"), ({"XDG_CACHE_HOME": "/caches"}, "/caches/huggingface")],
    ids=["HF_HOME", "XDG_CACHE_HOME"],
)
def test_a_hub_cache_that_is_named_stays(
    names: dict[str, str], hub: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in names.items():
        environment.setenv(name, value)
    use_scratch(tmp_path / "w")
    assert os.environ["HF_HOME"] == hub


@pytest.mark.parametrize("home", ["/nonexistent", "nowhere", "~"])
def test_without_a_home_the_hub_is_kept_in_the_workspace(
    home: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("HOME", home)
    use_scratch(tmp_path / "w")
    assert Path(os.environ["HF_HOME"]) == tmp_path / "w" / ".hub"


def test_without_a_temporary_folder_caches_lie_in_the_workspace(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Python would take the current folder."""
    (tmp_path / "here").mkdir()
    environment.chdir(tmp_path / "here")
    environment.setattr(tempfile, "tempdir", str(tmp_path / "here"))
    use_scratch(tmp_path / "w")
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(tmp_path / "w")
    environment.setenv("TMPDIR", str(tmp_path / "here"))  # named, so it is meant
    environment.delenv("ADAPTERSHARE_SCRATCH")
    use_scratch(tmp_path / "w")
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(tmp_path / "here")
