"""When and how a group of tasks parts. Pure: cosines and settings in, a decision out.

Source: AdapterShare (EMNLP 2022), specs section 1 (the split) and 2 (the guards).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decision:
    """What a check says of one group: `keep`, `guard` (a guard held it back) or `split` into the two parts."""

    outcome: str
    kept: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()


def passes_agreement(agreement: np.ndarray, group: Sequence[int], min_intra_similarity: float) -> bool:
    """Guard `agreement`: every task's two halves agree, cos >= cos(pi / min_intra_similarity).

    2 asks for a cosine of at least 0; -1 for at least -1, that is nothing. An unknown agreement (nan) fails.
    """
    floor = math.cos(math.pi / min_intra_similarity)
    return bool(np.all(agreement[list(group)] >= floor - 1e-12))


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


def decide(
    cosine: np.ndarray,
    agreement: np.ndarray,
    group: Sequence[int],
    guard: str,
    max_interference: float,
    min_intra_similarity: float,
) -> Decision:
    """The decision for one group of one layer: guard first, then the split rule; `group` holds task indices."""
    if len(group) < 2:
        return Decision("keep")
    decision = split_group(cosine, group, max_interference)
    if decision.outcome == "split" and guard == "agreement":
        if not passes_agreement(agreement, group, min_intra_similarity):
            return Decision("guard")
    return decision
