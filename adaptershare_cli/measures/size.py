"""The measure `size`: the source with the most train rows is taken to help most, whatever the target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import RowCounts
from adaptershare_cli.measures.settings import MeasureSettings
from adaptershare_cli.measures.spec import measure


@measure(
    "size",
    "log10 of the source's train rows",
    code_version=1,
    settings=MeasureSettings,
    needs=RowCounts(),
    range=(0, math.inf),
    unit="log10 rows",
    directed=True,
)
def size(rows: Mapping[str, int], scope: Scope, settings: MeasureSettings) -> Measurement:
    """log10 of the source's train rows. With equally large samples all sources tie, and it says nothing."""
    from adaptershare_cli.statistics.summary import value_table

    return Measurement(
        value_table(
            [
                {"source": s, "target": t, "value": math.log10(rows[s])}
                for s, t in itertools.permutations(scope.tasks, 2)
            ]
        )
    )
