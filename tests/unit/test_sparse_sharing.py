"""Sparse Sharing: rounds, rewinding, choice of masks, strict and leaky updates, and what it is equal to."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.errors import UserError
from adaptershare_cli.methods import preset_values
from adaptershare_cli.methods.sparse_sharing.method import SparseSharing, start_digest
from adaptershare_cli.methods.sparse_sharing.settings import SparseSharingSettings
from adaptershare_cli.methods.sparse_sharing.start import SearchedMasks
from adaptershare_cli.methods.sparse_sharing.updates import search_size, sparse_updates
from adaptershare_cli.model.masked import MaskedModel
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.masks import Masks, kept_count, overlap, pack, prune, random_masks, round_counts, unpack
from adaptershare_cli.training import loop
from adaptershare_cli.training.costs import count_costs
from adaptershare_cli.training.loop import Hooks, Trainer
from adaptershare_cli.training.optimizer import Optimizer
from tests.core import INFOS, build_method, outputs_of, random_parts
from tests.trainings import Run, assert_equal, train

NAMES = ("first", "second")
SETTINGS = TrainingSettings(
    max_steps=8, per_device_train_batch_size=4, learning_rate=1e-2, reduction_factor=4, encoder_dropout=True,
    weight_decay=0.1,
)  # fmt: skip
# Each task's updates depend on its own rows alone: no schedule over all updates, no draws.
PLAIN = replace(
    SETTINGS, lr_scheduler_type="constant_with_warmup", warmup_ratio=0.0, head_dropout=0.0, encoder_dropout=False,
    task_sampling="uniform",
)  # fmt: skip
OF_ENCODER = {"reduction_factor": TrainingSettings().reduction_factor}
QUICK: dict[str, Any] = {"rounds": 2, "final_rate": 0.2, "round_epochs": 0.3, "multitask_warmup_epochs": 0.2}
ONLY_JOINT: dict[str, Any] = {"masks": "ones", "multitask_warmup_epochs": 0.0}


def make(folder: Path, names: tuple[str, ...] = NAMES, training: TrainingSettings = SETTINGS, **options: Any
         ) -> SparseSharing:  # fmt: skip
    return build_method(folder, "sparse-sharing", random_parts(names), training, **options)[0]


def run(method: SparseSharing) -> None:
    Trainer(method, random_parts(method.context.data.tasks), method.context.training, "fp32", None, Hooks()).run()


def searched(masks: Any, start: str = "") -> SearchedMasks:
    """Masks as an earlier run found them."""
    return SearchedMasks(masks, start, SparseSharingSettings())


def copies(method: SparseSharing) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for tensor, name in method.names().items()}


def matrices(method: SparseSharing) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in method.model.base.matrices.items()}


def halves(model: MaskedModel) -> dict[str, Masks]:
    """Two masks that have no weight in common and leave none out."""
    first = {
        name: torch.rand(mask.shape, generator=torch.Generator().manual_seed(4)) < 0.5
        for name, mask in model.all_ones().items()
    }
    return {"first": first, "second": {name: ~mask for name, mask in first.items()}}


# --------------------------------------------------------------------------------------------------------------- rounds


@pytest.mark.parametrize("part", ["adapters", "encoder"])
def test_rounds_keep_what_the_formula_says_and_start_from_the_same_bits(
    encoder: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(SETTINGS, **(OF_ENCODER if part == "encoder" else {}))
    method = make(encoder, training=training, prune=part, **QUICK)
    seen: list[tuple[dict[str, torch.Tensor], dict[str, Masks]]] = []
    before_update = method.train_mode
    monkeypatch.setattr(
        method, "train_mode", lambda: (seen.append((copies(method), dict(method.model.masks))), before_update())
    )
    random = copies(method)
    run(method)
    steps = method.context.records["steps"]
    assert len(seen) == len(steps)
    firsts = {row["phase"]: found for row, found in zip(steps, seen, strict=True) if row["step"] == 1}
    assert list(firsts) == ["warm-up", *(f"prune-{task}-{k}" for task in NAMES for k in range(3)), "main"]
    assert_equal(firsts["warm-up"][0], random)
    # Every round and joint training begin with the warmed-up weights, all of them, bit for bit.
    start = firsts["prune-first-0"][0]
    assert all(not torch.equal(start[name], random[name]) for name in start)
    for phase in list(firsts)[1:]:
        assert_equal(firsts[phase][0], start)
    assert_equal(method.start, start)
    # Of the weights, what the formula says is left; the masks are nested.
    counts = round_counts(method.model.weights_in_base, 2, 0.2)
    for task in NAMES:
        masks = [firsts[f"prune-{task}-{k}"][1][task] for k in range(3)]
        assert [kept_count(mask) for mask in masks] == counts
        assert all(bool((early[name] | ~late[name]).all()) for early, late in zip(masks, masks[1:], strict=False)
                   for name in early)  # fmt: skip
        rows = [row for row in method.context.records["pruning"] if row["task"] == task]
        assert [(row["round"], row["kept"]) for row in rows] == list(enumerate(counts))
        assert [row["rate"] for row in rows] == [count / method.model.weights_in_base for count in counts]
        assert sum(row["chosen"] for row in rows) == 1 and not rows[0]["chosen"]
        chosen = next(row["round"] for row in rows if row["chosen"])
        used = firsts["main"][1][task]
        assert all(torch.equal(used[name], masks[chosen][name]) for name in used)


def test_pruning_goes_by_the_step_that_select_rows_chose(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the last step: here the second of four is the best of the first training."""
    script = {"first": [0.1, 0.9, 0.2, 0.3], "second": []}
    monkeypatch.setattr(loop, "score", lambda info, outputs, labels: dict.fromkeys(
        info.metrics, script[info.name].pop(0) if script[info.name] else 0.5))  # fmt: skip
    options = {**QUICK, "round_epochs": 0.4, "multitask_warmup_epochs": 0.0}
    whole = train(encoder, "sparse-sharing", SETTINGS, 1, parts=random_parts(NAMES), **options)
    chosen, last, after = (whole.checkpoints[step] for step in (2, 4, 5))
    assert (chosen.phase, last.phase, last.step, after.phase) == (*["prune-first-0"] * 2, 4, "prune-first-1")
    shapes = {name: matrix.shape for name, matrix in whole.method.model.base.matrices.items()}

    def weights(checkpoint: Any) -> dict[str, torch.Tensor]:
        return {name: checkpoint.tensors[f"method/adapter/{_named(name)}"] for name in shapes}

    ones = whole.method.model.all_ones()
    share = 1 - 0.2**0.5
    found = {name: unpack(after.tensors[f"method/mask/first/{name}"].numpy(), shape) for name, shape in shapes.items()}
    expected, late = (
        prune({n: w.abs() for n, w in weights(point).items()}, ones, share, "global") for point in (chosen, last)
    )
    assert all(torch.equal(found[name], expected[name]) for name in shapes)
    assert any(not torch.equal(found[name], late[name]) for name in shapes)
    assert whole.records["pruning"][0]["step"] == 2 and whole.records["pruning"][0]["value"] == 0.9


def _named(name: str) -> str:
    """A matrix's name in a state: with the group's number after the layer."""
    layer, _, rest = name.partition(".")
    return f"{layer}.0.{rest}"


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [((0.9, 0.3, 0.7, 0.5), 2), ((0.9, 0.7, 0.5, 0.7), 3), ((0.9, None, 0.0, None), 3), ((0.9, 0.2, 0.1, None), 1)],
)
def test_the_mask_with_the_best_select_score_is_chosen(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, scores: tuple[float | None, ...], chosen: int
) -> None:
    """The full network does not compete; of equal masks the sparser; an undefined score counts as 0."""
    left = {"first": list(scores)}
    monkeypatch.setattr(loop, "score", lambda info, outputs, labels: dict.fromkeys(
        info.metrics, left[info.name].pop(0) if left.get(info.name) else 0.5))  # fmt: skip
    method = make(encoder, **{**QUICK, "rounds": 3, "round_epochs": 0.001, "multitask_warmup_epochs": 0.0})
    run(method)
    rows = [row for row in method.context.records["pruning"] if row["task"] == "first"]
    assert [row["value"] for row in rows] == list(scores)
    assert [row["round"] for row in rows if row["chosen"]] == [chosen]
    assert kept_count(method.model.masks["first"]) == rows[chosen]["kept"]


def test_a_given_round_needs_no_training_after_it(encoder: Path) -> None:
    method = make(encoder, **{**QUICK, "rounds": 4, "mask_round": 2})
    run(method)
    counts = round_counts(method.model.weights_in_base, 4, 0.2)
    for task in NAMES:
        phases = {row["phase"] for row in method.context.records["steps"] if row["phase"].startswith(f"prune-{task}")}
        assert phases == {f"prune-{task}-0", f"prune-{task}-1"}
        assert kept_count(method.model.masks[task]) == counts[2]


def test_neurons_and_scopes(encoder: Path) -> None:
    method = make(encoder, mask_unit="neuron", pruning_scope="per-tensor", **QUICK)
    run(method)
    sites = method.model.base.bottlenecks
    assert len(sites) == 2
    for masks in method.model.masks.values():
        for site in sites:
            units = masks[site.down][:, 0]
            assert torch.equal(masks[site.down], units[:, None].expand(8, 32))
            assert torch.equal(masks[site.up], units[None, :].expand(32, 8))
            assert units.sum() in (4, 2)  # of 8: a share of 1 - 0.2^(1/2) twice


# -------------------------------------------------------------------------------------------------------------- updates


@pytest.mark.parametrize("updates", ["strict", "leaky"])
def test_what_a_step_on_a_task_leaves_alone(encoder: Path, updates: str) -> None:
    """Weights, moments and counts outside of the subnet, and other heads; leaky updates move the weights there."""
    method = make(encoder, updates=updates, **ONLY_JOINT)
    method.model.keep(halves(method.model))
    (phase,) = method.phases()
    optimizer = Optimizer(phase.parameters(), SETTINGS, 8)
    parts = random_parts(NAMES)

    def step(task: str) -> None:
        method.train_mode()
        method.loss(make_batch(task, parts[task].train, np.arange(4), 0)).backward()
        optimizer.step(optimizer.gradient_norm(), phase.subnet(task))

    step("first")
    step("second")
    step("first")
    heads = {name: tensor for name, tensor in copies(method).items() if name.startswith("head/second")}
    before = matrices(method)
    moments = {
        name: {entry: value.clone() for entry, value in optimizer.torch.state[tensor].items()}
        for name, tensor in method.model.base.matrices.items()
    }
    step("first")
    for name, tensor in method.model.base.matrices.items():
        inside = method.model.masks["first"][name]
        assert not torch.equal(tensor[inside], before[name][inside])
        now = optimizer.torch.state[tensor]
        if updates == "strict":
            assert torch.equal(tensor[~inside], before[name][~inside])
            assert all(torch.equal(now[entry][~inside], old[~inside]) for entry, old in moments[name].items())
            assert set(now["step"][inside].tolist()) == {3.0} and set(now["step"][~inside].tolist()) == {1.0}
        else:
            assert not torch.equal(tensor[~inside], before[name][~inside])
            assert not torch.equal(now["exp_avg"][~inside], moments[name]["exp_avg"][~inside])
    after = copies(method)
    assert len(heads) == 2 and all(torch.equal(after[name], tensor) for name, tensor in heads.items())


@pytest.mark.parametrize(
    ("adapter", "updates"), [("seq_bn", "strict"), ("double_seq_bn", "strict"), ("par_bn", "leaky")]
)
def test_masks_of_ones_are_full_sharing(encoder: Path, adapter: str, updates: str) -> None:
    """The same weights at every update, moments, losses, scores and predictions as --method shared, bit for bit."""
    settings = replace(SETTINGS, adapter_config=adapter, eval_steps=3)
    sparse = train(encoder, "sparse-sharing", settings, 1, updates=updates, **ONLY_JOINT)
    shared = train(encoder, "shared", settings, 1, observe=False)
    for name in ("steps", "metrics", "predictions"):
        assert sparse.records[name] == shared.records[name]
    assert set(sparse.checkpoints) == set(shared.checkpoints) == set(range(1, 9))
    for step, theirs in shared.checkpoints.items():
        ours = sparse.checkpoints[step].tensors
        own = {name: tensor for name, tensor in theirs.tensors.items() if not name.endswith("/step")}
        assert_equal({name: ours[name] for name in own}, own)


@pytest.mark.parametrize("part", ["adapters", "encoder"])
def test_disjoint_masks_without_dense_parts_are_single_task_trainings(encoder: Path, part: str) -> None:
    settings = replace(PLAIN, **(OF_ENCODER if part == "encoder" else {}))

    def trained(names: tuple[str, ...], steps: int) -> tuple[SparseSharing, Run]:
        method = make(encoder, names, replace(settings, max_steps=steps), prune=part, **ONLY_JOINT)
        for tensor in method.model.bank.parameters():
            tensor.requires_grad_(tensor.dim() == 2)  # the adapters' biases would be shared
        method.chosen = {task: mask for task, mask in halves(method.model).items() if task in names}
        run(method)
        return method, method.context.records["steps"]

    together, steps = trained(NAMES, 16)
    assert [row["task"] for row in steps[:4]].count("first") == 2
    for task in NAMES:
        alone, own = trained((task,), 8)
        assert [row["loss"] for row in steps if row["task"] == task] == [row["loss"] for row in own]
        for name, mask in together.model.masks[task].items():
            ours, theirs = together.model.base.matrices[name], alone.model.base.matrices[name]
            assert torch.equal(ours[mask], theirs[mask])
            assert not torch.equal(ours[~mask], theirs[~mask])
        for ours, theirs in zip(*(m.model.heads[task].parameters() for m in (together, alone)), strict=True):
            assert torch.equal(ours, theirs)


def test_the_warm_up_is_full_sharing_and_counts_as_the_start(encoder: Path) -> None:
    warmed = make(encoder, **{**ONLY_JOINT, "multitask_warmup_epochs": 0.4})
    updates = warmed.updates.warmup
    assert updates == math.ceil(0.4 * 20)
    run(warmed)
    steps = warmed.context.records["steps"]
    assert [row["phase"] for row in steps] == ["warm-up"] * updates + ["main"] * 8
    assert start_digest(warmed.start) != start_digest(make(encoder, **ONLY_JOINT).start)


# ------------------------------------------------------------------------------------------------- masks from elsewhere


def test_random_masks_have_the_rates_of_the_given_ones(encoder: Path) -> None:
    model = make(encoder).model
    like = {task: random_masks(masks, 3, "like") for task, masks in halves(model).items()}
    options = {**ONLY_JOINT, "masks": "random", "mask_run": "x", "start": searched(like)}
    method = make(encoder, **options)
    run(method)
    for task in NAMES:
        for name, mask in method.model.masks[task].items():
            assert mask.sum() == like[task][name].sum() and not torch.equal(mask, like[task][name])
    again = make(encoder, **options)
    assert all(torch.equal(again.chosen["first"][name], method.chosen["first"][name]) for name in like["first"])
    p = q = 0.5
    both = [pack(torch.cat([mask.flatten() for mask in method.model.masks[task].values()])) for task in NAMES]
    assert overlap(both, method.model.weights_in_base).ratio == pytest.approx(p * q / (p + q - p * q), abs=0.05)


def test_masks_of_whole_neurons_are_drawn_as_neurons(encoder: Path) -> None:
    pruned = make(encoder, mask_unit="neuron", **QUICK)
    run(pruned)
    method = make(encoder, masks="random", mask_run="x", start=searched(pruned.model.masks))
    for site in method.model.base.bottlenecks:
        for task, masks in method.chosen.items():
            units = masks[site.down][:, 0]
            assert units.sum() == pruned.model.masks[task][site.down][:, 0].sum()
            assert torch.equal(masks[site.up], units[None, :].expand(32, 8))


def test_given_masks_belong_to_their_start(encoder: Path) -> None:
    pruned = make(encoder, **QUICK)
    run(pruned)
    start = searched(pruned.model.masks, start_digest(pruned.start))
    options = {"masks": "given", "mask_run": "x", "start": start}
    same = make(encoder, multitask_warmup_epochs=QUICK["multitask_warmup_epochs"], **options)
    run(same)
    assert_equal(copies(same), copies(pruned))  # the same masks, the same start: the same joint training
    with pytest.raises(UserError, match="pruned from other weights"):
        run(make(encoder, multitask_warmup_epochs=0.0, **options))
    with pytest.raises(UserError, match="of other tensors"):
        make(encoder, training=replace(SETTINGS, reduction_factor=8), **options)


def test_only_adamw_can_be_strict(encoder: Path) -> None:
    adamax = replace(SETTINGS, optim="adamax")
    with pytest.raises(UserError, match="--updates strict"):
        make(encoder, training=adamax)
    run(make(encoder, training=adamax, updates="leaky", **QUICK))


# -------------------------------------------------------------------------------------------------- resume and counting


def test_resume_in_every_phase(encoder: Path) -> None:
    """Within the warm-up, within and at the end of rounds of both tasks, and in joint training."""
    settings = replace(SETTINGS, eval_steps=2)
    options = {**QUICK, "parts": random_parts(NAMES)}
    whole = train(encoder, "sparse-sharing", settings, 1, **options)
    phases = [point.phase for _, point in sorted(whole.checkpoints.items())]
    assert list(dict.fromkeys(phases)) == [
        "warm-up", *(f"prune-{task}-{k}" for task in NAMES for k in range(3)), "main"
    ]  # fmt: skip
    assert len(phases) == 4 + 6 * 3 + 8
    for step in (3, 4, 6, 15, 24):
        resumed = train(encoder, "sparse-sharing", settings, 1, whole.checkpoints[step], **options)
        assert_equal(resumed.tensors, whole.tensors)
        assert resumed.records == whole.records
        assert set(resumed.checkpoints) == set(range(step + 1, 31))
        if step < 30:
            assert_equal(resumed.checkpoints[30].tensors, whole.checkpoints[30].tensors)


@pytest.mark.parametrize("part", ["adapters", "encoder"])
def test_stored_is_the_union_and_the_masks(encoder: Path, part: str) -> None:
    training = replace(SETTINGS, **(OF_ENCODER if part == "encoder" else {}))
    method = make(encoder, tuple(INFOS), training, prune=part, **ONLY_JOINT)
    masks = {
        task: {
            name: torch.rand(one.shape, generator=torch.Generator().manual_seed(number)) < 0.3
            for name, one in method.model.all_ones().items()
        }
        for number, task in enumerate(INFOS)
    }
    method.model.keep(masks)
    found = count_costs(method, {task: [9] for task in INFOS})
    union = kept_count({
        name: torch.stack([own[name] for own in masks.values()]).any(0) for name in method.model.base.matrices
    })  # fmt: skip
    weights = 2 * 2 * 32 * 8 if part == "adapters" else 2 * (4 * 32 * 32 + 2 * 32 * 64)
    dense = 2 * (8 + 32) if part == "adapters" else 0
    heads = {task: 33 * outputs_of(info) for task, info in INFOS.items()}
    bits = math.ceil(weights / 32)
    assert method.model.weights_in_base == weights
    assert found.stored == union + len(INFOS) * bits + dense + sum(heads.values())
    assert found.stored_heads == found.trained_heads == sum(heads.values())
    assert found.trained == weights + dense + sum(heads.values())
    for task, own in found.tasks.items():
        assert own.stored == kept_count(masks[task]) + bits + dense + heads[task]
    # A method whose masks change is counted anew.
    method.model.keep({task: method.model.all_ones() for task in INFOS})
    assert count_costs(method, {"first": [9], "second": [9]}).tasks["first"].stored == (
        weights + bits + dense + heads["first"]
    )


# --------------------------------------------------------------------------------------------------- numbers of updates


def test_updates_of_the_parts() -> None:
    sizes = {"big": 320, "small": 33}
    training = TrainingSettings(max_steps=100, per_device_train_batch_size=32, task_sampling="uniform")
    on_top = sparse_updates(SparseSharingSettings(rounds=3), training, sizes)
    assert (on_top.warmup, on_top.joint) == (12, 100)  # 10 + 2 batches
    assert on_top.alone == {"big": 12, "small": 12}
    assert on_top.total == {"big": 6 + 4 * 12 + 50, "small": 6 + 4 * 12 + 50}
    epochs = sparse_updates(SparseSharingSettings(rounds=3, round_epochs=1.5), training, sizes)
    assert epochs.alone == {"big": 15, "small": 3}
    none = sparse_updates(SparseSharingSettings(masks="ones", multitask_warmup_epochs=0), training, sizes)
    assert none.total == {"big": 50, "small": 50} and none.warmup == 0


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=9), st.integers(9, 10**5))
def test_law_by_default_a_search_is_of_the_size_of_joint_training(sizes: list[int], steps: int) -> None:
    """However many rows there are: warm-up and trainings alone have at most as many updates, or one each."""
    settings, training = SparseSharingSettings(), TrainingSettings(max_steps=steps)
    found = sparse_updates(settings, training, {f"t{place}": size for place, size in enumerate(sizes)})
    assert found.joint == steps and found.warmup <= steps
    trainings = settings.trainings * sum(found.alone.values())
    assert trainings <= max(steps + settings.trainings * len(sizes), 0) and min(found.alone.values()) >= 1


def test_what_a_search_takes_is_said_beside_the_papers() -> None:
    """Two tasks of 200 rows, 24 updates: 12 a task; eight rounds need nine trainings, the paper's 21 of 20 batches."""
    said = search_size(SparseSharingSettings(), TrainingSettings(max_steps=24), {"one": 200, "two": 200})
    assert "takes 32 updates, and joint training 24;" in said  # 14 of the warm-up (an epoch), 18 of one update each
    assert f"would take {2 * 21 * 100 * 20:,}" in said
    assert "--preset sparse-sharing-paper" in said


def test_the_published_search_is_a_preset() -> None:
    values = preset_values("sparse-sharing-paper", 3, {})
    assert (values["rounds"], values["round_epochs"], values["num_train_epochs"]) == (20, 100.0, 100.0)
    assert "rounds" not in preset_values("sparse-sharing-paper", 3, {"masks": "given"})


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("sampling", ["uniform", "proportional"])
def test_a_share_for_the_search_leaves_the_total_as_it_is(share: float, sampling: str) -> None:
    sizes = {"big": 640, "small": 320}
    training = TrainingSettings(max_steps=2000, task_sampling=sampling)  # type: ignore[arg-type]
    settings = SparseSharingSettings(rounds=3, search_share=share)
    found = sparse_updates(settings, training, sizes)
    whole = sparse_updates(SparseSharingSettings(masks="ones", multitask_warmup_epochs=0), training, sizes)
    assert found.total == whole.total
    searched = found.warmup + 4 * sum(found.alone.values())
    # Of an odd number of updates in the warm-up each of two equal tasks is reckoned half, rounded.
    assert abs(searched + found.joint - 2000) <= 1 and searched == pytest.approx(share * 2000, abs=12)
    taken = sparse_updates(
        SparseSharingSettings(masks="given", mask_run="x", search_share=share), training, sizes, settings
    )
    assert (taken.warmup, taken.joint) == (found.warmup, found.joint)
    assert all(found.total[task] - taken.total[task] == 4 * found.alone[task] for task in sizes)
    with pytest.raises(UserError, match="Nothing is left of task"):
        sparse_updates(settings, replace(training, max_steps=6), sizes)


def test_settings_that_have_no_effect_are_refused() -> None:
    for options, says in (
        ({"masks": "random"}, "take the masks of --mask-run"),
        ({"mask_run": "x"}, "take the masks of --mask-run"),
        ({"rounds": 2, "mask_round": 3}, "later than the last"),
        ({"mask_unit": "neuron", "prune": "encoder"}, "belongs to --prune adapters"),
        ({"masks": "ones", "multitask_warmup_epochs": 0, "search_share": 0.5}, "neither pruning nor a warm-up"),
    ):
        with pytest.raises(UserError, match=says):
            SparseSharingSettings(**options)
