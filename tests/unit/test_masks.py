"""Masks: counts of pruning, thresholds on hand-made tensors, random masks, packed bits, overlap."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.sharing.masks import (
    Bottleneck,
    Masks,
    drop_share,
    expected_ratio,
    kept_count,
    largest,
    neuron_masks,
    neuron_scores,
    neurons_of,
    overlap,
    pack,
    patterns,
    prune,
    random_masks,
    ratio,
    round_counts,
    unpack,
)

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 1, 3)}
PUBLISHED = [
    100, 89.13, 79.43, 70.79, 63.10, 56.23, 50.12, 44.67, 39.81, 35.48, 31.62, 28.18, 25.12, 22.39, 19.95, 17.78, 15.85,
    14.13, 12.59, 11.22, 10.00,
]  # fmt: skip


def ones(shapes: dict[str, tuple[int, ...]] = SHAPES) -> Masks:
    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}


def drawn(seed: int, rate: float = 0.5, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) < rate for name, shape in shapes.items()}


# -------------------------------------------------------------------------------------------------------------- pruning


def test_the_published_rates_of_twenty_rounds() -> None:
    """f = 0.1 over R = 20 rounds: a = 0.10875, and f^(k/R) remains after k rounds, to a weight a round."""
    assert drop_share(20, 0.1) == pytest.approx(0.10875, abs=5e-6)
    counts = round_counts(1_490_700, 20, 0.1)
    assert [round(100 * count / 1_490_700, 2) for count in counts] == pytest.approx(PUBLISHED, abs=0.011)


@given(st.integers(1, 12), st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_counts_of_each_round_follow_the_formula_and_masks_are_nested(rounds: int, rate: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    kept = ones()
    for count in round_counts(23, rounds, rate)[1:]:
        scores = {name: torch.rand(shape, generator=generator) for name, shape in SHAPES.items()}
        before, kept = kept, prune(scores, kept, drop_share(rounds, rate), "global")
        assert kept_count(kept) == count >= 1
        assert all(bool((before[name] | ~kept[name]).all()) for name in SHAPES)


def test_the_global_threshold_compares_all_tensors() -> None:
    scores = {"a": torch.tensor([[1.0, 9.0], [3.0, 8.0]]), "b": torch.tensor([2.0, 0.5, 7.0, 4.0])}
    kept = {"a": torch.ones(2, 2, dtype=torch.bool), "b": torch.ones(4, dtype=torch.bool)}
    first = prune(scores, kept, 0.5, "global")  # 0.5, 1, 2 and 3 go
    assert first["a"].tolist() == [[False, True], [False, True]]
    assert first["b"].tolist() == [False, False, True, True]
    # What was dropped does not come back, however large it is now, and does not count.
    scores["a"][0, 0] = 100.0
    second = prune(scores, first, 0.5, "global")
    assert second["a"].tolist() == [[False, True], [False, True]]
    assert second["b"].tolist() == [False] * 4


def test_per_tensor_drops_the_same_share_of_each() -> None:
    scores = {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]), "b": torch.tensor([10.0, 40.0, 30.0, 20.0])}
    kept = prune(scores, ones({"a": (4,), "b": (4,)}), 0.5, "per-tensor")
    assert kept["a"].tolist() == [False, False, True, True]
    assert kept["b"].tolist() == [False, True, True, False]


def test_equal_scores_go_in_order_so_that_counts_are_exact() -> None:
    kept = prune({"a": torch.zeros(4), "b": torch.zeros(4)}, ones({"a": (4,), "b": (4,)}), 0.75, "global")
    assert kept["a"].tolist() == [False] * 4
    assert kept["b"].tolist() == [False, False, True, True]


@pytest.mark.parametrize("scope", ["global", "per-tensor"])
def test_one_unit_is_always_left(scope: str) -> None:
    kept = ones({"a": (2,)})
    for _ in range(5):
        kept = prune({"a": torch.tensor([1.0, 2.0])}, kept, 0.9, scope)
    assert kept["a"].tolist() == [False, True]


@pytest.mark.parametrize("scope", ["global", "per-tensor"])
def test_largest_is_what_one_round_would_keep(scope: str) -> None:
    scores = {name: torch.rand(shape, generator=torch.Generator().manual_seed(3)) for name, shape in SHAPES.items()}
    once = prune(scores, ones(), 0.4, scope)
    found = largest(scores, once, scope)
    assert all(torch.equal(found[name], once[name]) for name in SHAPES)
    # Another mask of the same size has the same largest, and overlaps with them less.
    other = random_masks(once, 0)
    again = largest(scores, other, scope)
    assert all(torch.equal(again[name], once[name]) for name in SHAPES)
    assert ratio(once, again) == 1 > ratio(once, other)


# -------------------------------------------------------------------------------------------------------- whole neurons


def test_neurons_go_with_their_row_and_column() -> None:
    site = Bottleneck("down", "up")
    weights = {
        "down": torch.tensor([[3.0, 4.0, 0.0], [1.0, 0.0, 0.0]]),  # two units: |rows| 5 and 1
        "up": torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 4.0]]),  # |columns| 1 and 5
    }
    weights["up"][0, 0] = 0.5
    scores = neuron_scores(weights, [site])
    assert scores["down"].tolist() == [2.5, 5.0]
    units = prune(scores, {"down": torch.ones(2, dtype=torch.bool)}, 0.5, "global")
    masks = neuron_masks(units, weights, [site])
    assert masks["down"].tolist() == [[False] * 3, [True] * 3]
    assert masks["up"].tolist() == [[False, True]] * 3
    assert torch.equal(neurons_of(masks, [site])["down"], units["down"])


# --------------------------------------------------------------------------------------------------------- random, bits


def test_random_masks_keep_as_many_of_each_tensor() -> None:
    like = drawn(0)
    first, again, other = (random_masks(like, seed, "task") for seed in (1, 1, 2))
    for name, mask in like.items():
        assert first[name].sum() == mask.sum() and first[name].shape == mask.shape
        assert torch.equal(first[name], again[name])
    assert any(not torch.equal(first[name], other[name]) for name in like)
    assert any(not torch.equal(first[name], random_masks(like, 1, "other")[name]) for name in like)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_packing_and_back(shape: list[int], seed: int) -> None:
    mask = drawn(seed, 0.5, {"x": tuple(shape)})["x"]
    bits = pack(mask)
    assert len(bits) == math.ceil(mask.numel() / 8)
    assert torch.equal(unpack(bits, shape), mask) and torch.equal(unpack(bits.tobytes(), shape), mask)
    with pytest.raises(ValueError, match="do not hold a mask"):
        unpack(bits, [*shape, 9])


# -------------------------------------------------------------------------------------------------------------- overlap


def test_overlap_of_equal_and_disjoint_masks() -> None:
    mask = drawn(1, 0.4, {"x": (50,)})["x"]
    assert overlap([pack(mask), pack(mask)], 50).ratio == 1
    assert overlap([pack(mask), pack(~mask)], 50).ratio == 0
    empty = pack(torch.zeros(50, dtype=torch.bool))
    assert math.isnan(overlap([empty, empty], 50).ratio)


@pytest.mark.parametrize("rates", [(0.316, 0.316), (0.1, 0.7), (0.5, 0.5, 0.8)])
def test_overlap_of_random_masks_is_that_of_the_formula(rates: tuple[float, ...]) -> None:
    size = 200_000
    masks = [pack(drawn(seed, rate, {"x": (size,)})["x"]) for seed, rate in enumerate(rates)]
    found = overlap(masks, size)
    assert found.rates == pytest.approx(rates, abs=0.005)
    assert found.ratio == pytest.approx(expected_ratio(rates), abs=0.005)
    assert found.ratio == pytest.approx(expected_ratio(found.rates), abs=0.003)


def test_the_expected_ratio_of_two_masks() -> None:
    p, q = 0.3, 0.6
    assert expected_ratio((p, q)) == pytest.approx(p * q / (p + q - p * q))
    assert expected_ratio((0.3162, 0.3162)) == pytest.approx(0.188, abs=5e-4)
    assert expected_ratio((1.0, 1.0)) == 1 and math.isnan(expected_ratio((0.0, 0.0)))


def test_patterns_are_a_partition_of_the_union() -> None:
    masks = {task: drawn(seed, 0.4) for seed, task in enumerate("pqr")}
    found = patterns(masks)
    flat = {task: np.concatenate([mask.numpy().ravel() for mask in own.values()]) for task, own in masks.items()}
    for count in range(1, 4):
        for group in itertools.combinations("pqr", count):
            inside = np.logical_and.reduce([flat[t] if t in group else ~flat[t] for t in "pqr"])
            assert found.get(group, 0) == inside.sum()
    assert sum(found.values()) == np.logical_or.reduce(list(flat.values())).sum()
    assert () not in found
