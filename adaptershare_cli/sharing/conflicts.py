"""Which layers' gradients conflict most, by the cosines of pairs of tasks at checks (Recon's conflict scores). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Conflict:
    """A layer's score: the share of its known cosines that lie below a threshold; `mean` is the mean of all."""

    layer: int
    score: float
    mean: float
    cosines: int


def conflicts(cosines: Iterable[tuple[int, float | None]], threshold: float) -> list[Conflict]:
    """The conflict of each layer, in order, from cosines of pairs at checks, each with its layer.

    Cosines that are not known do not count; a layer without any is left out.
    """
    known: dict[int, list[float]] = {}
    for layer, cosine in cosines:
        if cosine is not None:
            known.setdefault(layer, []).append(cosine)
    return [
        Conflict(layer, sum(value < threshold for value in of) / len(of), sum(of) / len(of), len(of))
        for layer, of in sorted(known.items())
    ]


def most_conflicting(found: Sequence[Conflict], count: int) -> tuple[int, ...]:
    """The `count` layers with the highest scores, ascending; of equal ones those of the lower mean, then the lower."""
    ranked = sorted(found, key=lambda conflict: (-conflict.score, conflict.mean, conflict.layer))
    return tuple(sorted(conflict.layer for conflict in ranked[:count]))


def rows(found: Sequence[Conflict], private: Sequence[int]) -> list[Mapping[str, object]]:
    """Rows of `schemas.CONFLICTS`."""
    return [{**vars(conflict), "private": conflict.layer in private} for conflict in found]
