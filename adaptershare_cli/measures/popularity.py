"""The measure `popularity`: a source that helps other targets is taken to help this one, too.

    value[s, t] = mean over the targets u, neither s nor t, of the measured truth[s, u]

It leaves the target itself out, so it may be judged against the same truth; but it needs that truth for all other
targets, which costs about as much. A measure that knows something of the *pair* must beat it.
"""

from __future__ import annotations

import itertools

from adaptershare_cli.measures.base import Found, Inputs, values_frame
from adaptershare_cli.settings import PopularitySettings


def correlate(inputs: Inputs, settings: PopularitySettings) -> Found:
    """Leave-one-out means of each source, a seed at a time; unknown with two tasks, where nobody else is left."""
    assert inputs.truth is not None
    rows = []
    for seed, truth in inputs.truth.groupby("seed"):
        for s, t in itertools.permutations(inputs.tasks, 2):
            others = truth[(truth["source"] == s) & (truth["target"] != t)]["value"]
            rows.append({"seed": int(seed), "source": s, "target": t, "value": others.mean()})
    return Found(values_frame(rows))
