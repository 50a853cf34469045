"""The measure `transrate`: how many nats the features need less once the label is known.

    value[s, t] = TransRate of t's rows through the adapter of s, less that of the bare encoder

Scores are cut into bins of about equal size. Source: Huang et al. 2022 (`statistics.transferability.transrate`).
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
    "transrate",
    "coding rate of features less that within the target's classes, less the bare encoder's",
    code_version=1,
    settings=FeatureSettings,
    needs=NEEDS,
    range=(float("-inf"), float("inf")),
    unit="nats",
    directed=True,
)
def transrate(models: TunedModels, scope: Scope, settings: FeatureSettings) -> Measurement:
    """Gains of TransRate."""
    return feature_transfer(models, scope, settings, _rate)


def _rate(question: Question, bare: np.ndarray) -> Judge:
    from adaptershare_cli.statistics.transferability import transrate

    classes = question.classes
    return unknown if classes is None else lambda features: transrate(features, classes)
