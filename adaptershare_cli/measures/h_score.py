"""The measure `h-score`: how much of the features' spread the target's labels explain.

    value[s, t] = H of t's rows through the adapter of s, less H of the bare encoder

H is the trace of (covariance of the features)^-1 times (covariance of their means in each class); the first is shrunk.
Sources: Bao et al. 2019; shrunk: Ibrahim et al. 2022 (`statistics.transferability.h_score`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.features import NEEDS, FeatureSettings, Judge, Question, feature_transfer, unknown
from adaptershare_cli.measures.needs import TunedModels
from adaptershare_cli.measures.spec import measure

if TYPE_CHECKING:
    import numpy as np


@measure(
    "h-score",
    "spread of features that the target's labels explain, less the bare encoder's",
    code_version=1,
    settings=FeatureSettings,
    needs=NEEDS,
    range=(float("-inf"), float("inf")),
    unit="H",
    directed=True,
)
def h_score(models: TunedModels, scope: Scope, settings: FeatureSettings) -> Measurement:
    """Gains of H."""
    return feature_transfer(models, scope, settings, _explained)


def _explained(question: Question, bare: np.ndarray) -> Judge:
    from adaptershare_cli.statistics.transferability import h_score

    columns = question.columns
    return unknown if columns is None else lambda features: h_score(features, columns)
