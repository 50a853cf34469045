"""The training loop: what an update moves, in which order, at which rate, and what must change nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.errors import RunError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training import loop
from adaptershare_cli.training.checkpoint import CheckpointTimer
from adaptershare_cli.training.evaluation import predict, score
from adaptershare_cli.training.loop import Hooks, Trainer
from adaptershare_cli.training.optimizer import Optimizer
from adaptershare_cli.training.schedule import task_order, task_shares, total_steps
from tests.core import INFOS, build_method, outputs_of, random_parts
from tests.trainings import SETTINGS, TASKS, assert_equal, train

# ----------------------------------------------------------------------------------------------------------- an update


@pytest.mark.parametrize(
    "plan",
    [
        SharingPlan.private(TASKS, 2),
        SharingPlan.shared(TASKS, 2),
        SharingPlan(TASKS, ((TASKS[:3], TASKS[3:]), (TASKS[:1], TASKS[1:]))),
    ],
)
def test_an_update_moves_only_what_its_batch_touched(encoder: Path, plan: SharingPlan) -> None:
    training = replace(SETTINGS, warmup_ratio=0.0, lr_scheduler_type="constant_with_warmup", encoder_dropout=False)
    method, _ = build_method(encoder, "private", training=training)
    frozen = {n: p.clone() for n, p in method.model.encoder.named_parameters() if not p.requires_grad}
    run = train(encoder, "private", training, checkpoint_steps=1, plan=plan)
    assert {row["task"] for row in run.records["steps"]} == set(TASKS)
    for step in range(1, 17):
        before, after = run.checkpoints[step].tensors, run.checkpoints[step + 1].tensors
        task = run.records["steps"][step]["task"]  # of update step + 1
        own = [f"/head/{task}/"]
        for layer, groups in enumerate(run.method.plan.layers):
            own.append(f"/adapter/{layer}.{groups.index(run.method.plan.group(layer, task))}.")
        for name, tensor in after.items():
            moved = name not in before or not torch.equal(tensor, before[name])
            assert moved == any(part in f"/{name}" for part in own), (step, task, name)
        assert before.keys() <= after.keys()
    now = dict(run.method.model.encoder.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())


@pytest.mark.parametrize(("limit", "expected"), [(0.5, 0.5), (0.0, 5.0), (9.0, 5.0)])
def test_clipping(limit: float, expected: float) -> None:
    parameter, untouched = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(3))
    settings = TrainingSettings(max_grad_norm=limit, weight_decay=0.5, warmup_ratio=0.0, learning_rate=0.1)
    optimizer = Optimizer([parameter, untouched], settings, 10)
    parameter.grad = torch.tensor([3.0, 4.0])
    norm = optimizer.gradient_norm()
    assert norm == 5
    optimizer.step(norm)
    moment = optimizer.torch.state[parameter]["exp_avg"]
    assert float(moment.norm()) / 0.1 == pytest.approx(expected, rel=1e-4)
    assert torch.equal(untouched, torch.ones(3))
    assert untouched not in optimizer.torch.state
    assert parameter.grad is None


def test_a_loss_that_is_not_finite_stops_the_run(encoder: Path) -> None:
    parts = random_parts(("first", "score"))
    rows = parts["score"].train
    labels = rows.answers.labels.copy()
    labels[13] = math.nan
    rows.answers = replace(rows.answers, labels=labels)
    rows.row = rows.row + 1000  # the rows are named by their number in the source
    method, _ = build_method(encoder, "shared", parts, SETTINGS)
    trainer = Trainer(method, parts, SETTINGS, "bf16", 500, Hooks())
    with pytest.raises(RunError, match="nan") as caught:
        trainer.run()
    done = method.context.records["steps"]
    where = caught.value.where
    assert f"task score, update {len(done) + 1}, train rows [" in where
    named = json.loads(where[where.index("[") :])
    assert len(named) == 4 and 1013 in named
    assert all(math.isfinite(row["loss"]) for row in done)
    assert all(tensor.isfinite().all() for tensor in method.state()[0].values())
    assert {p.dtype for p in method.model.encoder.parameters()} == {torch.float32}


def test_a_gradient_that_is_not_finite_stops_the_run(encoder: Path) -> None:
    method, parts = build_method(encoder, "shared", random_parts(("first",)), SETTINGS)
    before = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    method.model.heads["first"].linear.bias.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(RunError, match="not finite") as caught:
        Trainer(method, parts, SETTINGS, "fp32", 500, Hooks()).run()
    assert "task first, update 1, " in caught.value.where
    assert_equal(method.state()[0], before)


# ------------------------------------------------------------------------------------------------------- task schedule

SIZES = st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(1, 5000), min_size=1, max_size=7)
SAMPLING = st.builds(
    TrainingSettings,
    task_sampling=st.sampled_from(["proportional", "uniform", "temperature"]),
    sampling_temperature=st.floats(1, 10),
)


@given(SIZES, SAMPLING, st.integers(1, 400), st.integers(0, 2**62))
def test_every_task_gets_its_share_evenly_spread(
    sizes: dict[str, int], settings: TrainingSettings, steps: int, seed: int
) -> None:
    order = task_order(sizes, settings, steps, seed)
    shares = task_shares(sizes, settings)
    counts = Counter(order)
    assert len(order) == steps
    assert sum(shares.values()) == pytest.approx(1)
    for task, share in shares.items():
        assert abs(counts[task] - share * steps) < 1
        for other in sizes:
            assert sizes[task] <= sizes[other] or counts[task] >= counts[other] - (settings.task_sampling == "uniform")
    # At any time each task has had its part of the updates so far, up to fewer batches than there are tasks.
    so_far: Counter[str] = Counter()
    for place, now in enumerate(order, 1):
        so_far[now] += 1
        for task in sizes:
            part = counts[task] / steps
            slack = (1 - part) + part * (len(sizes) - 1)
            assert abs(so_far[task] - part * place) <= slack + 1e-9


@given(SIZES, SAMPLING, st.integers(1, 200), st.integers(0, 2**62))
def test_the_order_depends_on_its_arguments_alone(
    sizes: dict[str, int], settings: TrainingSettings, steps: int, seed: int
) -> None:
    first = task_order(sizes, settings, steps, seed)
    np.random.seed(0)
    torch.rand(3)
    assert task_order(dict(sizes), settings, steps, seed) == first
    assert Counter(task_order(sizes, settings, steps, seed + 1)) == Counter(first)


def test_shares() -> None:
    sizes = {"big": 900, "small": 100}
    assert task_shares(sizes, TrainingSettings()) == {"big": 0.9, "small": 0.1}
    assert task_shares(sizes, TrainingSettings(task_sampling="uniform")) == {"big": 0.5, "small": 0.5}
    tempered = task_shares(sizes, TrainingSettings(task_sampling="temperature", sampling_temperature=2.0))
    assert tempered == pytest.approx({"big": 0.75, "small": 0.25})
    order = task_order(sizes, TrainingSettings(task_sampling="uniform"), 40, 0)
    assert Counter(order) == {"big": 20, "small": 20}
    assert order != task_order(sizes, TrainingSettings(task_sampling="uniform"), 40, 1)


def test_total_steps() -> None:
    sizes = {"a": 33, "b": 32}
    assert total_steps(sizes, TrainingSettings(max_steps=7)) == 7
    assert total_steps(sizes, TrainingSettings(num_train_epochs=1.0)) == 3
    assert total_steps(sizes, TrainingSettings(num_train_epochs=1.5)) == 5
    assert total_steps(sizes, TrainingSettings(num_train_epochs=0.0)) == 1


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant_with_warmup"])
def test_learning_rate_curve(encoder: Path, schedule: str) -> None:
    training = replace(SETTINGS, max_steps=16, warmup_ratio=0.2, lr_scheduler_type=schedule)  # type: ignore[arg-type]
    run = train(encoder, "shared", training, parts=random_parts(("first",), rows=9))
    warm = 4  # 0.2 * 16, rounded up
    for done, row in enumerate(run.records["steps"]):
        left = (16 - done) / (16 - warm)
        falling = {"linear": left, "cosine": (1 + math.cos(math.pi * (1 - left))) / 2, "constant_with_warmup": 1.0}
        factor = done / warm if done < warm else falling[schedule]
        assert row["learning_rate"] == pytest.approx(1e-2 * factor)
        assert row["step"] == done + 1


# ------------------------------------------------------------------------------------------------ uncertainty weighting


def test_uncertainty_weighs_the_loss_and_is_learnt_beside_the_adapters(encoder: Path) -> None:
    training = TrainingSettings(max_steps=1, learning_rate=0.1, warmup_ratio=0.0, weight_decay=0.5, head_dropout=0.0)
    method, parts = build_method(encoder, "shared", training=training, loss_weighting="uncertainty")
    plain_method, _ = build_method(encoder, "shared", training=training)
    phase = next(method.phases())
    optimizer = Optimizer(phase.parameters(), training, 10, phase.apart())
    batch = make_batch("first", parts["first"].train, np.arange(4), 0)
    raw = plain_method.loss(batch)
    v = method.uncertainty["first"]
    with torch.no_grad():
        v.fill_(0.5)
        method.uncertainty["score"].fill_(2.0)
    assert method.loss(batch).item() == pytest.approx(math.exp(-0.5) * raw.item() + 0.5)
    method.loss(batch).backward()
    raw.backward()
    assert v.grad is not None and v.grad.item() == pytest.approx(1 - math.exp(-0.5) * raw.item())
    gradients = [p.grad for p in plain_method.model.parameters() if p.grad is not None]
    expected = math.exp(-0.5) * float(nn.utils.get_total_norm(gradients))  # the uncertainty's own is not in it
    assert optimizer.gradient_norm() == pytest.approx(expected, rel=1e-5)
    sign = math.copysign(1, v.grad.item())
    optimizer.step(1e9)  # clips the adapters to next to nothing, not the uncertainty
    assert v.item() == pytest.approx(0.5 - 0.1 * sign, rel=1e-4)  # Adam's first step; no decay
    assert method.uncertainty["score"].item() == 2.0  # other tasks' stay


def test_equal_weighting_has_no_uncertainty(encoder: Path) -> None:
    method, _ = build_method(encoder, "shared")
    assert not method.uncertainty
    assert not any(name.startswith("uncertainty/") for name in method.names().values())


# -------------------------------------------------------------------------------------------------------- checkpoints


@given(
    saving=st.lists(st.floats(0.001, 50), min_size=1, max_size=20),
    updating=st.floats(0.01, 30),
)
def test_checkpoints_by_time_cost_less_than_one_percent(saving: list[float], updating: float) -> None:
    """However long updates and savings take; only the first saving's cost is not known before."""
    now = [0.0]
    timer = CheckpointTimer(None, clock=lambda: now[0])
    seconds = iter(saving)

    def save() -> None:
        now[0] += next(seconds)

    saved: list[tuple[float, float]] = []
    for step in range(1, 2000):
        now[0] += updating
        if timer.due(step, phase_ends=False):
            if len(saved) == len(saving):
                break
            began = now[0]
            timer.save(save)
            saved.append((began, now[0]))
    assert all(began >= CheckpointTimer.LEAST_SECONDS for began, _ in saved[:1])
    for (began, ended), (following, _) in zip(saved, saved[1:], strict=False):
        assert ended - began <= CheckpointTimer.COST * (following - ended) * (1 + 1e-9)
        assert following - ended >= CheckpointTimer.LEAST_SECONDS


def test_when_a_checkpoint_is_due() -> None:
    timer = CheckpointTimer(5)
    assert timer.due(1, phase_ends=True, run_ends=True)  # what fails after the last update costs no training
    assert [step for step in range(1, 13) if timer.due(step, phase_ends=step == 12)] == [5, 10, 12]
    now = [0.0]
    timer = CheckpointTimer(None, clock=lambda: now[0])
    for seconds, within, at_end in ((9, False, False), (11, False, True), (59, False, True), (61, True, True)):
        now[0] = float(seconds)
        assert (timer.due(1, phase_ends=False), timer.due(1, phase_ends=True)) == (within, at_end)


# ------------------------------------------------------------------------------------------- what must change nothing


@pytest.mark.parametrize("name", ["shared", "private", "hyperformer++"])
def test_observing_leaves_training_alone(encoder: Path, name: str) -> None:
    blind = train(encoder, name, observe=False)
    watched = train(encoder, name, observe=True, first_check=1, check_every=1)
    assert blind.records["interference"] == []
    assert {row["step"] for row in watched.records["interference"]} == set(range(1, 19))
    assert {row["decision"] for row in watched.records["interference"]} == {"observe"}
    assert_equal(watched.tensors, blind.tensors)
    for table in ("steps", "metrics", "predictions", "sharing"):
        assert watched.records[table] == blind.records[table]


def test_scoring_and_saving_leave_training_alone(encoder: Path) -> None:
    plain_run = train(encoder, "shared")
    busy = train(encoder, "shared", replace(SETTINGS, eval_steps=5), checkpoint_steps=3)
    assert_equal(busy.tensors, plain_run.tensors)
    assert busy.records["steps"] == plain_run.records["steps"]


def test_tasks_without_held_out_rows_are_not_observed(encoder: Path) -> None:
    empty = {
        task: replace(part, heldout=Rows(KINDS[INFOS[task].kind].prepared_schema().empty_table(), INFOS[task]))
        for task, part in random_parts(("first", "score")).items()
    }
    run = train(encoder, "shared", parts=empty)
    assert run.records["interference"] == []
    assert len(run.records["steps"]) == 18


# ------------------------------------------------------------------------------------------------------------- dropout


def test_encoder_dropout_changes_training_and_not_scoring(encoder: Path) -> None:
    settings = replace(SETTINGS, head_dropout=0.0)
    calm = train(encoder, "shared", replace(settings, encoder_dropout=False))
    noisy = train(encoder, "shared", settings)
    assert not torch.equal(noisy.tensors["head/first/linear.weight"], calm.tensors["head/first/linear.weight"])
    first_losses = [run.records["steps"][0]["loss"] for run in (calm, noisy)]
    assert first_losses[0] != first_losses[1]  # from the first update on
    method = noisy.method
    rows = random_parts(("first",))["first"].scored["dev"]
    batch = make_batch("first", rows, rows.by_length(), 0)
    method.eval_mode()
    with torch.no_grad():
        scored = [method.logits(batch) for _ in range(2)]
        method.train_mode()
        trained = [method.logits(batch) for _ in range(2)]
    assert torch.equal(*scored)
    assert not torch.equal(*trained)
    recorded = [row["logits"] for row in noisy.records["predictions"] if row["task"] == "first"]
    assert torch.equal(torch.tensor(recorded)[torch.from_numpy(batch.indices.copy())], scored[0])
    without, _ = build_method(encoder, "shared", training=replace(settings, encoder_dropout=False))
    without.load_state(*method.state())
    without.train_mode()
    with torch.no_grad():
        assert torch.equal(without.logits(batch), scored[0])  # no dropout anywhere


def test_head_dropout_alone_also_counts(encoder: Path) -> None:
    settings = replace(SETTINGS, encoder_dropout=False, max_steps=6)
    runs = [train(encoder, "shared", replace(settings, head_dropout=rate)) for rate in (0.0, 0.5, 0.5)]
    assert not torch.equal(runs[0].tensors["head/first/linear.weight"], runs[1].tensors["head/first/linear.weight"])
    assert_equal(runs[2].tensors, runs[1].tensors)  # and the same seed gives the same run


def test_predictions_stand_in_the_order_of_the_rows(encoder: Path) -> None:
    run = train(encoder, "shared", replace(SETTINGS, max_steps=2, per_device_eval_batch_size=4))
    for task, part in random_parts().items():
        rows = part.scored["dev"]
        alone = predict(run.method.logits, task, rows, outputs_of(INFOS[task]), 1, 0)
        found = [row for row in run.records["predictions"] if row["task"] == task]
        assert [row["row"] for row in found] == rows.row.tolist()
        assert np.allclose([row["logits"] for row in found], alone, atol=1e-5)
        if INFOS[task].labels:
            assert [row["label"] for row in found] == [INFOS[task].labels[label] for label in rows.answers.labels]
            guesses = [INFOS[task].labels[int(np.argmax(row["logits"]))] for row in found]
            assert [row["prediction"] for row in found] == guesses
        else:
            assert [float(row["label"]) for row in found] == rows.answers.labels.tolist()
            assert np.allclose([float(row["prediction"]) for row in found], 2.5 + 2.5 * alone[:, 0], atol=1e-4)


@pytest.mark.parametrize("best", [False, True])
def test_select_rows_are_run_once_for_the_weights_that_are_exported(
    encoder: Path, best: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was scored at the step that is kept stands as the final score, and is what the exported weights give."""
    counted: Counter[int] = Counter()

    def counting(logits, task, rows, *rest):
        counted[id(rows)] += 1
        return predict(logits, task, rows, *rest)

    monkeypatch.setattr(loop, "predict", counting)
    parts = random_parts()
    run = train(encoder, "shared", replace(SETTINGS, eval_steps=6, load_best_model_at_end=best), parts=parts)
    for task, part in parts.items():
        assert counted[id(part.select)] == 3
        rows = [row for row in run.records["metrics"] if row["task"] == task and row["split"] == "select"]
        final = {row["metric"]: row["value"] for row in rows if row["final"]}
        run.method.eval_mode()
        size = SETTINGS.per_device_eval_batch_size
        outputs = predict(run.method.logits, task, part.select, outputs_of(INFOS[task]), size, 0)
        assert final == score(INFOS[task], outputs, part.select)
