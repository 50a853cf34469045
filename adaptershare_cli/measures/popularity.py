"""The measure `popularity`: a source that helps other targets is taken to help this one, too.

    value[s, t] = mean over the targets u, neither s nor t, of the measured truth[s, u]

It leaves the target itself out, so it may be judged against the same truth; but it needs that truth for all other
targets, which costs about as much. A measure that knows something of the *pair* must beat it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import Truth
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.measures.transfer import TransferSettings
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PopularitySettings(TransferSettings):
    """How well a source does for all other targets. All but `against` are settings of the truth."""

    against: str = option("transfer", "The measured truth that popularity is taken from.")

    def __post_init__(self) -> None:
        if self.against != "transfer" and self.source_steps is not None:
            raise UserError("--source-steps belongs to --against transfer", fix="Leave it out.")


@measure(
    "popularity",
    "how much a source helps all other targets; needs the measured truth",
    code_version=1,
    settings=PopularitySettings,
    needs=Truth(),
    range=(-2, 2),
    unit="the target's main metric",
    directed=True,
)
def popularity(truth: pd.DataFrame, scope: Scope, settings: PopularitySettings) -> Measurement:
    """Leave-one-out means of each source, a seed at a time; unknown with two tasks, where nobody else is left."""
    from adaptershare_cli.statistics.summary import value_table

    rows = []
    for seed, values in truth.groupby("seed"):
        for s, t in itertools.permutations(scope.tasks, 2):
            others = values[(values["source"] == s) & (values["target"] != t)]["value"]
            rows.append({"seed": int(seed), "source": s, "target": t, "value": others.mean()})
    return Measurement(value_table(rows))
