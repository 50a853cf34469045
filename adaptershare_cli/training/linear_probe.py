"""A linear probe: a task's own loss on frozen features, trained to its end, and judged on rows that it did not see.

    minimise   mean over rows of loss(W z + b, y) + penalty / 2 |W|^2

with the loss of the task's kind: for classes this is logistic regression, for scores ridge, for words of a sentence
logistic regression in which each sentence counts once. Features are taken less their mean and divided by their spread
(one number, so that directions keep their proportions), both of the rows that are learnt from.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.answers import score_bins
from adaptershare_cli.training.evaluation import score

FOLDS = 5
_STOP = {"maxiter": 500, "ftol": 1e-9, "gtol": 1e-4}


@dataclass(frozen=True)
class Verdict:
    """What cross-validation says of features: the mean loss of rows, and the task's main metric (None: undefined)."""

    loss: float
    metric: float | None


def cross_validate(
    features: np.ndarray, info: TaskInfo, rows: Rows, folds: list[np.ndarray], penalty: float
) -> Verdict:
    """Judge each fold's rows by a probe that learnt from all other rows (there are two folds at least).

    `features` are (A, H), a row for each of the rows' answers.
    """
    kind, answers = KINDS[info.kind], rows.answers
    outputs = np.zeros((len(answers), kind.outputs(info)), dtype=np.float32)
    losses = np.zeros(len(rows))
    for fold in folds:
        learnt = np.setdiff1d(np.arange(len(rows)), fold)
        probe = fit(features, info, rows, learnt, penalty)
        found = probe.outputs(features[answers.of_rows(fold)])
        with torch.no_grad():
            losses[fold] = kind.row_losses(info, torch.from_numpy(found), answers.targets(fold)).numpy()
        outputs[answers.of_rows(fold)] = found
    return Verdict(float(losses.mean()), score(info, outputs, rows)[info.metrics[0]])


@dataclass(frozen=True)
class Probe:
    """A trained probe: `weight` (outputs, H), `bias` (outputs,), and how features are moved and scaled before."""

    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    spread: float

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """The outputs (A, outputs), float64, for features (A, H)."""
        return (features - self.mean) / self.spread @ self.weight.T + self.bias


def fit(features: np.ndarray, info: TaskInfo, rows: Rows, learnt: np.ndarray, penalty: float) -> Probe:
    """The probe of the rows at the positions `learnt`; `features` (A, H) are of all rows' answers."""
    from scipy.optimize import minimize

    kind = KINDS[info.kind]
    z = np.asarray(features[rows.answers.of_rows(learnt)], dtype=np.float64)
    mean = z.mean(axis=0)
    spread = float(np.sqrt(((z - mean) ** 2).mean())) or 1.0
    states = torch.from_numpy((z - mean) / spread)
    targets = rows.answers.targets(learnt)
    shape = (kind.outputs(info), z.shape[1])

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(flat.copy()).requires_grad_()
        weight, bias = parameters[: shape[0] * shape[1]].view(shape), parameters[shape[0] * shape[1] :]
        loss = kind.row_losses(info, states @ weight.T + bias, targets).mean() + penalty / 2 * weight.square().sum()
        (gradient,) = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), gradient.numpy()

    start = np.zeros(shape[0] * shape[1] + shape[0])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=_STOP).x
    return Probe(found[: shape[0] * shape[1]].reshape(shape), found[shape[0] * shape[1] :], mean, spread)


def split(rows: Rows, seed: int, count: int = FOLDS) -> list[np.ndarray]:
    """Positions of rows in at most `count` folds: each has all labels in proportion, rows of one text stay together.

    Scores count by bins. Fewer folds where there are fewer different texts; none where there is one.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = rows.same_texts()
    strata = rows.answers.strata
    strata = strata if np.issubdtype(strata.dtype, np.integer) else score_bins(strata)
    count = min(count, len(np.unique(groups)))
    if count < 2:
        return []
    if np.unique(strata, return_counts=True)[1].max() < count:
        strata = np.zeros(len(strata), dtype=np.int64)  # no label has a row for every fold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # rare labels are in fewer folds
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32).split(groups, strata, groups)
        folds = [tested for _, tested in parts]
    return [fold for fold in folds if len(fold)]
