"""`report` on the command line: what is read for the page, and tables in other forms."""

from __future__ import annotations

import html
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import NOTHING, Share, found, good, made, only, refused, stages


@pytest.fixture(scope="module")
def reported(share: Share, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with a run without sharing and its report; tests read it only."""
    workspace = Path(shutil.copytree(trained, tmp_path_factory.mktemp("reported") / "workspace"))
    good(*share(workspace, "--method", "private", "--max-steps", "3"))
    good(*share(workspace, "--method", "private"))
    good("report", "-w", workspace)
    return workspace


def test_the_page_is_made_of_what_the_artefacts_hold(reported: Path) -> None:
    page = (reported / "report" / "report.html").read_text(encoding="utf-8")
    for words in (
        "one seed",  # nothing is told with one
        "paired bootstrap over texts",  # but of other rows
        "Nothing was trained for sharing all.",
        "--method shared",  # the command that would
        "adaptershare, seed 0",  # whose plan splits
        "mean cosine between two tasks",  # the measure's summary
        "Hardest rows",
        "Hashes of data and encoder",
        "adaptershare train-share --tasks first,second,score",
    ):
        assert words in page, words
    assert page.count("data-name=") >= 4  # a plan, and three measures
    assert str(reported) not in page  # it may be sent to anyone


def test_rows_have_their_texts_until_they_are_gone(reported: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(reported, tmp_path / "workspace"))
    text = (only(workspace, "download/first-*") / "dev.parquet").read_bytes()
    assert text
    page = workspace / "report" / "report.html"
    assert "(its text is no longer in the workspace)" not in page.read_text(encoding="utf-8")
    for folder in (workspace / "download").iterdir():
        shutil.rmtree(folder)
    assert stages(made(good("report", "-w", workspace).stdout)) == ["report"]
    assert "(its text is no longer in the workspace)" in page.read_text(encoding="utf-8")
    shutil.rmtree(workspace / "prepro")
    good("report", "-w", workspace)
    assert "Its prepared rows are no longer in the workspace." in page.read_text(encoding="utf-8")


def test_the_commands_that_would_tell_more_can_be_given(reported: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(reported, tmp_path / "workspace"))
    page = workspace / "report" / "report.html"
    told = page.read_text(encoding="utf-8").split("What would tell")[1].split("</section>")[0]
    commands = [shlex.split(html.unescape(part.split("</code>")[0])) for part in told.split("<code>")[1:]]
    methods = {command[command.index("--method") + 1] for command in commands}
    assert methods >= {"shared"} and all(command[:2] == ["adaptershare", "train-share"] for command in commands)
    for command in commands:
        good(*command[1:], "-w", workspace)
    good("report", "-w", workspace)
    answer = page.read_text(encoding="utf-8").split('id="results"')[0]
    assert "one seed" not in answer and "Paired over 2 seeds (0, 1)" in answer


def test_tables_in_other_forms(reported: Path) -> None:
    latex = good("report", "--format", "latex", "-w", reported)
    assert latex.stdout == (reported / "report" / "results.tex").read_text(encoding="utf-8")
    assert latex.stdout.startswith("\\begin{table}") and NOTHING in latex.stderr
    assert good("report", "--format", "csv", "-w", reported).stdout == (reported / "report" / "results.csv").read_text(
        encoding="utf-8"
    )
    assert good("report", "--format", "markdown", "-w", reported).stdout.startswith("## ")
    refused("report", "--format", "csv", "--json", "-w", reported, says=("--format",))


def test_a_measure_without_pictures_is_shown_too(reported: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(reported, tmp_path / "workspace"))
    good("correlate", "--measure", "text", "--run", "adaptershare", "-w", workspace)
    key = found(workspace, "text").key
    assert stages(made(good("report", "-w", workspace).stdout)) == ["report"]
    assert f"({key})" in (workspace / "report" / "report.html").read_text(encoding="utf-8")
