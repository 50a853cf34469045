"""One file of --config for several commands: shared keys, sections, and what neither may hold."""

from __future__ import annotations

import codecs
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.cli.app import app
from adaptershare_cli.cli.config import options_of
from adaptershare_cli.cli.config_file import ALSO_OPTIONS, read_config_file
from tests.cli.conftest import good, refused

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
EVERY = """
tasks = "first,second"
task-dir = "{tasks}"
from = "{data}"
workspace = "{workspace}"
model = "{encoder}"
seeds = [0, 1]
threads = 1
check-every = 4
target = "first"
max-seq-length = 64

[train-share]
method = "shared"
max-steps = 2

[train_single]
num-train-epochs = 1
seed = 5

[correlate]
measure = "plan"
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each command was asked to do, by its name, in place of doing it."""
    found: dict[str, Any] = {}

    def note(name: str) -> Any:
        def noted(*arguments: Any, **options: Any) -> list:
            found[name] = arguments
            return []

        return noted

    for module, function in (
        ("train_share", "train_share"), ("train_single", "train_single"), ("correlate", "correlate_runs")
    ):  # fmt: skip
        monkeypatch.setattr(f"adaptershare_cli.commands.{module}.{function}", note(function))
    return found


def config(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_one_file_serves_every_command(asked: dict[str, Any], project: Path, encoder: Path, tmp_path: Path) -> None:
    places = {"tasks": project / "tasks", "data": project / "data", "workspace": tmp_path / "w", "encoder": encoder}
    file = config(tmp_path, EVERY.format(**places))
    good("prepro", "--config", file)
    assert len(list((tmp_path / "w" / "prepro").glob("[!.]*"))) == 2

    printed = good("train-share", "--config", file).stdout
    context, tasks, method, options, seeds = asked["train_share"]
    assert ([task.name for task in tasks], method, options, seeds) == (
        ["first", "second"], "shared", {"check_every": 4}, [0, 1],
    )  # fmt: skip
    assert context.training.max_steps == 2
    assert "--config: target passed over, as a call without --selection has no use for it" in printed

    good("train-single", "--config", file)
    context, _, seeds, _ = asked["train_single"]
    assert (context.training.num_train_epochs, context.training.max_steps, seeds) == (1.0, None, [5])

    printed = good("correlate", "--config", file).stdout
    _, run, names, options, plot, seeds, model, runtime, *_ = asked["correlate_runs"]
    assert (run, names, options, plot, seeds, model, runtime) == (None, ["plan"], {}, False, None, None, {})
    for keys in ("target", "max-seq-length"):  # of other calls and commands: the first is told
        assert (f"--config: {keys} passed over" in printed) == (keys == "target")
    for key in ("model", "seeds", "threads"):
        assert re.search(rf"--config: .*{key}.* passed over, as --measure plan has no use for it", printed)

    good("correlate", "--config", file, "--measure", "transfer")
    _, _, names, _, _, seeds, model, runtime, *_ = asked["correlate_runs"]
    assert (names, seeds, model, runtime) == (["transfer"], [0, 1], str(encoder), {"threads": 1})
    good("status", "--config", file)


def test_a_shared_key_is_an_offer_to_methods(asked: dict[str, Any], project: Path, tmp_path: Path) -> None:
    """What the command line or the command's own section says is meant, and refused where it has no effect."""
    common = ("train-share", "-t", "first,second", "--task-dir", project / "tasks", "-w", tmp_path / "w")
    file = config(tmp_path, "check-every = 100\nmax-growth = 2.0")
    for method, known in (("hyperformer", {"check_every"}), ("adaptershare", {"check_every", "max_growth"})):
        good(*common, "--config", file, "--method", method)
        assert asked["train_share"][3].keys() == known
    printed = good(*common, "--config", file, "--method", "adapterfusion").stdout
    assert asked["train_share"][3] == {}
    assert "--config: check-every, max-growth passed over, as --method adapterfusion has no use for it" in printed
    says = ("--method adapterfusion does not know --check-every",)
    refused(*common, "--method", "adapterfusion", "--check-every", "100", says=says)
    refused(*common, "--config", file, "--method", "adapterfusion", "--check-every", "7", says=says)
    file = config(tmp_path, "[train-share]\ncheck-every = 100")
    refused(*common, "--config", file, "--method", "adapterfusion", says=says)


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.toml")), ids=lambda file: file.stem)
@pytest.mark.parametrize("command", ["train-share", "train-single", "correlate"])
def test_the_benchmarks_files_serve_every_training(
    command: str, file: Path, asked: dict[str, Any], project: Path, tmp_path: Path
) -> None:
    tasks = () if command == "correlate" else ("-t", "first,second", "--task-dir", project / "tasks")
    good(command, "--config", file, *tasks, "-w", tmp_path / "w")
    assert asked


def test_the_section_wins_over_shared_keys_and_the_command_line_over_both(
    asked: dict[str, Any], project: Path, tmp_path: Path
) -> None:
    common = ("train-share", "-t", "first,second", "--task-dir", project / "tasks", "-w", tmp_path / "w")
    text = "seed = 1\nmax-steps = 9\npooling = 'cls'\n[train-share]\nseeds = '2,3'\nmax_steps = 8\npooling = 'mean'"
    file = config(tmp_path, text)
    good(*common, "--config", file)
    context, _, _, _, seeds = asked["train_share"]
    assert (seeds, context.training.max_steps, context.training.pooling) == ([2, 3], 8, "mean")
    good(*common, "--config", file, "--seed", "4", "--num-train-epochs", "2")
    context, _, _, _, seeds = asked["train_share"]
    assert (seeds, context.training.max_steps, context.training.num_train_epochs) == ([4], None, 2.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train-shar]\nseed = 1", ("no option 'train-shar'", "line 1", "Did you mean train-share")),
        ("[train-share]\nlearning-rat = 1", ("train-share has no option 'learning-rat'", "line 2", "learning-rate")),
        ("seed = 1\n\n[correlate]\nx = 1\nlearning-rate = 1", ("correlate has no option 'x'", "line 4")),
        ("[report]\nlearning-rate = 1", ("report has no option 'learning-rate'", "line 2")),
        ("mesure = 'plan'", ("no option 'mesure'", "line 1", "Did you mean measure")),
        ("seed = 1\n[correlate]\nmesure = 'plan'", ("correlate has no option 'mesure'", "line 3", "measure")),
        ("[train-share]\nseed = 1\n[train_share]\nseed = 1", ("twice", "line 3")),
        ("train-share = 3", ("train-share is a command", "line 1", "Write [train-share]")),
        ("[[train-share]]\nseed = 1", ("train-share is a command",)),
        ("[train-share]\nmax-steps = 0", ("--max-steps must be a finite number, at least 1", "line 2")),
        ("max-steps = 5\n[train-single]\nmax-steps = 7\n[train-share]\nmax-steps = 0", ("at least 1", "line 5")),
        ("train-share = {seed = 1, max-steps = 0}", ("at least 1", "line 1")),
        ("train-share.seed = 1\ntrain-share.max-steps = 0", ("at least 1", "line 2")),
        ("[train-share.deep]\nseed = 1", ("train-share has no option 'deep'", "line 1")),
        ("[train-share]\nconfig = 'x'", ("train-share has no option 'config'", "line 2")),
        ("[train-share]\nseed = 1\nseeds = '1,2'", ("--seed and --seeds exclude each other",)),
    ],
)  # fmt: skip
def test_what_no_command_understands(text: str, says: tuple[str, ...], project: Path, tmp_path: Path) -> None:
    file = config(tmp_path, text)
    arguments = ("-t", "first,second", "--task-dir", project / "tasks", "-w", tmp_path / "w")
    refused("train-share", "--config", file, *arguments, says=says)
    assert not (tmp_path / "w").exists()


def test_no_command_is_called_like_an_option() -> None:
    from typer.main import get_command

    commands = get_command(app).commands  # type: ignore[attr-defined]
    alike = commands.keys() & {name for command in commands.values() for name in options_of(command)}
    assert alike == ALSO_OPTIONS


def test_a_command_that_is_called_like_an_option_too(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('init = "mnli"\n')
    found = read_config_file(file, {"init", "report"})
    assert found.shared["init"].value == "mnli" and not found.sections
    file.write_text("[init]\nyes = true\n")
    found = read_config_file(file, {"init", "report"})
    assert not found.shared and found.sections["init"]["yes"].value is True


def test_a_byte_order_mark_in_a_config_file(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    text = f'tasks = "first"\ntask-dir = "{project / "tasks"}"\nfrom = "{project / "data"}"\n'
    file.write_bytes(codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode())
    good("download", "--config", file, "-w", tmp_path / "w")
    file.write_text(text, encoding="utf-16")
    refused("download", "--config", file, "-w", tmp_path / "w", says=("it is not UTF-8", str(file), "Save it as UTF-8"))
    file.write_bytes(codecs.BOM_UTF8 + b"max-rejected = -1")
    refused("download", "--config", file, "-w", tmp_path / "w", says=("at least 0", "line 1"))
    shutil.rmtree(tmp_path / "w")
