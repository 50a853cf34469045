"""Differences with their intervals, as rows of a small table that is also the picture of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MINUS = "\N{MINUS SIGN}"


class Gained(Protocol):
    """A difference in points with an interval, NaN without one."""

    @property
    def gain(self) -> float: ...

    @property
    def interval(self) -> tuple[float, float]: ...

    @property
    def sign(self) -> int: ...


@dataclass(frozen=True)
class Strip:
    """One difference in points, and where it is drawn: percent of the width, None without an interval."""

    label: str
    text: str
    word: str  # what it says: more, less, not told
    gain: float
    zero: float
    low: float | None
    high: float | None


def strips(differences: Sequence[tuple[str, Gained]]) -> list[Strip]:
    """The differences (in points) on one scale, which holds 0 and all ends."""
    ends = [0.0]
    for _, difference in differences:
        ends += [end for end in (difference.gain, *difference.interval) if math.isfinite(end)]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 1.0

    def place(value: float) -> float | None:
        share = 100 * (value - low + room) / (high - low + 2 * room)
        return round(share, 2) if math.isfinite(value) else None

    found = []
    for label, difference in differences:
        gain, zero = place(difference.gain), place(0.0)
        assert gain is not None and zero is not None
        ends_at = map(place, difference.interval)
        found.append(Strip(label, points(difference), WORDS[difference.sign], gain, zero, *ends_at))
    return found


WORDS = {1: "better", -1: "worse", 0: "not told"}


def points(difference: Gained) -> str:
    """A difference in points with its interval, if it has one; with more decimals where one would hide a sign."""
    low, high = difference.interval
    if not math.isfinite(low):
        return f"{signed(difference.gain)} points"
    decimals = 2 if any(end and abs(end) < 0.05 for end in (low, high)) else 1
    return f"{signed(difference.gain, decimals)} points [{signed(low, decimals)}, {signed(high, decimals)}]"


def signed(value: float, decimals: int = 1) -> str:
    """With its sign, which is a true minus."""
    return f"{round(value, decimals) + 0.0:+.{decimals}f}".replace("-", MINUS)
