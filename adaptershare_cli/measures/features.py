"""Feature transfer: what a target's rows look like through a source's adapter, and how well that suits their labels.

For a source s with its single-task adapter A_s, a target t and t's train rows x with labels y:

    z(s, t)     = the states that t's head would read of x, from the encoder with A_s
    q(s, t)     = quality of z(s, t) for y: what the measure's file defines
    value[s, t] = q(s, t) - q(bare encoder, t)

so a value of 0 says that the source's adapter does not help. Values are directed. Those of different targets have
different units. A layer's values are of its states; those over all layers (-1) are the mean over the layers that were
asked for. The cost are T single-task trainings and, for each target, T passes of at most `samples` rows (for further
seeds T - 1: the bare encoder is the same).

Rows that t's adapter learnt from are good enough: t's own adapter is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.base import Cost, Measurement, Scope, sample_rows
from adaptershare_cli.measures.needs import SingleTaskModels, TunedModels
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    import numpy as np

    from adaptershare_cli.data.batches import Rows
    from adaptershare_cli.kinds.base import TaskInfo
    from adaptershare_cli.model.heads import MultiTaskModel

NEEDS = SingleTaskModels()


@dataclass(frozen=True)
class FeatureSettings(TunedSettings):
    """Measures of feature transfer."""

    samples: int = option(500, "Of measures of feature transfer: at most so many train rows a target, at random.", 1)
    probe_layer: str | None = option(
        None,
        "Of measures of feature transfer: the layers whose states are looked at, for example 3,6 (0: embeddings); by "
        "default the last one, as a head reads it.",
    )

    @property
    def layers(self) -> tuple[int | None, ...]:
        """The layers by number; None is what a head reads. Raises UserError for anything that is no number."""
        if self.probe_layer is None:
            return (None,)
        try:
            return tuple(dict.fromkeys(int(part) for part in self.probe_layer.split(",")))
        except ValueError:
            raise UserError(
                f"--probe-layer takes numbers of layers, not {self.probe_layer!r}", fix="For example --probe-layer 3,6."
            ) from None


@dataclass(frozen=True)
class Question:
    """What a quality is asked of: a target's rows, and all that does not depend on whose adapter they pass through.

    `columns` (A, K) are the labels as columns (`Kind.label_columns`; None where the kind has none), `classes` (A,) the
    labels as whole numbers, scores in bins of about equal size, `groups` (A,) the same number for answers of one text.
    """

    info: TaskInfo
    rows: Rows
    columns: np.ndarray | None
    classes: np.ndarray | None
    groups: np.ndarray
    labelled: bool


Judge = Callable[["np.ndarray"], float]  # the quality of features (A, H); NaN where there is none
Quality = Callable[[Question, "np.ndarray"], Judge]  # for a question, given the bare encoder's features


def unknown(features: np.ndarray) -> float:
    """The judge where a kind of task has no answer to a question."""
    return float("nan")


def feature_transfer(models: TunedModels, scope: Scope, settings: FeatureSettings, quality: Quality) -> Measurement:
    """Values of all pairs, a seed at a time; `quality` makes of each target's question a judge of features."""
    import numpy as np

    from adaptershare_cli import schemas
    from adaptershare_cli.observe.features import answer_features
    from adaptershare_cli.statistics.summary import value_table

    rows = {task: sample_rows(models.rows[task], task, settings.samples) for task in scope.tasks}
    judges: dict[tuple[str, int | None], tuple[Judge, float]] = {}
    values: list[dict[str, Any]] = []
    for seed in scope.seeds:
        model = models.tuned(seed)
        _check_layers(settings.layers, model.encoder.config.num_hidden_layers)

        def gains(target: str, layer: int | None, model: MultiTaskModel = model) -> list[float]:
            """What each source's adapter adds to the quality of the bare encoder's features."""

            def through(source: str | None) -> np.ndarray:
                return answer_features(model, target, rows[target], models.pad_token, source, layer)

            if (target, layer) not in judges:  # the bare encoder is the same for all seeds
                bare = through(None)
                judge = quality(ask(model.infos[target], rows[target]), bare)
                judges[target, layer] = judge, judge(bare)
            judge, zero = judges[target, layer]
            return [judge(through(source)) - zero for source in scope.tasks if source != target]

        for target in scope.tasks:
            scope.progress(f"{len(rows[target])} rows of {target} through every adapter, seed {seed}")
            found = np.array([gains(target, layer) for layer in settings.layers])
            layers = [(schemas.ALL_LAYERS, found.mean(axis=0))]
            layers += [(layer, part) for layer, part in zip(settings.layers, found, strict=True) if layer is not None]
            values += [
                {"seed": seed, "layer": layer, "source": source, "target": target, "value": value}
                for layer, part in layers
                for source, value in zip([s for s in scope.tasks if s != target], part, strict=True)
            ]
    passes = (len(scope.tasks) - 1) * len(scope.seeds) + 1  # of a target's rows, for each layer
    return Measurement(value_table(values), Cost(sum(map(len, rows.values())) * passes * len(settings.layers)))


def ask(info: TaskInfo, rows: Rows) -> Question:
    """The question that a task's rows put to features of theirs."""
    import numpy as np

    from adaptershare_cli.kinds import KINDS
    from adaptershare_cli.kinds.rows.answers import score_bins

    kind = KINDS[info.kind]
    columns = kind.label_columns(info, rows.answers)
    classes = None
    if columns is not None:
        classes = columns.argmax(axis=1) if kind.labelled else score_bins(columns[:, 0])
    return Question(info, rows, columns, classes, np.repeat(rows.same_texts(), rows.answers.per_row), kind.labelled)


def _check_layers(layers: Iterable[int | None], depth: int) -> None:
    for layer in layers:
        if layer is not None and not 0 <= layer <= depth:
            raise UserError(f"--probe-layer {layer}: the encoder has layers 0 to {depth}")
