"""The measure `size`: the source with the most train rows is taken to help most, whatever the target."""

from __future__ import annotations

import itertools
import math

from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.settings import MeasureSettings


def correlate(inputs: Inputs, settings: MeasureSettings) -> Found:
    """log10 of the source's train rows. With equally large samples all sources tie, and it says nothing."""
    rows = [
        {"source": s, "target": t, "value": math.log10(inputs.sizes[s])}
        for s, t in itertools.permutations(inputs.tasks, 2)
    ]
    return Found(values_frame(rows))
