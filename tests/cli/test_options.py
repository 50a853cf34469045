"""Where a value comes from: command line, environment, --config, default; and how it reaches the settings."""

from __future__ import annotations

import json
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.cli.call import settings_from
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS, method_settings
from adaptershare_cli.methods.adaptershare.settings import AdapterShareSettings
from adaptershare_cli.methods.shared.settings import SharedSettings
from adaptershare_cli.settings import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    TrainingSettings,
    check_settings,
    check_value,
    non_default,
)
from adaptershare_cli.store.workspace import Workspace
from tests.cli.conftest import NO_TRAINING, Share, call, good, only, refused

MEASURE_CLASSES = [spec.settings for spec in MEASURES.values()]
CLASSES = [DownloadSettings, PreproSettings, TrainingSettings, RuntimeSettings, AdapterShareSettings, *MEASURE_CLASSES]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What train-share was asked to do, in place of doing it."""
    found: dict[str, Any] = {}

    def train_share(context: Any, definitions: Any, method: str, options: Any, seeds: list[int]) -> list:
        found.update(
            context=context, tasks=[d.name for d in definitions], method=method, options=dict(options), seeds=seeds
        )
        return []

    monkeypatch.setattr("adaptershare_cli.commands.train_share.train_share", train_share)
    return found


def config_file(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


# ---- from options to settings ----


def test_options_reach_their_settings(seen: dict, project: Path, tmp_path: Path) -> None:
    good(
        "train-share", "-t", "second, first", "--task-dir", project / "tasks", "-w", tmp_path / "w",
        "--from", project / "data", "--model", "somewhere", "--seeds", "3, 1,3", "--method", "adaptershare",
        "--learning-rate", "2e-4", "--max-train-examples", "100", "--max-rejected", "2", "--precision", "bf16",
        "--threads", "3", "--check-every", "7", "--max-growth", "1.5", "--encoder-dropout",
        "--lr-scheduler-type", "cosine",
    )  # fmt: skip
    context = seen["context"]
    assert (seen["tasks"], seen["method"], seen["seeds"]) == (["second", "first"], "adaptershare", [3, 1])
    assert seen["options"] == {"check_every": 7, "max_growth": 1.5}
    assert context.training == TrainingSettings(learning_rate=2e-4, encoder_dropout=True, lr_scheduler_type="cosine")
    assert context.prepro == PreproSettings(max_train_examples=100)
    assert context.download == DownloadSettings(max_rejected=2)
    assert context.runtime == RuntimeSettings(precision="bf16", threads=3)
    assert (context.from_folder, context.model, context.force) == (project / "data", "somewhere", "")
    assert type(context.training.lr_scheduler_type) is str
    assert context.workspace.root == tmp_path / "w"


def test_force_is_of_the_command_alone(seen: dict, project: Path, tmp_path: Path) -> None:
    good("train-share", *NO_TRAINING, "--task-dir", project / "tasks", "-w", tmp_path / "w", "--force")
    assert seen["context"].force == "train-share"


def test_without_options_all_settings_are_the_defaults(seen: dict, project: Path, tmp_path: Path) -> None:
    good("train-share", *NO_TRAINING, "--task-dir", project / "tasks", "-w", tmp_path / "w")
    context = seen["context"]
    assert (seen["method"], seen["options"], seen["seeds"]) == ("adaptershare", {}, [0])
    for settings in (context.training, context.prepro, context.download, context.runtime):
        assert non_default(settings) == {}
    assert context.model == "embedded"


def test_settings_from_leaves_out_what_is_not_its_own() -> None:
    given = {"learning_rate": 0.5, "threads": 2}
    assert settings_from(TrainingSettings, given) == TrainingSettings(learning_rate=0.5)
    assert settings_from(RuntimeSettings, given) == RuntimeSettings(threads=2)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_explains_itself_and_has_a_default_within_its_bounds(cls: type) -> None:
    check_settings(cls())
    assert non_default(cls()) == {}
    for item in fields(cls):
        assert item.metadata["help"].endswith((".", ")")), item.name
        for bound, value in (("min", -1), ("max", 1)):
            limit = item.metadata[bound]
            if limit is None:
                continue
            with pytest.raises(UserError, match=f"--{item.name.replace('_', '-')} must be"):
                check_value(item, limit + value * max(1, abs(limit)))
            check_value(item, limit)


def test_methods_share_what_options_mean() -> None:
    """An option of several methods has one type, as it is one option of the command line."""
    hints: dict[str, Any] = {}
    for spec in METHODS.values():
        for name, hint in typing.get_type_hints(spec.settings).items():
            assert hints.setdefault(name, hint) == hint


def test_method_settings() -> None:
    assert method_settings("adaptershare", {"max_growth": 2.0}) == AdapterShareSettings(max_growth=2.0)
    assert method_settings("shared", {"observe": False}) == SharedSettings(observe=False)
    with pytest.raises(UserError, match="--method shared does not know --max-growth"):
        method_settings("shared", {"max_growth": 2.0})


# ---- --config ----


def test_config_gives_values_and_the_command_line_wins(seen: dict, project: Path, tmp_path: Path) -> None:
    file = config_file(
        tmp_path,
        f"""
        tasks = ["first", "second"]
        task-dir = "{project / "tasks"}"
        from = "{project / "data"}"
        workspace = "{tmp_path / "w"}"
        model = "here"
        method = "private"
        seeds = [4, 5]
        force = true
        learning-rate = 1        # a whole number where a fraction may stand
        max_steps = 7            # underscores are as good as hyphens
        observe = false
        pooling = "cls"
        precision = "fp32"
        """,
    )
    good("train-share", "--config", file)
    context = seen["context"]
    assert (seen["tasks"], seen["method"], seen["seeds"]) == (["first", "second"], "private", [4, 5])
    assert context.training == TrainingSettings(learning_rate=1.0, max_steps=7, pooling="cls")
    assert type(context.training.learning_rate) is float
    assert context.runtime.precision == "fp32"
    assert (context.force, context.model, seen["options"]) == ("train-share", "here", {"observe": False})
    assert (context.from_folder, context.workspace.root) == (project / "data", tmp_path / "w")

    good(
        "train-share", "--config", file, "-t", "second,score", "--method", "shared", "--max-steps", "9", "--observe",
        "--pooling", "mean", "--model", "there", "-w", tmp_path / "w2", "--seeds", "0",
    )  # fmt: skip
    context = seen["context"]
    assert (seen["tasks"], seen["method"], seen["seeds"]) == (["second", "score"], "shared", [0])
    assert context.training == TrainingSettings(learning_rate=1.0, max_steps=9)
    assert (context.model, seen["options"], context.workspace.root) == ("there", {"observe": True}, tmp_path / "w2")


def test_config_makes_the_same_artefact_as_options(share: Share, project: Path, encoder: Path, workspace: Path) -> None:
    file = config_file(
        workspace.parent,
        f"""
        tasks = "first,second,score"
        task-dir = "{project / "tasks"}"
        model = "{encoder}"
        max-steps = 10
        per-device-train-batch-size = 8
        max-seq-length = 64
        threads = 1
        precision = "fp32"
        learning-rate = 0.01
        check-every = 2
        guard = "none"
        max-interference = -0.5
        json = true
        """,
    )
    summary = json.loads(good("train-share", "--config", file, "-w", workspace).stdout)
    assert summary["made"] == []
    assert [artefact["path"] for artefact in summary["artefacts"]] == [str(only(workspace, "train-share/*"))]


def test_config_of_correlate_and_report(workspace: Path) -> None:
    run = only(workspace, "train-share/*").name
    file = config_file(workspace.parent, f'run = ["{run}"]\nmeasure = ["plan"]\nplot = true\njson = true\n')
    summary = json.loads(good("correlate", "--config", file, "-w", workspace).stdout)
    assert [artefact["name"].split("-")[0] for artefact in summary["artefacts"]] == ["correlate/plan"]
    file = config_file(workspace.parent, f'run = "{run}"\nworkspace = "{workspace}"\n')
    assert "report" in good("report", "--config", file).stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rat = 1.0", ("no option 'learning-rat'", "learning-rate")),
        ("max-step = 10", ("no option 'max-step'", "max-steps")),
        ("runs = 'x'", ("no option 'runs'",)),
        ("[training]\nlearning-rate = 1.0", ("no option 'training'",)),
        ("config = 'other.toml'", ("no option 'config'",)),
        ("learning-rate = 'fast'", ("learning-rate", "float", "'fast'")),
        ("learning-rate = true", ("learning-rate", "float", "True")),
        ("max-steps = 1.5", ("max-steps", "int", "1.5")),
        ("max-steps = true", ("max-steps", "int", "True")),
        ("observe = 'yes'", ("observe", "bool", "'yes'")),
        ("observe = 1", ("observe", "bool")),
        ("pooling = 'max'", ("pooling", "'mean', 'cls'", "'max'")),
        ("precision = 16", ("precision", "bf16", "16")),
        ("max-steps = 0", ("--max-steps", "at least 1")),
        ("warmup-ratio = nan", ("--warmup-ratio", "between 0 and 1")),
        ("max-growth = 0", ("--max-growth", "at least 1")),
        ("method = 'nonsense'", ("method", "'nonsense'", "'adapterfusion', 'adaptershare'")),
        ("method = 3", ("method", "adaptershare")),
        ("[train-share]\nmethod = 'shared'\nmax-growth = 2", ("--method shared", "--max-growth")),
        ("seed = 'one'", ("seed", "whole number", "'one'")),
        ("seed = 1.5", ("seed", "whole number", "1.5")),
        ("seed = -1", ("seed", "-1")),
        ("seed = true", ("seed", "True")),
        ("seeds = ['a']", ("--seeds", "'a'")),
        ("force = 'yes'", ("force", "true or false", "'yes'")),
        ("tasks = true", ("tasks", "text", "True")),
        ("from = 3", ("from", "3")),
        ("model = {a = 1}", ("model", "text")),
        ("learning-rate = ", ("config.toml", "cannot be read")),
        ("learning-rate = 1.0\nlearning-rate = 2.0", ("config.toml", "cannot be read")),
        ("learning-rate = 1.0\nlearning_rate = 2.0", ("learning", "twice")),
        ('model = "a\\u0000b"', ("model", "control character")),
    ],
)
def test_wrong_config(text: str, says: tuple[str, ...], share: Share, tmp_path: Path) -> None:
    file = config_file(tmp_path, text)
    refused(*share(tmp_path / "w"), "--config", file, says=says)  # also what the command line overrides is looked at
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# options\n\nmodel = 'x'\nmax-steps = 0\n", 4),
        ("model = 'x'\r\n\"max-steps\" = 0\r\n", 2),
        ('model = """\\\nmax-steps = 0 \\\n"""\nmax-steps = 0', 4),  # where the key only seems to stand, too
        ("tasks = [\n  'max-steps = 1',\n]\nmax_steps = 0", 4),
        ("learning-rate = 1.0\n\n[training]\nmax-steps = 1", 3),
        ("max-steps = 1\nmax_steps = 1", 2),
        ("seed = 4294967296", 1),
        ("pooling = 'max'", 1),
        ("weight-decay = inf", 1),
    ],
)
def test_an_error_of_config_names_its_line(text: str, line: int, share: Share, tmp_path: Path) -> None:
    file = config_file(tmp_path, "")
    file.write_bytes(text.encode())
    refused(*share(tmp_path / "w"), "--config", file, says=(f"--config {file}, line {line}\n",))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("option", ["weight-decay", "max-growth", "warmup-ratio"])
def test_numbers_that_are_not_finite(option: str, value: str, share: Share, tmp_path: Path) -> None:
    says = (f"error: --{option} must be ", f"got {'inf' if value == '1e999' and option != 'warmup-ratio' else value}")
    refused(*share(tmp_path / "w"), f"--{option}", value, says=says)
    file = config_file(tmp_path, f"{option} = {value}")
    refused(*share(tmp_path / "w"), "--config", file, says=(says[0], "config.toml, line 1"))


def test_bounds_are_those_of_the_settings(share: Share, tmp_path: Path) -> None:
    """Typer's own check, with option, value and both bounds in the error, and the bounds in the help."""
    for option, value, bounds in (
        ("--max-seq-length", "9000", "between 8 and 8192"), ("--seed", "4294967296", "between 0 and 4294967295"),
        ("--max-interference", "-1.5", "between -1 and 1"), ("--num-train-epochs", "0", "at least 0.001"),
    ):  # fmt: skip
        text = refused(*share(tmp_path / "w"), option, value, says=(option, bounds, f"got {value}"))
        assert text.startswith("error: ")
    text = " ".join(good("train-share", "--help-all").stdout.split())
    for bounds in ("[8<=x<=8192]", "[-1<=x<=1]", "[x>=0.001]"):
        assert bounds in text


def test_config_that_cannot_be_read(share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w"), "--config", tmp_path / "nowhere.toml", says=("does not exist", "nowhere.toml"))
    refused(*share(tmp_path / "w"), "--config", tmp_path, says=("--config", str(tmp_path)))
    (tmp_path / "latin.toml").write_bytes("model = 'schön'".encode("latin-1"))
    refused(*share(tmp_path / "w"), "--config", tmp_path / "latin.toml", says=("latin.toml", "cannot be read"))


# ---- options without effect ----


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--seed", "3", "--seeds", "0,1"), ("--seed and --seeds exclude each other",)),
        (("--num-train-epochs", "2"), ("--num-train-epochs and --max-steps exclude each other",)),
        (("--sampling-temperature", "3"), ("--sampling-temperature belongs to --task-sampling temperature",)),
        (("--significance-level", "0.1"), ("--significance-level belongs to --rule significance",)),
        (("--rule", "significance", "--guard", "entropy"), ("--guard belongs to --rule threshold",)),
        (("--rule", "significance", "--min-intra-similarity", "3"), ("similarity belongs to --rule threshold",)),
        (("--entropy-share", "0.9"), ("--entropy-share belongs to --guard entropy",)),
        (("--entropy-share", "0.8"), ("--entropy-share belongs to --guard entropy",)),  # the default, but it was given
        (("--rule", "significance", "--guard", "agreement"), ("--guard belongs to --rule threshold",)),
        (("--guard", "none", "--entropy-angle", "4"), ("--entropy-angle belongs to --guard entropy",)),
        (("--guard", "entropy", "--min-intra-similarity", "3"), ("similarity belongs to --guard agreement",)),
        (("--no-observe",), ("--no-observe leaves nothing of it", "--method shared")),
        *(
            (("--method", "shared", "--no-observe", *option), (f"{option[0]} belongs to --observe",))
            for option in (("--check-every", "3"), ("--first-check", "3"), ("--row-gradients", "raw"),
                           ("--shuffle-heldout-labels",))
        ),
        (("--max-nonfinite", "3"), ("--max-nonfinite belongs to --on-nonfinite skip",)),
    ],
)  # fmt: skip
def test_options_that_would_have_no_effect(arguments: tuple, says: tuple, share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w", *arguments), says=says)
    assert not (tmp_path / "w").exists()


def test_options_whose_lack_of_effect_shows_late(share: Share, tmp_path: Path) -> None:
    for method in ("adaptershare", "shared"):
        arguments = share(tmp_path / "w", "--method", method, "--first-check", "11")
        refused(*arguments, says=("--first-check 11 comes after the last update", "10 updates"))
    text = refused(*share(tmp_path / "w", "--target-parameters", "100"), says=("--target-parameters 100 is less than",))
    least = int(text.partition("less than the ")[2].split()[0])
    refused(*share(tmp_path / "w", "--target-parameters", least - 1), says=(f"Give {least} or more",))
    assert not list((tmp_path / "w" / "train-share").glob("[!.]*"))
    good(*share(tmp_path / "w", "--target-parameters", least, "--first-check", "10"))


def test_options_of_other_measures(workspace: Path) -> None:
    for option in (("--permutations", "20"), ("--rows", "shared")):
        unknowing = "plan" if option[0] == "--rows" else "size"
        says = (f"--measure {unknowing} does not know {option[0]}", "gradient")
        refused("correlate", "--measure", unknowing, *option, "-w", workspace, says=says)
        good("correlate", "--measure", "plan,gradient", *option, "-w", workspace)


def test_the_command_lines_alternative_takes_the_place_of_configs(seen: dict, project: Path, tmp_path: Path) -> None:
    base = ("train-share", *NO_TRAINING, "--task-dir", project / "tasks", "-w", tmp_path / "w", "--config")
    file = config_file(tmp_path, "seed = 3\nmax-steps = 7\n")
    good(*base, file)
    assert (seen["seeds"], seen["context"].training) == ([3], TrainingSettings(max_steps=7))
    good(*base, file, "--seeds", "1,2", "--num-train-epochs", "2")
    assert (seen["seeds"], seen["context"].training) == ([1, 2], TrainingSettings(num_train_epochs=2.0))
    for text in ("seed = 3\nseeds = [1]", "max-steps = 7\nnum-train-epochs = 2.0"):
        refused(*base, config_file(tmp_path, text), says=("exclude each other",))
    good(*base, config_file(tmp_path, "seed = 3\nseeds = [1]"), "--seed", "5")
    assert seen["seeds"] == [5]


def test_a_preset_gives_way(seen: dict, project: Path, tmp_path: Path) -> None:
    base = ("train-share", *NO_TRAINING, "--task-dir", project / "tasks", "-w", tmp_path / "w", "--preset", "paper")
    good(*base, "--max-steps", "5")
    assert (seen["context"].training.max_steps, seen["context"].training.num_train_epochs) == (5, 3.0)
    good(*base, "--method", "shared", "--no-observe")
    assert seen["options"] == {"observe": False}


# ---- the environment ----


def test_workspace_from_the_environment(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("download", "-t", "first", "--task-dir", project / "tasks", "--from", project / "data")
    monkeypatch.chdir(tmp_path)
    good(*common)
    assert len(Workspace(tmp_path / "workspace").artefacts("download")) == 1
    monkeypatch.setenv("ADAPTERSHARE_WORKSPACE", str(tmp_path / "named"))
    good(*common)
    assert len(Workspace(tmp_path / "named").artefacts("download")) == 1
    good(*common, "-w", tmp_path / "given")
    assert len(Workspace(tmp_path / "given").artefacts("download")) == 1
    file = config_file(tmp_path, "workspace = 'configured'")
    good(*common, "--config", file)
    assert not (tmp_path / "configured").exists()  # the environment is nearer to the call than a file
    monkeypatch.delenv("ADAPTERSHARE_WORKSPACE")
    good(*common, "--config", file)
    assert (tmp_path / "configured" / "download").is_dir()


def test_the_command_to_repeat_names_the_workspace_of_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*values: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adaptershare_cli.commands.train_share.train_share", stopped)
    arguments = ("train-share", *NO_TRAINING, "--task-dir", str(project / "tasks"), "--force")
    monkeypatch.setenv("ADAPTERSHARE_WORKSPACE", str(tmp_path / "my w"))
    result = call(*arguments)
    assert result.exit_code == 130
    places = f"--task-dir {project / 'tasks'}"
    told = f"go on: adaptershare train-share --tasks {NO_TRAINING[1]} {places} --force --workspace"
    assert f"{told} '{tmp_path}/my w'\n" in result.stderr
    result = call(*arguments, "-w", tmp_path / "w")
    assert f"{told} {tmp_path}/w\n" in result.stderr


def test_help_shows_the_environment_variable() -> None:
    assert "ADAPTERSHARE_WORKSPACE" in call("report", "--help").output
