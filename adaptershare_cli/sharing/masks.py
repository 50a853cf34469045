"""Masks: which weights of one network a task uses. Pruning by magnitude, random masks, packed bits and overlap.

Source: Sparse Sharing (Sun et al. 2020, AAAI) and its code. With the final rate f after R rounds, a round drops the
share a = 1 - f^(1/R) of what is left, so that after k rounds about f^(k/R) of the weights remain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adaptershare_cli.seeds import derive_seed

Masks = dict[str, torch.Tensor]  # by the tensor's name: boolean, of the tensor's shape; True is kept


def kept_count(masks: Mapping[str, torch.Tensor]) -> int:
    """Number of weights that the masks keep."""
    return sum(int(mask.sum()) for mask in masks.values())


def drop_share(rounds: int, final_rate: float) -> float:
    """The share of the remaining weights that each of `rounds` rounds drops to end with `final_rate`: 1 - f^(1/R)."""
    return 1 - final_rate ** (1 / rounds)


def round_counts(weights: int, rounds: int, final_rate: float) -> list[int]:
    """How many of `weights` remain after 0, 1, … `rounds` rounds of global pruning."""
    counts = [weights]
    for _ in range(rounds):
        counts.append(counts[-1] - _dropped(counts[-1], drop_share(rounds, final_rate)))
    return counts


def _dropped(units: int, share: float) -> int:
    """How many of `units` a round drops; one is always left."""
    return min(round(share * units), units - 1)


def prune(scores: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor], share: float, scope: str) -> Masks:
    """Drop of what is kept the `share` (rounded to whole units, one is always left) with the lowest scores.

    `scores` and `kept` have the same names and shapes. `scope`: `global` compares the units of all tensors together,
    `per-tensor` each tensor's own. Of equal scores those that come first are dropped, so the counts are always exact
    (the original keeps every unit that is as large as the threshold).
    """
    pruned: Masks = {}
    for names in _groups(scores, scope):
        left = torch.cat([kept[name].flatten() for name in names])
        value = torch.cat([scores[name].detach().flatten() for name in names])
        place = left.nonzero().squeeze(1)
        order = torch.argsort(value[place], stable=True)
        left[place[order[: _dropped(len(place), share)]]] = False
        sizes = [kept[name].numel() for name in names]
        for name, mask in zip(names, left.split(sizes), strict=True):
            pruned[name] = mask.view(kept[name].shape)
    return pruned


def _groups(scores: Mapping[str, torch.Tensor], scope: str) -> list[list[str]]:
    """The tensors whose units are compared with each other."""
    return [list(scores)] if scope == "global" else [[name] for name in scores]


def largest(scores: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor], scope: str) -> Masks:
    """Masks of the highest scores: as many as `like` keeps, in all tensors together or in each of them (`scope`)."""
    found: Masks = {}
    for names in _groups(scores, scope):
        own = {name: scores[name] for name in names}
        ones = {name: torch.ones_like(like[name]) for name in names}
        share = 1 - kept_count({name: like[name] for name in names}) / kept_count(ones)
        found |= prune(own, ones, share, scope)
    return found


def random_masks(like: Mapping[str, torch.Tensor], seed: int, *purpose: str) -> Masks:
    """Masks that keep as many entries of each tensor as `like` does, drawn at random."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "random-masks", *purpose))
    drawn: Masks = {}
    for name, mask in like.items():
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[torch.randperm(mask.numel(), generator=generator)[: int(mask.sum())]] = True
        drawn[name] = flat.view(mask.shape)
    return drawn


# ----------------------------------------------------------------------------------------------------- whole neurons


@dataclass(frozen=True)
class Bottleneck:
    """The two matrices of an adapter: unit i is row i of `down` (units, H) and column i of `up` (H, units)."""

    down: str
    up: str


def neuron_scores(weights: Mapping[str, torch.Tensor], sites: Sequence[Bottleneck]) -> Masks:
    """The score of each unit of each bottleneck, by its down matrix: |row of down| times |column of up|.

    A variant: the published method prunes single weights.
    """
    return {site.down: weights[site.down].norm(dim=1) * weights[site.up].norm(dim=0) for site in sites}


def neurons_of(masks: Mapping[str, torch.Tensor], sites: Sequence[Bottleneck]) -> Masks:
    """Which units masks of whole neurons keep: (units,) by each down matrix."""
    return {site.down: masks[site.down][:, 0].clone() for site in sites}


def neuron_masks(units: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor], sites: Sequence[Bottleneck]
                 ) -> Masks:  # fmt: skip
    """The masks of the matrices (shapes of `like`) that keep these units."""
    found: Masks = {}
    for site in sites:
        found[site.down] = units[site.down][:, None].expand(like[site.down].shape).clone()
        found[site.up] = units[site.down][None, :].expand(like[site.up].shape).clone()
    return {name: found[name] for name in like}


# ------------------------------------------------------------------------------------------------------- packed bits


def pack(mask: torch.Tensor) -> np.ndarray:
    """A mask as bytes, eight entries each, the first in the highest bit; the last byte is filled up with zeros."""
    return np.packbits(mask.detach().cpu().numpy().ravel())


def unpack(bits: np.ndarray | bytes, shape: Sequence[int]) -> torch.Tensor:
    """The mask of the given shape that `pack` packed. Raises ValueError if that has another number of bytes."""
    packed = np.frombuffer(bits, dtype=np.uint8) if isinstance(bits, bytes) else bits
    size = math.prod(shape)
    if len(packed) != math.ceil(size / 8):
        raise ValueError(f"{len(packed)} bytes do not hold a mask of the shape {tuple(shape)}")
    return torch.from_numpy(np.unpackbits(packed, count=size).astype(bool)).view(*shape)


# ----------------------------------------------------------------------------------------------------------- overlap


def ratio(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> float:
    """|first and second| / |first or second|; NaN for masks that keep nothing."""
    both = kept_count({name: first[name] & second[name] for name in first})
    either = kept_count({name: first[name] | second[name] for name in first})
    return both / either if either else math.nan


@dataclass(frozen=True)
class Overlap:
    """How many weights all of some masks keep, and how many any of them does, out of `weights`; each mask's rate."""

    weights: int
    intersection: int
    union: int
    rates: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """|intersection| / |union|; NaN for masks that keep nothing."""
        return self.intersection / self.union if self.union else math.nan


def expected_ratio(rates: Iterable[float]) -> float:
    """Expected intersection / expected union of independent random masks: of two, pq / (p + q - pq)."""
    found = list(rates)
    union = 1 - math.prod(1 - rate for rate in found)
    return math.prod(found) / union if union else math.nan


def overlap(masks: Sequence[np.ndarray], weights: int) -> Overlap:
    """Overlap of packed masks (`pack`) of the same `weights`."""
    kept = [int(np.bitwise_count(bits).sum()) for bits in masks]
    return Overlap(
        weights,
        int(np.bitwise_count(np.bitwise_and.reduce(masks)).sum()),
        int(np.bitwise_count(np.bitwise_or.reduce(masks)).sum()),
        tuple(count / weights for count in kept),
    )


def patterns(masks: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[tuple[str, ...], int]:
    """How many weights exactly these tasks keep, for each set of tasks that keeps any; `masks` by task."""
    place = np.zeros(1, dtype=np.int64)  # of each weight its set among `groups`
    groups: list[tuple[str, ...]] = [()]
    for task, tensors in masks.items():
        kept = np.concatenate([mask.detach().cpu().numpy().ravel() for mask in tensors.values()])
        found, place = np.unique(2 * place + kept, return_inverse=True)
        groups = [groups[code // 2] + ((task,) if code % 2 else ()) for code in found.tolist()]
    counts = np.bincount(place, minlength=len(groups)).tolist()
    return {group: count for group, count in zip(groups, counts, strict=True) if group}
