"""The split rule on hand-made gradients, and the method that applies it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from adaptershare_cli.methods.adaptershare.method import Differentiate
from adaptershare_cli.methods.adaptershare.settings import AdapterShareSettings
from adaptershare_cli.methods.planned.method import Check
from adaptershare_cli.sharing.differentiation import (
    Decision,
    Guard,
    decide,
    passes_agreement,
    passes_entropy,
    split_group,
)
from adaptershare_cli.sharing.interference import Interference, RowIndex
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer
from tests.core import PlanOnly, build_method, random_parts, relate

SEEDS = st.integers(0, 2**32 - 1)
SIZE = 24  # parameters of a hand-made adapter


def planted(sides: list[int], angles: list[float], seed: int, noise: float = 0.02) -> torch.Tensor:
    """Gradients (T, 2, SIZE): task t points along `angles[sides[t]]` (degrees) of one plane; own length and noise."""
    random = np.random.default_rng(seed)
    plane, _ = np.linalg.qr(random.normal(size=(SIZE, 2)))
    turn = np.radians([angles[side] for side in sides])
    directions = np.stack([np.cos(turn), np.sin(turn)], 1) @ plane.T
    halves = directions[:, None] + noise * random.normal(size=(len(sides), 2, SIZE)) / np.sqrt(SIZE)
    return torch.from_numpy(halves * 10 ** random.uniform(-3, 3, (len(sides), 1, 1)))


def decision_of(gradients: torch.Tensor, guard: str = "none", threshold: float = 0.0) -> Decision:
    """The rule on one group of all tasks."""
    found = relate(gradients)
    return decide(found, range(len(gradients)), Guard(guard), threshold)


def parts_of(decision: Decision) -> set[frozenset[int]]:
    """The two parts, whichever is kept."""
    return {frozenset(decision.kept), frozenset(decision.moved)}


def until_stable(gradients: torch.Tensor, threshold: float) -> set[frozenset[int]]:
    """Split every group again and again until all keep."""
    found = relate(gradients)
    done, waiting = set(), [tuple(range(len(gradients)))]
    while waiting:
        group = waiting.pop()
        decision = decide(found, group, Guard(), threshold)
        if decision.outcome == "split":
            waiting += [decision.kept, decision.moved]
        else:
            assert decision == Decision("keep")
            done.add(frozenset(group))
    return done


def matrix(size: int, values: dict[tuple[int, int], float], default: float = 0.5) -> np.ndarray:
    """A symmetric cosine matrix."""
    cosine = np.full((size, size), default)
    for (a, b), value in values.items():
        cosine[a, b] = cosine[b, a] = value
    np.fill_diagonal(cosine, 1)
    return cosine


# ------------------------------------------------------------------------------------------------------ the split rule


@given(st.lists(st.integers(0, 1), min_size=2, max_size=9), SEEDS, st.sampled_from(["none", "agreement"]))
def test_two_planted_groups_are_found(sides: list[int], seed: int, guard: str) -> None:
    decision = decision_of(planted(sides, [10, 170], seed), guard)
    groups = {frozenset(np.flatnonzero(np.equal(sides, side)).tolist()) for side in set(sides)}
    if len(groups) == 1:
        assert decision == Decision("keep")
    else:
        assert decision.outcome == "split"
        assert parts_of(decision) == groups


@given(st.lists(st.integers(0, 2), min_size=3, max_size=9), SEEDS)
def test_three_planted_groups_are_found_by_splitting_again(sides: list[int], seed: int) -> None:
    # 0 against 1: cosine -0.91; 0 against 2: -0.5; 1 against 2: 0.09, so these two stay together at a threshold of 0.
    gradients = planted(sides, [0, 155, 240], seed)
    members = [frozenset(np.flatnonzero(np.equal(sides, side)).tolist()) for side in range(3)]
    assert until_stable(gradients, 0.0) == {members[0], members[1] | members[2]} - {frozenset()}
    assert until_stable(gradients, -0.5) == set(members) - {frozenset()}


@given(st.lists(st.integers(0, 1), min_size=2, max_size=9), SEEDS, st.randoms(use_true_random=False))
def test_task_order_does_not_matter_for_planted_groups(sides: list[int], seed: int, random: Any) -> None:
    gradients = planted(sides, [0, 150], seed, noise=0.1)
    order = list(range(len(sides)))
    random.shuffle(order)
    back = {frozenset(order[i] for i in part) for part in parts_of(decision_of(gradients[order]))}
    assert back == parts_of(decision_of(gradients))


@given(SEEDS, st.integers(2, 3))
def test_task_order_does_not_matter_for_any_gradients_of_up_to_three_tasks(seed: int, count: int) -> None:
    gradients = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 2, SIZE)))
    expected = decision_of(gradients)
    for order in itertools.permutations(range(count)):
        found = decision_of(gradients[list(order)])
        assert found.outcome == expected.outcome
        assert {frozenset(order[i] for i in part) for part in parts_of(found)} == parts_of(expected)


def test_tasks_join_in_task_order_and_count_for_those_who_follow() -> None:
    # 0 and 1 part. Task 2 joins 0, which then keeps task 3 away: it conflicts with 2 more than with 1. In another
    # order task 3 would have joined 0 before. With four tasks or more the rule therefore depends on the order.
    cosine = matrix(4, {(0, 1): -0.9, (0, 2): 0.3, (1, 2): 0.1, (0, 3): 0.2, (1, 3): -0.1, (2, 3): -0.5})
    assert split_group(cosine, [0, 1, 2, 3], 0.0) == Decision("split", (0, 2), (1, 3))
    order = [0, 1, 3, 2]
    turned = split_group(cosine[np.ix_(order, order)], [0, 1, 2, 3], 0.0)
    assert {frozenset(order[i] for i in part) for part in parts_of(turned)} == {frozenset({0, 3}), frozenset({1, 2})}


@given(SEEDS, st.integers(2, 7), st.data())
def test_scaling_a_gradient_changes_nothing(seed: int, count: int, data: st.DataObject) -> None:
    gradients = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 2, SIZE)))
    powers = data.draw(st.lists(st.integers(-60, 60), min_size=count, max_size=count))
    scales = torch.tensor([2.0**power for power in powers], dtype=torch.float64)  # exact in floating point
    before, after = relate(gradients), relate(gradients * scales[:, None, None])
    assert np.array_equal(before.cosine, after.cosine)
    assert np.array_equal(before.agreement, after.agreement)
    assert decision_of(gradients * scales[:, None, None], "agreement") == decision_of(gradients, "agreement")


@given(SEEDS, st.integers(2, 8), st.floats(-1, 1), st.floats(0, 0.6))
def test_a_split_parts_the_group_and_its_worst_pair(seed: int, count: int, threshold: float, unknown: float) -> None:
    random = np.random.default_rng(seed)
    upper = np.triu(random.uniform(-1, 1, (count + 3, count + 3)), 1)
    upper[np.triu(random.random(upper.shape) < unknown, 1)] = np.nan
    cosine = upper + upper.T
    group = sorted(random.permutation(count + 3)[:count].tolist())
    decision = split_group(cosine, random.permutation(group).tolist(), threshold)
    degrees = {(a, b): -cosine[a, b] for a, b in itertools.combinations(group, 2) if not np.isnan(cosine[a, b])}
    worst = max(degrees.values(), default=-np.inf)
    assert decision.outcome == ("split" if worst > threshold else "keep")
    if decision.outcome == "keep":
        assert decision == Decision("keep")
        return
    assert sorted(decision.kept + decision.moved) == group
    assert decision.kept and decision.moved
    a, b = max(degrees, key=lambda pair: degrees[pair])
    assert (a in decision.kept) != (b in decision.kept)


def test_ties_go_to_the_lowest_indices_and_to_the_moved_side() -> None:
    assert split_group(np.full((4, 4), -0.5), range(4), 0.0) == Decision("split", (0,), (1, 2, 3))
    tied = matrix(8, {(2, 7): -0.5, (3, 5): -0.5})
    assert split_group(tied, [7, 5, 3, 2], 0.0) == Decision("split", (2, 5), (3, 7))
    first = matrix(6, {(1, 4): -0.5, (1, 3): -0.5, (0, 5): -0.4})
    decision = split_group(first, range(6), 0.0)  # (1, 3) stands before (1, 4)
    assert 1 in decision.kept and {3, 4} <= set(decision.moved)


def test_interference_must_exceed_the_threshold() -> None:
    cosine = matrix(2, {(0, 1): -0.25})
    assert split_group(cosine, [0, 1], 0.25) == Decision("keep")
    assert split_group(cosine, [0, 1], 0.24).outcome == "split"
    assert split_group(matrix(2, {(0, 1): 0.0}), [0, 1], 0.0) == Decision("keep")
    assert split_group(matrix(2, {(0, 1): 0.4}), [0, 1], -0.5).outcome == "split"


def test_unknown_cosines_never_split() -> None:
    nan = np.nan
    assert split_group(np.full((5, 5), nan), range(5), -1.0) == Decision("keep")
    cosine = matrix(3, {(0, 1): nan, (0, 2): nan, (1, 2): 0.3})
    assert split_group(cosine, range(3), 0.0) == Decision("keep")
    # An unknown cosine counts as no interference when a side is chosen: 3 is better off with 1 (0) than with 0 (0.2).
    beside = matrix(4, {(0, 1): -0.9, (0, 3): -0.2, (1, 3): nan})
    assert split_group(beside, [0, 1, 3], 0.0) == Decision("split", (0,), (1, 3))


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_task_without_a_gradient_splits_nothing(bad: float) -> None:
    gradients = planted([0, 0, 1], [0, 90], 5)
    gradients[2] = bad
    assert decision_of(gradients) == Decision("keep")


# ------------------------------------------------------------------------------------------------------------ the guard


def test_guard_agreement_values() -> None:
    def passes(values: list[float], similarity: float, group: tuple[int, ...] | None = None) -> bool:
        return passes_agreement(np.array(values), group or tuple(range(len(values))), similarity)

    assert passes([0.0, 0.7], 2)
    assert not passes([-0.001, 0.7], 2)
    assert passes([0.5, 1.0], 3)
    assert not passes([0.499, 1.0], 3)
    assert passes([-1.0, -0.3], -1)
    assert passes([np.nan, -0.5, 0.1, 0.2], 2, (2, 3))  # others than the group's do not matter
    for similarity in (2, 3, -1):
        assert not passes([np.nan, 0.9], similarity)


def test_the_guard_holds_back_only_what_would_split() -> None:
    doubtful = np.array([0.4, 0.4, -0.1])
    conflict = relations_of(matrix(3, {(0, 1): -0.5}), doubtful)
    peace = relations_of(matrix(3, {}), doubtful)
    assert decide(conflict, [0, 1, 2], Guard(), 0.0) == Decision("guard")
    assert decide(conflict, [0, 1, 2], Guard("none"), 0.0).outcome == "split"
    assert decide(conflict, [0, 1], Guard(), 0.0).outcome == "split"
    assert decide(peace, [0, 1, 2], Guard(), 0.0) == Decision("keep")
    assert decide(conflict, [1], Guard("none"), -1.0) == Decision("keep")


def test_guard_entropy_values() -> None:
    def passes(shares: list[float], angle: float = 3.0, share: float = 0.8) -> bool:
        """Tasks of ten rows of which the given shares point along the mean (0.9), the others aside (0.3)."""
        rows = [np.array([0.9] * round(10 * p) + [0.3] * round(10 * (1 - p))) for p in shares]
        return passes_entropy(rows, range(len(rows)), angle, share)

    assert passes([0.8, 1.0, 0.9])
    assert not passes([0.8, 0.7])  # H2(0.7) = 0.88 bit is over 0.722
    assert not passes([1.0, 0.1])  # low entropy, but nearly all disagree
    assert not passes([0.0])
    assert passes([0.7], share=0.7)
    assert passes([0.0], angle=2.0)  # 0.3 > 0
    assert not passes_entropy([np.full(4, np.nan)], [0], 3.0, 0.8)
    assert not passes_entropy([np.array([])], [0], 3.0, 0.8)
    assert passes_entropy([np.full(4, np.nan), np.ones(3)], [1], 3.0, 0.8)  # others than the group's do not matter


def test_guard_entropy_holds_back_what_would_split() -> None:
    conflict = relations_of(matrix(2, {(0, 1): -0.5}), row_cosine=(np.ones(5), np.array([0.9, 0.9, 0.1, 0.2])))
    assert decide(conflict, [0, 1], Guard("entropy"), 0.0) == Decision("guard")
    assert decide(conflict, [0, 1], Guard("entropy", entropy_angle=2.0), 0.0).outcome == "split"


# ----------------------------------------------------------------------------------------------------------- the method


def judge(method: Any, settings: AdapterShareSettings, relations: list[Interference], optimizer: Any = None) -> dict:
    """One check with the given relations; the decisions."""
    count = len(method.plan.tasks)
    index = RowIndex(np.arange(count), np.zeros(count), count)
    verdict = Differentiate(settings).on_check(method, Check("main", 1, index, [], relations), optimizer)
    return verdict.decisions


@settings(deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 5), st.one_of(st.none(), st.floats(1, 7)),
    st.one_of(st.none(), st.integers(1, 300)), st.sampled_from(["none", "agreement"]), SEEDS,
)  # fmt: skip
def test_growth_stays_within_the_budgets(
    count: int, depth: int, budget: float | None, parameters: int | None, guard: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    tasks = tuple(f"t{number}" for number in range(count))
    options = AdapterShareSettings(
        max_growth=budget,
        target_parameters=parameters,
        guard=guard,
        max_interference=-0.2,  # type: ignore[arg-type]
    )
    method = PlanOnly(SharingPlan.shared(tasks, depth))
    limit = count if budget is None else budget
    for _ in range(4):
        before = method.plan
        relations = [relate(torch.from_numpy(random.normal(size=(count, 2, 3)))) for _ in range(depth)]
        decisions = judge(method, options, relations)
        assert method.plan.growth <= limit + 1e-9
        if parameters is not None:
            assert len(method.names()) * 10 <= max(parameters, depth * 10)
        sharing = {
            (layer, a, b): (tasks[a], tasks[b])
            for layer in range(depth)
            for a, b in itertools.combinations(range(count), 2)
            if before.share(layer, tasks[a], tasks[b])
        }
        assert set(decisions) == set(sharing)
        for (layer, a, b), outcome in decisions.items():
            assert outcome in ("keep", "guard", "split", "budget")
            assert (outcome == "split") == (not method.plan.share(layer, tasks[a], tasks[b]))
            if outcome == "budget":
                over = parameters is not None and 10 * (len(method.names()) + 1) > parameters
                assert over or method.plan.growth + 1 / depth > limit
            if outcome == "guard":
                assert guard == "agreement"
        for layer, groups in enumerate(method.plan.layers):
            assert all(set(group) <= set(before.group(layer, group[0])) for group in groups)


def test_without_guard_and_budget_every_conflict_splits() -> None:
    tasks = ("a", "b", "c", "d")
    method = PlanOnly(SharingPlan.shared(tasks, 2))
    relations = [relate(planted([0, 1, 0, 1], [0, 180], 1)), relate(planted([0, 0, 0, 0], [0], 1))]
    decisions = judge(method, AdapterShareSettings(guard="none"), relations)
    assert method.plan.layers == ((("a", "c"), ("b", "d")), (tasks,))
    assert {pair for pair, outcome in decisions.items() if outcome == "split"} == {
        (0, 0, 1), (0, 0, 3), (0, 1, 2), (0, 2, 3),
    }  # fmt: skip


def relations_of(
    cosine: np.ndarray, agreement: np.ndarray | None = None, row_cosine: tuple[np.ndarray, ...] = ()
) -> Interference:
    """Hand-made relations with unit norms and, unless given, full agreement."""
    agreement = np.ones(len(cosine)) if agreement is None else agreement
    return Interference(cosine, np.zeros_like(cosine), agreement, row_cosine)


def test_a_task_whose_name_is_part_of_anothers_is_never_mixed_up(encoder: Path, tmp_path: Path) -> None:
    names = ("first", "first-2", "second")
    method, parts = build_method(encoder, "adaptershare", random_parts(names), guard="none")
    optimizer = Optimizer(method.model.parameters(), method.context.training, 20)
    peace, conflict = matrix(3, {}), matrix(3, {(0, 1): -0.8, (0, 2): 0.6, (1, 2): 0.1})
    judge(method, method.context.settings, [relations_of(peace), relations_of(conflict)], optimizer)
    assert method.plan.layers == ((names,), (("first", "second"), ("first-2",)))
    bank = method.model.bank
    own = dict(bank.named_parameters("first-2", 1))
    for name, tensor in bank.named_parameters("first", 1):
        assert tensor is dict(bank.named_parameters("second", 1))[name]
        assert tensor is not own[name]
        with torch.no_grad():
            own[name].add_(1)
    for task in names:
        method.export(task, tmp_path / task)
        saved = load_file(tmp_path / task / "adapter.safetensors")
        tensors = [tensor for layer in (0, 1) for _, tensor in bank.named_parameters(task, layer)]
        assert len(saved) == len(tensors)
        for layer in (0, 1):
            for name, tensor in bank.named_parameters(task, layer):
                leaf = name.partition(".")[2]
                key = next(k for k in saved if f"layer.{layer}." in k and k.endswith(f"adapters.{task}.{leaf}"))
                assert torch.equal(saved[key], tensor)
        head = load_file(tmp_path / task / "head.safetensors")
        assert torch.equal(head["weight"], method.model.heads[task].linear.weight)
