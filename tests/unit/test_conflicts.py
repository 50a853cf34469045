"""Recon's conflict scores, and the layers that they choose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.sharing.conflicts import conflicts, most_conflicting

COSINES = st.lists(st.tuples(st.integers(0, 4), st.none() | st.floats(-1, 1)), max_size=40)


def test_the_share_of_known_cosines_below_the_threshold() -> None:
    seen = [(2, -0.5), (2, 0.5), (2, None), (0, -0.02), (0, -0.03), (0, 0.3), (0, -0.9), (1, None)]
    found = conflicts(seen, -0.02)
    assert [(c.layer, c.score, c.cosines) for c in found] == [(0, 0.5, 4), (2, 0.5, 2)]
    assert most_conflicting(found, 1) == (0,)  # the lower mean


def test_equal_layers_come_in_their_order() -> None:
    found = conflicts([(layer, -0.5) for layer in (3, 1, 2)], 0.0)
    assert most_conflicting(found, 2) == (1, 2)


@given(COSINES, st.floats(-1, 0), st.integers(1, 5))
def test_no_layer_that_is_left_conflicts_more(seen: list[tuple[int, float | None]], low: float, count: int) -> None:
    found = conflicts(seen, low)
    assert sum(c.cosines for c in found) == sum(cosine is not None for _, cosine in seen)
    chosen = most_conflicting(found, count)
    assert len(chosen) == min(count, len(found)) and chosen == tuple(sorted(set(chosen)))
    inside = [c.score for c in found if c.layer in chosen]
    outside = [c.score for c in found if c.layer not in chosen]
    assert all(0 <= score <= 1 for score in inside + outside)
    assert not outside or min(inside) >= max(outside)
    for one, other in zip(found, conflicts(seen, low / 2), strict=True):
        assert one.score <= other.score  # a higher threshold calls no fewer pairs conflicts
