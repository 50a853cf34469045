"""Runs with LoRA, or (IA)^3, instead of bottlenecks: trained, split, related, read back, handed out, and refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from tests.cli.conftest import SPLITTING, TASKS, Share, good, made, refused, snapshot
from tests.served import assert_answers_as_scored, load, scored_rows

MEASURES = "adapter-weights,fisher,gradient"
LORA = ("--adapter-config", "lora", "--lora-r", "4", "--lora-target", "all")


@pytest.fixture(scope="module")
def run(trained: Path, share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that splits, in a workspace that tests read only."""
    workspace = Path(shutil.copytree(trained, tmp_path_factory.mktemp("lora") / "workspace"))
    (label,) = made(good(*share(workspace, *SPLITTING, *LORA)).output)
    return workspace / label


def test_it_has_a_key_of_its_own_and_records_its_options(run: Path, trained: Path) -> None:
    assert not (trained / "train-share" / run.name).exists()
    training = json.loads((run / "artefact.json").read_text())["info"]["training"]
    assert {"adapter_config": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target": "all"}.items() <= training.items()
    (other,) = (trained / "train-share").glob("adaptershare-*")
    assert "lora_r" not in json.loads((other / "artefact.json").read_text())["info"]["training"]


def test_tasks_part_and_answer_in_one_pass_as_they_were_scored(run: Path, encoder: Path) -> None:
    assert_answers_as_scored(run.parents[1], run, encoder)
    served, predictor = load(run.parents[1], run, encoder)
    rows = [{"text": "the film was good"}]
    predictor.predict(served.tasks, rows)
    (tree,) = predictor.branches(served.tasks)
    assert 2 < tree.layers <= 2 * len(TASKS)
    weights = [load_file(run / "tasks" / task / "adapter.safetensors") for task in TASKS]
    assert all(len(own) == 2 * 5 * 2 for own in weights)


def test_ia3_answers_as_it_was_scored(run: Path, share: Share, encoder: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(run.parents[1], tmp_path / "workspace"))
    (label,) = made(good(*share(workspace, *SPLITTING, "--adapter-config", "ia3")).output)
    training = json.loads((workspace / label / "artefact.json").read_text())["info"]["training"]
    assert training["adapter_config"] == "ia3" and "lora_r" not in training
    assert_answers_as_scored(workspace, workspace / label, encoder)


def test_its_relations_are_correlated(run: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(run.parents[1], tmp_path / "workspace"))
    labels = made(good("correlate", "--run", run.name, "--measure", MEASURES, "-w", workspace).output)
    names = {f"correlate/{name}" for name in MEASURES.split(",")} | {f"train-single/{task}" for task in TASKS}
    assert {label.rpartition("-")[0] for label in labels} == names
    for label in labels:
        if label.startswith("train-single/"):
            assert json.loads((workspace / label / "artefact.json").read_text())["info"]["training"]["lora_r"] == 4


def test_a_task_goes_on_from_it(run: Path, share: Share, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(run.parents[1], tmp_path / "workspace"))
    command = ("train-single", *share(workspace, "--from-run", run.name, "--init", "first", tasks="second")[1:])
    refused(*command, says=("have --adapter-config lora", "--lora-r 4 --lora-alpha 8 --lora-target all"))
    (label,) = made(good(*command, *LORA, "--max-steps", "2").output)
    assert label.startswith("train-single/second-")


# Nothing but the folders (and of peft's layout the encoder): the cards' own lines, in one process for all forms.
SCRIPT = """
import json, re, sys
encoder, rows, *folders = sys.argv[1:]
for folder in folders:
    (code,) = re.findall(r"```python\\n(.*?)```", open(folder + "/README.md", encoding="utf-8").read(), re.DOTALL)
    names = {"ENCODER": encoder, "FOLDER": folder, "TEXTS": json.loads(rows)}
    exec(code, names)
    print(json.dumps(names["logits"].tolist()))
assert not [name for name in sys.modules if name.partition(".")[0] in ("adapters", "adaptershare_cli")]
"""
OWN_FILES = {"merged": {"model.safetensors"}, "peft": {"adapter_config.json", "adapter_model.safetensors"}}
COMMON_FILES = {"README.md", "config.json", "head.json", "head.safetensors", "tokenizer.json", "tokenizer_config.json"}
HAS_PEFT = find_spec("peft") is not None


@pytest.fixture(scope="module")
def folders(run: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run's tasks in both forms; tests read them only."""
    root, before = tmp_path_factory.mktemp("forms"), snapshot(run.parents[1])
    for form in OWN_FILES:
        command = ("export", run.name, "-w", run.parents[1], "--model", encoder, "--to", root / form)
        good(*command, "--format", form)
    assert snapshot(run.parents[1]) == before
    return {form: root / form for form in OWN_FILES}


@pytest.fixture(scope="module")
def answers(run: Path, encoder: Path, folders: dict[str, Path]) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Rows of the second task, and what its folder of each form says of them without this program."""
    rows = sorted(scored_rows(run.parents[1], "second"), key=lambda row: len(row["text"]))[::3]
    asked = {form: folder / "second" for form, folder in folders.items() if form != "peft" or HAS_PEFT}
    texts = json.dumps([row["text"] for row in rows])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(encoder), texts, *map(str, asked.values())],
        capture_output=True, text=True, cwd=folders["merged"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = [np.array(json.loads(line), np.float32) for line in done.stdout.splitlines()]
    return rows, dict(zip(asked, found, strict=True))


@pytest.mark.parametrize(("form", "library"), [("merged", "transformers"), ("peft", "peft")])
def test_a_folder_without_adapters_is_whole(
    run: Path, encoder: Path, folders: dict[str, Path], form: str, library: str
) -> None:
    for task in TASKS:
        folder = folders[form] / task
        names = {path.name for path in folder.iterdir()} - {"special_tokens_map.json"}
        assert names == OWN_FILES[form] | COMMON_FILES
        head = (run / "tasks" / task / "head.safetensors").read_bytes()
        assert (folder / "head.safetensors").read_bytes() == head
        card = ModelCard.load(folder / "README.md")
        assert card.data.library_name == library and library in card.data.tags
        assert "max_length=64" in card.text and str(encoder.parent) not in card.text


@pytest.mark.parametrize(("form", "tolerance"), [("merged", 1e-5), ("peft", 1e-6)])
def test_a_folder_without_adapters_answers_as_the_run_did(
    run: Path, encoder: Path, answers: tuple[list[Any], dict[str, np.ndarray]], form: str, tolerance: float
) -> None:
    if form == "peft" and not HAS_PEFT:
        pytest.skip("peft is not installed (extra `peft`)")
    _, predictor = load(run.parents[1], run, encoder)
    expected = predictor.predict(["second"], answers[0])["second"].values
    np.testing.assert_allclose(answers[1][form], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("form", "says"),
    [("merged", "an activation stands between their two matrices"), ("peft", "cannot be given to peft")],
)
def test_bottlenecks_have_no_such_form(trained: Path, encoder: Path, tmp_path: Path, form: str, says: str) -> None:
    command = ("export", "adaptershare", "-w", trained, "--model", encoder, "--to", tmp_path / "x", "--format", form)
    refused(*command, says=(says, "Use ia3 or lora"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "hyperformer", *LORA), "LoRA cannot be generated"),
        (("--method", "adapterfusion", *LORA), "LoRA cannot be fused"),
        (("--fuse", *LORA), "LoRA cannot be fused"),
        (("--method", "sparse-sharing", *LORA), "LoRA cannot be pruned"),
        (("--method", "hyperformer", "--adapter-config", "ia3"), "(IA)^3 cannot be generated"),
        (("--lora-r", "4"), "--lora-r belongs to --adapter-config lora"),
        (("--reduction-factor", "4", *LORA), "--reduction-factor belongs to --adapter-config seq_bn"),
        ((*LORA, "--lora-r", "0"), "--lora-r must be"),
    ],
)
def test_what_is_refused(run: Path, share: Share, arguments: tuple[Any, ...], says: str) -> None:
    refused(*share(run.parents[1], *arguments), says=(says,))
