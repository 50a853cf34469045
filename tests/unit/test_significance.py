"""Rule `significance`: held-out rows as the sample, its errors, and its level over all checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaptershare_cli.methods.adaptershare.method import Differentiate
from adaptershare_cli.methods.adaptershare.settings import AdapterShareSettings
from adaptershare_cli.methods.planned.method import Check
from adaptershare_cli.sharing.differentiation import (
    Decision,
    Evidence,
    adjust_p_values,
    decide_by_evidence,
    weigh_evidence,
)
from adaptershare_cli.sharing.interference import RowIndex, interference
from adaptershare_cli.sharing.plan import SharingPlan
from tests.core import PlanOnly


def noisy_rows(means: np.ndarray, rows: int, noise: float, seed: int) -> tuple[np.ndarray, RowIndex]:
    """Inner products of random rows around each task's mean gradient, and the rows' index."""
    random = np.random.default_rng(seed)
    gradients = np.concatenate([mean + noise * random.normal(size=(rows, means.shape[1])) for mean in means])
    index = RowIndex(np.repeat(np.arange(len(means)), rows), np.tile(np.arange(rows) % 2, len(means)), len(means))
    return gradients @ gradients.T, index


def by_evidence(evidence: Evidence, group: list[int], level: float) -> Decision:
    """The decision by p values that are not adjusted."""
    return decide_by_evidence(evidence.score, evidence.p_value, group, level)


def test_significance_finds_planted_groups_and_leaves_noise_alone() -> None:
    means = np.zeros((4, 40))
    means[:2, 0], means[2:, 0] = 1.0, -1.0
    for seed in range(20):
        evidence = weigh_evidence(*noisy_rows(means, 32, 0.5, seed), 0.0)
        assert by_evidence(evidence, [0, 1, 2, 3], 1e-3) == Decision("split", (0, 1), (2, 3))
        assert by_evidence(evidence, [0, 1], 1e-3) == Decision("keep")


@pytest.mark.parametrize("angle", [90.0, 60.0])
def test_the_chance_of_a_false_conflict_is_the_level(angle: float) -> None:
    """Under a true cosine that is just allowed, p < 0.05 comes in about a twentieth of samples, however noisy."""
    turn = np.radians(angle)
    means = np.zeros((2, 40))
    means[0, 0], means[1, :2] = 1.0, (np.cos(turn), np.sin(turn))
    p_values = [
        weigh_evidence(*noisy_rows(means, 48, 0.6, seed), -float(np.cos(turn))).p_value[0, 1] for seed in range(400)
    ]
    false = np.mean(np.array(p_values) < 0.05)
    assert 0.01 < false < 0.09  # 400 samples: two standard errors are 0.022


def test_noise_alone_is_hardly_ever_a_conflict() -> None:
    found = [weigh_evidence(*noisy_rows(np.zeros((2, 40)), 32, 1.0, seed), -0.5).p_value[0, 1] for seed in range(300)]
    assert np.isnan(found).mean() > 0.5  # most often one of the two shows no direction at all
    assert np.mean(np.nan_to_num(found, nan=1.0) < 0.01) < 0.03


def test_a_threshold_moves_the_hypothesis() -> None:
    means = np.zeros((2, 40))
    means[0, 0], means[1, 1] = 1.0, 1.0  # unrelated: cosine 0
    kernel, index = noisy_rows(means, 64, 0.5, 3)
    assert by_evidence(weigh_evidence(kernel, index, -0.5), [0, 1], 1e-3).outcome == "split"
    assert by_evidence(weigh_evidence(kernel, index, 0.0), [0, 1], 1e-3) == Decision("keep")


def test_noise_does_not_hide_that_two_tasks_are_one() -> None:
    """Equal tasks with so much noise that their estimated cosine is about 0.3 are no conflict at a bound of 0.5."""
    means = np.zeros((2, 60))
    means[:, 0] = 1.0
    cosines, splits = [], 0
    for seed in range(40):
        kernel, index = noisy_rows(means, 32, 1.1, seed)
        cosines.append(interference(kernel, index).cosine[0, 1])
        splits += by_evidence(weigh_evidence(kernel, index, -0.5), [0, 1], 0.05).outcome == "split"
    assert np.mean(cosines) < 0.5
    assert splits <= 2


def test_too_few_rows_are_no_evidence() -> None:
    kernel, index = noisy_rows(np.eye(2, 9), 1, 0.1, 1)
    evidence = weigh_evidence(kernel, index, -1.0)
    assert np.isnan(evidence.p_value[0, 1])
    assert by_evidence(evidence, [0, 1], 0.9) == Decision("keep")
    assert by_evidence(evidence, [0], 0.9) == Decision("keep")


def test_p_values_are_adjusted_over_all_pairs_that_share() -> None:
    p = np.full((3, 3), np.nan)
    p[0, 1], p[0, 2] = 0.01, 0.04
    other = np.full((3, 3), np.nan)
    other[1, 2] = 0.03
    evidence = [Evidence(p, p), Evidence(other, other)]
    found = adjust_p_values(evidence, [(0, 0, 1), (0, 0, 2), (0, 1, 2), (1, 1, 2)])
    assert found[0][0, 1] == pytest.approx(0.03)  # 0.01 x 3 / 1
    assert found[1][1, 2] == found[1][2, 1] == pytest.approx(0.04)  # min(0.03 x 3 / 2, 0.04)
    assert found[0][0, 2] == pytest.approx(0.04)
    assert np.isnan(found[0][1, 2]) and np.isnan(found[1][0, 1])
    assert np.isnan(adjust_p_values(evidence, [])[0]).all()


def test_seeing_the_same_rows_again_makes_nothing_surer() -> None:
    settings = AdapterShareSettings(rule="significance", max_interference=-0.5, max_growth=1.0)
    gram, index = noisy_rows(np.array([[1.0, 0, 0], [0, 1.0, 0]]), 24, 0.8, 5)
    check = Check("main", 1, index, [gram], [interference(gram, index)])
    act, method = Differentiate(settings), PlanOnly(SharingPlan.shared(("a", "b"), 1))
    found = [act.on_check(method, check, None).p_values[0, 0, 1] for _ in range(5)]  # type: ignore[arg-type]
    assert found == pytest.approx([found[0]] * 5)


def test_the_level_is_spent_over_all_checks() -> None:
    settings = AdapterShareSettings(rule="significance")
    gram, index = noisy_rows(np.array([[1.0, 0, 0], [-1.0, 0, 0]]), 24, 0.8, 5)
    check = Check("main", 1, index, [gram], [interference(gram, index)])
    found = {}
    for checks in (1, 10**9):
        method: Any = PlanOnly(SharingPlan.shared(("a", "b"), 1), checks)
        verdict = Differentiate(settings).on_check(method, check, None)  # type: ignore[arg-type]
        assert 1e-9 < verdict.p_values[0, 0, 1] < 0.05
        found[checks] = verdict.decisions[0, 0, 1]
    assert found == {1: "split", 10**9: "keep"}


def test_what_was_seen_survives_a_checkpoint() -> None:
    settings = AdapterShareSettings(rule="significance", max_growth=1.0)
    method: Any = PlanOnly(SharingPlan.shared(("a", "b"), 1))
    checks = []
    for seed in range(2):
        gram, index = noisy_rows(np.array([[1.0, 0, 0], [0, 1.0, 0]]), 10, 0.8, seed)
        checks.append(Check("main", seed, index, [gram], [interference(gram, index)]))
    whole, first, second, late = (Differentiate(settings) for _ in range(4))
    whole.on_check(method, checks[0], None)  # type: ignore[arg-type]
    expected = whole.on_check(method, checks[1], None).p_values  # type: ignore[arg-type]
    first.on_check(method, checks[0], None)  # type: ignore[arg-type]
    second.load_state(first.state())
    assert second.on_check(method, checks[1], None).p_values == expected  # type: ignore[arg-type]
    assert late.on_check(method, checks[1], None).p_values != expected  # type: ignore[arg-type]
