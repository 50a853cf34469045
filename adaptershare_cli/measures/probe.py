"""The measure `probe`: how well a linear probe does on features that a source's adapter makes.

    value[s, t] = Q of t's rows through the adapter of s, less Q of the bare encoder

Q is cross-validated over five folds of train rows, with the loss of t's kind (logistic regression, ridge, …): t's main
metric (`metric`; undefined counts as 0), or minus the mean loss of a row (`loss`). How strongly the probe is held back
is chosen for each target once, by the loss on the bare encoder's features, so that all sources meet the same probe.
Source: as a proxy of transfer, e.g. Renggli et al. 2022, "Which Model to Transfer?".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.features import NEEDS, FeatureSettings, Judge, Question, feature_transfer, unknown
from adaptershare_cli.measures.needs import TunedModels
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import numpy as np

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class ProbeSettings(FeatureSettings):
    """A linear probe of features."""

    probe_score: Literal["metric", "loss"] = option(
        "metric", "Of probe: the target's main metric, or minus the loss, of rows that the probe did not learn from."
    )


@measure(
    "probe",
    "score of a linear probe on features that a source's adapter makes, less the bare encoder's",
    code_version=1,
    settings=ProbeSettings,
    needs=NEEDS,
    range=(float("-inf"), float("inf")),
    unit="the target's main metric, or its loss",
    directed=True,
)
def probe(models: TunedModels, scope: Scope, settings: ProbeSettings) -> Measurement:
    """Gains of a probe."""
    return feature_transfer(models, scope, settings, partial(_probed, settings.probe_score))


def _probed(judged_by: str, question: Question, bare: np.ndarray) -> Judge:
    """A judge by probes on folds of the question's rows, with the penalty that suits the bare features best."""
    from adaptershare_cli.seeds import derive_seed
    from adaptershare_cli.training.linear_probe import cross_validate, split

    info, rows = question.info, question.rows
    folds = split(rows, derive_seed(0, "probe", info.name))
    if len(folds) < 2:
        return unknown
    losses = {penalty: cross_validate(bare, info, rows, folds, penalty).loss for penalty in PENALTIES}
    penalty = min(losses, key=losses.__getitem__)

    def judge(features: np.ndarray) -> float:
        found = cross_validate(features, info, rows, folds, penalty)
        return (found.metric or 0.0) if judged_by == "metric" else -found.loss

    return judge
