"""The training loop: going on from a checkpoint ends as if nothing had happened."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptershare_cli.methods.random_plan.method import permuted
from adaptershare_cli.model.adapters import training_settings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training import loop
from adaptershare_cli.training.loop import Hooks, Progress
from tests.core import random_parts, random_sources
from tests.trainings import SETTINGS, SPLITTING, TASKS, assert_equal, train


@pytest.mark.parametrize(
    ("name", "adapter"),
    [*((name, "seq_bn") for name in ("private", "shared", "adaptershare", "hyperformer", "hyperformer++")),
     ("adaptershare", "lora"), ("adaptershare", "ia3")],
)  # fmt: skip
def test_a_resumed_run_equals_the_uninterrupted_one(encoder: Path, name: str, adapter: str) -> None:
    options = SPLITTING if name == "adaptershare" else {"first_check": 4, "check_every": 8}
    if name.startswith("hyperformer"):
        options |= {"train_layer_norms": True, "loss_weighting": "uncertainty"}
    settings = training_settings(asdict(SETTINGS) | {"eval_steps": 5, "adapter_config": adapter})
    whole = train(encoder, name, settings, checkpoint_steps=8, **options)
    assert set(whole.checkpoints) == {8, 16, 18}
    changed = {row["step"] for row in whole.records["sharing"]}
    assert changed == ({0, 4, 12} if name == "adaptershare" else {0})
    assert {row["step"] for row in whole.records["interference"]} == {4, 12}
    resumed = train(encoder, name, settings, checkpoint_steps=8, resume=whole.checkpoints[8], **options)
    assert resumed.method.plan == whole.method.plan
    assert_equal(resumed.tensors, whole.tensors)
    assert resumed.records == whole.records
    assert set(resumed.checkpoints) == {16, 18}
    for step in (16, 18):
        assert_equal(resumed.checkpoints[step].tensors, whole.checkpoints[step].tensors)  # moments too
    scored = train(encoder, name, settings, checkpoint_steps=8, resume=whole.checkpoints[18], **options)
    assert scored.records == whole.records and not scored.checkpoints  # only the scoring was left to do


@pytest.mark.parametrize("step", [2, 5, 6, 9, 13])
def test_resume_in_every_phase_of_adapterfusion(encoder: Path, step: int) -> None:
    """Within the first, second and third phase, and right at the end of the first."""
    names = ("first", "second", "score")
    task_steps = {"first": 5, "second": 3, "score": 7}
    parts = random_parts(names)
    stage_one = {"start": random_sources(encoder, names), "task_steps": task_steps}
    options = {"parts": parts, **stage_one, "fusion_learning_rate": 0.01}
    settings = replace(SETTINGS, eval_steps=2)
    whole = train(encoder, "adapterfusion", settings, 1, **options)
    assert set(whole.checkpoints) == set(range(1, 16))
    checkpoint = whole.checkpoints[step]
    assert checkpoint.phase == "fusion-" + names[(step > 5) + (step > 8)]
    resumed = train(encoder, "adapterfusion", settings, 1, resume=checkpoint, **options)
    assert_equal(resumed.tensors, whole.tensors)
    assert resumed.records == whole.records
    assert set(resumed.checkpoints) == set(range(step + 1, 16))
    assert_equal(resumed.checkpoints[15].tensors, whole.checkpoints[15].tensors)
    for task, count in task_steps.items():
        rows = [row for row in whole.records["steps"] if row["task"] == task]
        assert [row["step"] for row in rows] == list(range(1, count + 1))
        assert {row["phase"] for row in rows} == {f"fusion-{task}"}
        assert {row["step"] for row in whole.records["metrics"] if row["task"] == task and row["final"]} == {count}
        assert max(row["learning_rate"] for row in rows) <= 0.01


def test_each_phase_keeps_its_own_best_step(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("first", "second")
    stage_one = {"start": random_sources(encoder, names), "task_steps": {"first": 5, "second": 6}}
    options = {"parts": random_parts(names), **stage_one, "fusion_learning_rate": 0.05}
    settings = replace(SETTINGS, eval_steps=1, load_best_model_at_end=True)
    scripts = {"first": [0.1, 0.9, 0.2, 0.3, 0.4], "second": [0.1, 0.2, 0.3, 0.2, 0.1, 0.1]}

    def scripted(info: Any, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
        values = left[info.name]
        return dict.fromkeys(info.metrics, values.pop(0) if values else 0.5)

    monkeypatch.setattr(loop, "score", scripted)
    left = {task: list(values) for task, values in scripts.items()}
    whole = train(encoder, "adapterfusion", settings, 1, **options)
    final = {row["task"]: row["step"] for row in whole.records["metrics"] if row["final"]}
    assert final == {"first": 2, "second": 3}
    for done, task in ((2, "first"), (8, "second")):  # 5 + 3 updates
        then = whole.checkpoints[done].tensors
        ours = {f"method/{name}": t for name, t in whole.tensors.items() if f"/{task}/" in name}
        assert_equal(ours, {name: t for name, t in then.items() if name in ours})
    for step in (4, 7, 10):
        left = {task: list(values) for task, values in scripts.items()}
        left["first"] = left["first"][min(step, 5) :]
        left["second"] = left["second"][max(step - 5, 0) :]
        resumed = train(encoder, "adapterfusion", settings, 1, whole.checkpoints[step], **options)
        assert_equal(resumed.tensors, whole.tensors)
        assert resumed.records == whole.records


def test_resume_of_adaptershare_with_fusion(encoder: Path) -> None:
    options = {**SPLITTING, "fuse": True}
    whole = train(encoder, "adaptershare", checkpoint_steps=8, **options)
    assert {row["step"] for row in whole.records["sharing"]} == {0, 4, 12}
    for step in (8, 16):  # after the first split, and after the second
        resumed = train(encoder, "adaptershare", checkpoint_steps=8, resume=whole.checkpoints[step], **options)
        assert_equal(resumed.tensors, whole.tensors)
        assert resumed.records == whole.records
    assert_equal(resumed.tensors, whole.tensors)
    fusion = [name for name in whole.tensors if name.startswith("fusion/")]
    fused = sum(len(groups) > 1 for groups in whole.method.plan.layers)
    assert len(fusion) == 5 * len(TASKS) * fused > 0
    moments = [name for name in whole.checkpoints[16].tensors if name.startswith("optimizer/fusion/")]
    assert len(moments) == 3 * len(fusion)


@pytest.mark.parametrize("optim", ["adamw_torch", "adamax"])
def test_resume_of_every_variant(encoder: Path, optim: str) -> None:
    settings = replace(SETTINGS, optim=optim)  # type: ignore[arg-type]
    options = {
        "rule": "significance", "max_interference": -0.99, "significance_level": 0.9, "first_check": 4,
        "check_every": 4, "loss_weighting": "uncertainty",
    }  # fmt: skip
    whole = train(encoder, "adaptershare", settings, checkpoint_steps=8, **options)
    assert any(row["decision"] == "split" for row in whole.records["interference"])
    resumed = train(encoder, "adaptershare", settings, checkpoint_steps=8, resume=whole.checkpoints[8], **options)
    assert_equal(resumed.tensors, whole.tensors)
    assert resumed.records == whole.records
    assert_equal(resumed.checkpoints[16].tensors, whole.checkpoints[16].tensors)
    assert any(name.startswith("method/act/kernels/") for name in whole.checkpoints[8].tensors)


def test_resume_while_a_history_is_followed(encoder: Path) -> None:
    history = (
        (0, SharingPlan.shared(TASKS, 2)),
        (3, SharingPlan(TASKS, ((TASKS[:2], TASKS[2:]), (TASKS,)))),
        (11, SharingPlan(TASKS, ((TASKS[:2], TASKS[2:3], TASKS[3:]), (TASKS[1:], TASKS[:1])))),
    )
    whole = train(encoder, "random-plan", checkpoint_steps=8, plan_history=history)
    assert {row["step"] for row in whole.records["sharing"]} == {0, 3, 11}
    assert whole.method.plan == permuted(history, 0)[-1][1]
    resumed = train(encoder, "random-plan", checkpoint_steps=8, resume=whole.checkpoints[8], plan_history=history)
    assert_equal(resumed.tensors, whole.tensors)
    assert resumed.records == whole.records


def test_resume_after_an_interruption(encoder: Path) -> None:
    whole = train(encoder, "adaptershare", **SPLITTING)
    passed: list[int] = []

    def note(event: Progress) -> None:
        if event.kind == "step":
            passed.append(event.step)

    hooks = Hooks(progress=note, stop=lambda: bool(passed) and passed[-1] == 12)
    stopped = train(encoder, "adaptershare", hooks=hooks, **SPLITTING)
    assert set(stopped.checkpoints) == {12}
    assert stopped.records["metrics"] == []
    resumed = train(encoder, "adaptershare", resume=stopped.checkpoints[12], **SPLITTING)
    assert_equal(resumed.tensors, whole.tensors)
    assert resumed.records == whole.records


@pytest.mark.parametrize(("better", "best"), [("earlier", 3), ("later", 18)])
def test_resume_with_the_best_step_kept(encoder: Path, monkeypatch: pytest.MonkeyPatch, better: str, best: int) -> None:
    settings = replace(SETTINGS, eval_steps=3, load_best_model_at_end=True)
    now = {"step": 0}

    def note(event: Progress) -> None:
        if event.kind == "step":
            now["step"] = event.step

    def scripted(info: Any, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
        value = now["step"] / 100 if better == "later" else 1 / now["step"]
        return dict.fromkeys(info.metrics, value)

    monkeypatch.setattr(loop, "score", scripted)
    whole = train(encoder, "adaptershare", settings, 8, hooks=Hooks(progress=note), **SPLITTING)
    checkpoint = whole.checkpoints[8]
    assert checkpoint.meta["best"]["step"] == (3 if better == "earlier" else 6)
    resumed = train(encoder, "adaptershare", settings, 8, checkpoint, hooks=Hooks(progress=note), **SPLITTING)
    assert_equal(resumed.tensors, whole.tensors)
    assert resumed.records == whole.records
    assert resumed.method.plan == whole.method.plan
    assert {row["step"] for row in whole.records["metrics"] if row["final"]} == {best}
    if better == "earlier":  # both splits came later and are undone
        assert whole.method.plan == SharingPlan.shared(TASKS, 2)
        final = [row for row in whole.records["sharing"] if row["phase"] == "final"]
        assert final == whole.records["sharing"][-8:] == whole.method.plan.rows("final", 3)
        short = train(encoder, "adaptershare", SETTINGS, 3, **SPLITTING).checkpoints[3].tensors
        assert_equal({f"method/{name}": tensor for name, tensor in whole.tensors.items()}, {
            name: tensor for name, tensor in short.items() if name.startswith("method/")
        })  # fmt: skip
    else:
        last = train(encoder, "adaptershare", **SPLITTING)
        assert_equal(whole.tensors, last.tensors)
        assert whole.records["sharing"] == last.records["sharing"]
