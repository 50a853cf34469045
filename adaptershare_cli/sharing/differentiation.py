"""When and how a group of tasks parts. Pure: relations and settings in, a decision out.

Source: AdapterShare (EMNLP 2022), specs section 1 (the split) and 2 (the guards); the significance rule is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from adaptershare_cli.sharing.interference import Interference, RowIndex, block_means, squared_lengths, standard_errors

SMALLEST_P = 1e-300  # keeps the normal deviate of an underflown p value finite
ENTROPY_MAJORITY = 0.5  # of a task's rows: with fewer in agreement, low entropy would mean that they disagree


@dataclass(frozen=True)
class Decision:
    """What a check says of one group: `keep`, `guard` (a guard held it back) or `split` into the two parts."""

    outcome: str
    kept: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()


def split_group(cosine: np.ndarray, group: Sequence[int], max_interference: float) -> Decision:
    """Part `group` at its most conflicting pair (a, b), if -cosine[a, b] > max_interference.

    The other tasks join, in task order, the side whose worst interference with them is lower (complete linkage,
    greedy; b's side when equal). Ties for the pair: the lowest task indices first. Unknown cosines (nan) never
    cause a split and count as no interference when a side is chosen.
    """
    members = sorted(group)
    degree = -cosine
    pairs = [
        (degree[a, b], a, b) for i, a in enumerate(members) for b in members[i + 1 :] if math.isfinite(degree[a, b])
    ]
    if not pairs:
        return Decision("keep")
    worst, first, second = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
    if worst <= max_interference:
        return Decision("keep")
    kept, moved = [first], [second]
    for task in members:
        if task in (first, second):
            continue
        to_kept = max(_known(degree[task, other]) for other in kept)
        to_moved = max(_known(degree[task, other]) for other in moved)
        (kept if to_kept < to_moved else moved).append(task)
    return Decision("split", tuple(sorted(kept)), tuple(sorted(moved)))


def _known(degree: float) -> float:
    return degree if math.isfinite(degree) else 0.0


# ---------------------------------------------------------------------------------------------------------- the guards


def passes_agreement(agreement: np.ndarray, group: Sequence[int], min_intra_similarity: float) -> bool:
    """Guard `agreement`: every task's two halves agree, cos >= cos(pi / min_intra_similarity).

    2 asks for a cosine of at least 0; -1 for at least -1, that is nothing. An unknown agreement (nan) fails.
    """
    floor = math.cos(math.pi / min_intra_similarity)
    return bool(np.all(agreement[list(group)] >= floor - 1e-12))


def passes_entropy(row_cosine: Sequence[np.ndarray], group: Sequence[int], angle: float, share: float) -> bool:
    """Guard `entropy`: in every task nearly all rows agree with the task's mean gradient.

    p_t = share of t's rows whose cosine with the mean gradient exceeds cos(pi / angle); asked for are p_t >= 1/2 and
    H2(p_t) <= H2(share), H2 the binary entropy. Rows of unknown cosine count as disagreeing; no rows fail.
    """
    floor = math.cos(math.pi / angle)
    for task in group:
        cosines = row_cosine[task]
        if not len(cosines):
            return False
        agreeing = float(np.mean(cosines > floor))  # nan > floor is False
        if agreeing < ENTROPY_MAJORITY or _binary_entropy(agreeing) > _binary_entropy(share) + 1e-12:
            return False
    return True


def _binary_entropy(p: float) -> float:
    return float(stats.entropy([p, 1 - p], base=2))


@dataclass(frozen=True)
class Guard:
    """Which guard holds splits back, and its settings (specs section 2)."""

    name: str = "agreement"
    min_intra_similarity: float = 2.0
    entropy_angle: float = 3.0
    entropy_share: float = 0.8

    def passes(self, relation: Interference, group: Sequence[int]) -> bool:
        """Whether `group` may part."""
        if self.name == "agreement":
            return passes_agreement(relation.agreement, group, self.min_intra_similarity)
        if self.name == "entropy":
            return passes_entropy(relation.row_cosine, group, self.entropy_angle, self.entropy_share)
        return True


# ----------------------------------------------------------------------------------------------------------- the rules


def decide(relation: Interference, group: Sequence[int], guard: Guard, max_interference: float) -> Decision:
    """Rule `threshold`: the decision for one group of one layer; `group` holds task indices."""
    if len(group) < 2:
        return Decision("keep")
    decision = split_group(relation.cosine, group, max_interference)
    if decision.outcome == "split" and not guard.passes(relation, group):
        return Decision("guard")
    return decision


@dataclass(frozen=True)
class Evidence:
    """How surely two tasks conflict by more than the threshold: `score` and one-sided `p_value`, both (T, T).

    `score` is the normal deviate of the p value: the lower, the surer; nan where nothing can be said.
    """

    score: np.ndarray
    p_value: np.ndarray


def weigh_evidence(kernel: np.ndarray, index: RowIndex, max_interference: float) -> Evidence:
    """Test for each pair whether the cosine of its *true* mean gradients m_a, m_b lies under -max_interference.

    A cosine of estimated gradients shrinks towards 0 with their noise, so the products are compared instead:

        H0: m_a . m_b >= -max_interference |m_a| |m_b|,     t = (mean K_ab + max_interference s_a s_b) / error,

    with K the inner products (N, N) of the held-out rows, s_a^2 from `squared_lengths` (unbiased for |m_a|^2; a task
    for which it is not positive shows no direction, so nothing can be said of it) and the error from
    `standard_errors`. t is taken as Student's t with the degrees of freedom (clusters - strata) of the task that has
    fewer. The kernel may be a mean over checks: rows, not checks, are the sample, so seeing rows again makes nothing
    surer than they are.
    """
    free = [sample.clusters - sample.strata for sample in map(index.sample, range(index.tasks))]
    degrees = np.maximum(np.minimum.outer(free, free), 1)
    means, squared = block_means(kernel, index), squared_lengths(kernel, index)
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.sqrt(np.where(squared > 0, squared, np.nan))
        t = (means + max_interference * np.outer(length, length)) / standard_errors(kernel, index)
    p_value = stats.t.cdf(t, degrees)
    return Evidence(stats.norm.ppf(p_value.clip(SMALLEST_P, 1 - 1e-15)), p_value)


def adjust_p_values(evidence: Sequence[Evidence], pairs: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """Benjamini and Hochberg's adjusted p values of the given (layer, a, b), as (T, T) a layer; nan elsewhere.

    Deciding by them at a level keeps the expected share of false conflicts among those found at a check under it.
    """
    adjusted = [np.full_like(one.p_value, np.nan) for one in evidence]
    known = [(layer, a, b) for layer, a, b in pairs if math.isfinite(evidence[layer].p_value[a, b])]
    if known:
        found = stats.false_discovery_control([evidence[layer].p_value[a, b] for layer, a, b in known])
        for (layer, a, b), p in zip(known, found, strict=True):
            adjusted[layer][a, b] = adjusted[layer][b, a] = p
    return adjusted


def decide_by_evidence(score: np.ndarray, p_value: np.ndarray, group: Sequence[int], level: float) -> Decision:
    """Rule `significance`: part `group` at its surest conflict, if its (adjusted) p value is under `level`.

    The other tasks join the side with which their surest conflict is less sure: `split_group` on the scores.
    """
    if len(group) < 2:
        return Decision("keep")
    known = [p for i, a in enumerate(group) for b in group[i + 1 :] if math.isfinite(p := p_value[a, b])]
    if not known or min(known) >= level:
        return Decision("keep")
    return split_group(score, group, -math.inf)
