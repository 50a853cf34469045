"""The measure `logme`: how likely the target's labels are under a Bayesian linear model of features.

    value[s, t] = log evidence of t's labels given t's rows through the adapter of s, less that of the bare encoder

in nats an answer, a mean over the classes (each against the rest) or the score. Features and labels are both taken less
their means: without that, most of the evidence is spent on an intercept. Source: You et al. 2021, "LogME".
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
    "logme",
    "log evidence of a linear model on features that a source's adapter makes, less the bare encoder's",
    code_version=1,
    settings=FeatureSettings,
    needs=NEEDS,
    range=(float("-inf"), float("inf")),
    unit="nats an answer",
    directed=True,
)
def logme(models: TunedModels, scope: Scope, settings: FeatureSettings) -> Measurement:
    """Gains of log evidence."""
    return feature_transfer(models, scope, settings, _evidence)


def _evidence(question: Question, bare: np.ndarray) -> Judge:
    from adaptershare_cli.statistics.transferability import centred, log_evidence

    if question.columns is None:
        return unknown
    columns = centred(question.columns)
    return lambda features: log_evidence(centred(features), columns)
