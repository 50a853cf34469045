"""How common labels are in train, what that alone predicts, and how it is evened out. `kind` is that of the task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from adaptershare_cli.kinds.base import Kind, TaskInfo
    from adaptershare_cli.kinds.rows.answers import Answers


def constant(
    kind: Kind, info: TaskInfo, train: Answers, answers: Answers
) -> tuple[str, dict[str, float | None]] | None:
    """What a constant prediction learnt from `train` says, as in "always yes", and its scores for `answers`.

    None where the kind has no such prediction, or there is nothing to predict.
    """
    outputs = kind.constant_outputs(info, train)
    if outputs is None or not len(answers):
        return None
    everywhere = np.tile(outputs, (len(answers), 1))
    said = kind.predicted(info, everywhere, answers)[0]
    return f"always {kind.shown_label(info, said)}", kind.scores(info, everywhere, answers, constant=True)


def commonest(kind: Kind, info: TaskInfo, train: Answers) -> tuple[str, float] | None:
    """The commonest label of the `train` rows (or words), and its share; None where labels have no names."""
    if train.label_a_row or not kind.labelled or not len(train):
        return None
    counts = np.bincount(train.labels, minlength=len(info.labels))
    return kind.label_text(info, counts.argmax()), float(counts.max() / counts.sum())


def balanced(kind: Kind, info: TaskInfo, train: Answers) -> TaskInfo:
    """The task with weights by which each label counts the same in the loss of the `train` rows, if it can.

    Those of scikit-learn's `compute_class_weight`: n / (labels there * n_c). A label that train lacks has 1.
    """
    if not kind.weighs_labels:
        return info
    from sklearn.utils.class_weight import compute_class_weight

    there, weights = np.unique(train.labels), np.ones(len(info.labels))
    weights[there] = compute_class_weight("balanced", classes=there, y=train.labels)
    return replace(info, weights=tuple(weights.tolist()))
