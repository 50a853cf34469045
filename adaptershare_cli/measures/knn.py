"""The measure `knn`: do rows with like labels lie near each other in features that a source's adapter makes?

    value[s, t] = kNN of t's rows through the adapter of s, less kNN of the bare encoder

kNN, leaving each answer out in turn: for classes the mean share of an answer's nearest neighbours that have its label;
for scores the correlation of a score with the mean of its neighbours' (a mean over columns where there are several).
Copies of one text are never neighbours. Source: as a proxy of transfer, e.g. Renggli et al. 2022, "Which Model to
Transfer?".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.features import NEEDS, FeatureSettings, Judge, Question, feature_transfer, unknown
from adaptershare_cli.measures.needs import TunedModels
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class NeighbourSettings(FeatureSettings):
    """Nearest neighbours, leaving each answer out in turn."""

    neighbours: int = option(10, "Of knn: how many nearest neighbours tell an answer's label.", 1)


@measure(
    "knn",
    "how well nearest neighbours in features that a source's adapter makes tell labels, less the bare encoder's",
    code_version=1,
    settings=NeighbourSettings,
    needs=NEEDS,
    range=(-2, 2),
    unit="share of neighbours, or correlation",
    directed=True,
)
def knn(models: TunedModels, scope: Scope, settings: NeighbourSettings) -> Measurement:
    """Gains of kNN."""
    return feature_transfer(models, scope, settings, partial(_told, settings.neighbours))


def _told(count: int, question: Question, bare: np.ndarray) -> Judge:
    columns = question.columns
    return unknown if columns is None else lambda features: _quality(features, columns, question, count)


def _quality(features: np.ndarray, columns: np.ndarray, question: Question, count: int) -> float:
    import numpy as np

    from adaptershare_cli.statistics.transferability import neighbour_means

    told = neighbour_means(features, columns, count, question.groups)
    known = ~np.isnan(told).any(axis=1)
    told, columns = told[known], columns[known]
    if question.labelled:
        return float((told * columns).sum(axis=1).mean()) if len(told) else float("nan")
    return float(np.mean([_correlation(*pair) for pair in zip(told.T, columns.T, strict=True)]))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r; 0 where one of the two is constant, as nothing is told then."""
    import numpy as np

    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
