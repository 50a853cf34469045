"""The kinds of task. A new one is a file of this folder: every module here but `base` holds one, as `KIND`.

What a definition may say of a kind, and the names of kinds and metrics, are had without numpy, Arrow or torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import Kind
from adaptershare_cli.kinds.metrics.base import Metric
from adaptershare_cli.kinds.metrics.own import is_own, own_metric, title

if TYPE_CHECKING:
    from adaptershare_cli.schemas import RunTable


def _found() -> list[Kind]:
    """The kinds of all files in this folder, sorted by their files' names."""
    names = sorted(found.name for found in iter_modules(__path__) if not found.ispkg and found.name != "base")
    return [import_module(f"{__name__}.{name}").KIND for name in names]


KINDS: dict[str, Kind] = {kind.name: kind for kind in _found()}
# Those with a label a row that a file of rows tells all of: not the order of labels.
OF_TEXTS = tuple(name for name, kind in KINDS.items() if not kind.listed and not kind.ordered)


class _Metrics(dict[str, Metric]):
    """Metrics by name; those that users wrote are found by theirs, and listed nowhere."""

    def __missing__(self, name: str) -> Metric:
        if not is_own(name):
            raise KeyError(name)
        return own_metric(name)


METRICS: dict[str, Metric] = _Metrics({metric.name: metric for kind in KINDS.values() for metric in kind.metrics})


def check_metrics(metrics: Iterable[str], labels: Sequence[str], where: str) -> None:
    """Raise UserError for a metric that does not go with the labels."""
    for metric in metrics:
        if fault := METRICS[metric].labels_fault(labels):
            raise UserError(fault[0], where, fault[1])


def of_one_label(metrics: Iterable[str]) -> bool:
    """Whether any of the metrics is of one label, so that it must be said of which."""
    return any(METRICS[metric].of_one_label for metric in metrics)


def metric_title(metric: str, positive: str | None) -> str:
    """A metric as tables show it: one of one label with that label, "" for all labels alike.

    Of what was recorded before definitions had a `positive` (None) the second label was meant.
    """
    if not METRICS[metric].of_one_label:
        return title(metric)
    return f"{metric} ({'second label' if positive is None else positive or 'macro'})"


def prediction_tables() -> dict[str, RunTable]:
    """The tables of predictions that runs publish, by the names of their files."""
    from adaptershare_cli.schemas import RunTable

    return {kind.predictions_table: RunTable(kind.predictions_schema(), at_the_end=True) for kind in KINDS.values()}
