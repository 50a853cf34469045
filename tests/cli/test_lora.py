"""Runs with LoRA instead of bottlenecks: trained, split, related, read back, gone on from, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.cli.conftest import SPLITTING, TASKS, Share, good, made, refused
from tests.served import assert_answers_as_scored, load

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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "hyperformer", *LORA), "LoRA cannot be generated"),
        (("--method", "adapterfusion", *LORA), "LoRA cannot be fused"),
        (("--fuse", *LORA), "LoRA cannot be fused"),
        (("--method", "sparse-sharing", *LORA), "LoRA cannot be pruned"),
        (("--lora-r", "4"), "--lora-r belongs to --adapter-config lora"),
        (("--reduction-factor", "4", *LORA), "--reduction-factor belongs to --adapter-config seq_bn"),
        ((*LORA, "--lora-r", "0"), "--lora-r must be"),
    ],
)
def test_what_is_refused(run: Path, share: Share, arguments: tuple[Any, ...], says: str) -> None:
    refused(*share(run.parents[1], *arguments), says=(says,))
