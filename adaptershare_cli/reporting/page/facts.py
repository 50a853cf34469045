"""What the page is made of: plain values, which whoever reads the artefacts fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adaptershare_cli.reporting.tables import ComparisonGroup
from adaptershare_cli.sharing.plan import SharingPlan

Curve = Sequence[tuple[int, float]]  # (updates done, value)


@dataclass(frozen=True)
class Split:
    """A group of a layer that parted at an update; `cosine` is the lowest of a pair that parts, with its error."""

    step: int
    layer: int
    parts: tuple[tuple[str, ...], ...]
    pair: tuple[str, str] | None = None
    cosine: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class PlanHistory:
    """Who shares with whom over the updates of a run: by layer the group of each task at each step (T, changes)."""

    tasks: tuple[str, ...]
    steps: tuple[int, ...]
    groups: Mapping[int, np.ndarray]
    splits: Sequence[Split] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it never changes, and all tasks share everywhere or nowhere."""
        sizes = {len(np.unique(of_layer)) for of_layer in self.groups.values()}
        return len(self.steps) == 1 and len(sizes) == 1 and sizes <= {1, len(self.tasks)}


@dataclass(frozen=True)
class MeasureFacts:
    """A measure of how tasks relate: values (T, T), row = source, column = target, NaN unknown; `pale` as in `chance`.

    `about` says of which runs it is, `label` tells it from others of its name.
    """

    name: str
    label: str
    summary: str
    about: str
    tasks: tuple[str, ...]
    values: np.ndarray
    pale: np.ndarray
    errors: np.ndarray
    range: tuple[float, float]
    unit: str
    directed: bool


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """A run. `select` is each task's main metric on select rows with the weights that were kept, None if undefined.

    `command` makes it again; it is "" where that is not known, and does not name the workspace.
    """

    name: str
    method: str
    seed: int
    tasks: tuple[str, ...]
    steps: int
    select: Mapping[str, float | None]
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    encoder_hash: str = ""
    precision: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)  # task -> hash of its prepared rows
    plan: SharingPlan | None = None  # the last one
    scores: Mapping[str, Curve] = field(default_factory=dict)  # task -> main metric on select rows
    losses: Mapping[str, Curve] = field(default_factory=dict)  # task -> mean training loss
    history: PlanHistory | None = None


@dataclass(frozen=True)
class Picture:
    """A picture that a stage drew, as SVG."""

    name: str
    svg: bytes


@dataclass(frozen=True)
class RowFacts:
    """A scored row: its texts (None where they are gone), what is right, and what was said, by method."""

    split: str
    row: int
    texts: tuple[str, ...] | None
    label: str
    said: Mapping[str, str]
    error: float  # 0 to 1, or how far off; what rows are sorted by


@dataclass(frozen=True)
class AnswersFacts:
    """What a method said of a task's rows: counts by (label, prediction) where labels are names, else the numbers."""

    method: str
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    numbers: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """A task: its rows, what was dropped, how it was answered, and which rows sharing fixed and broke.

    `sizes`: rows of each part; `lengths`: least, median and most tokens of a row of each part; `labels`: rows of train
    by label, or least, median and most where labels are numbers. `fixed` and `broke` are of `sharing` against
    `private`, with how many rows there are of each (mean over seeds; None where labels are numbers).
    """

    name: str
    what: str
    metrics: tuple[str, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, tuple[int, float, int]] = field(default_factory=dict)
    truncated: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, float] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()
    partners: Sequence[str] = ()
    answers: Sequence[AnswersFacts] = ()
    order: Sequence[str] = ()  # of the labels, where they have names
    sharing: str = ""
    private: str = ""
    fixed: Sequence[RowFacts] = ()
    broke: Sequence[RowFacts] = ()
    counted: tuple[float, float, int] | None = None  # rows fixed, broken, in all
    hardest: Sequence[RowFacts] = ()


@dataclass(frozen=True)
class Gain:
    """How much more one method has than another, in points, with an interval of 95 %; NaN where there is none."""

    gain: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


RowGains = Mapping[tuple[str, str], Mapping[str, Gain]]  # by two methods, then by task; "" is the mean over the tasks


@dataclass(frozen=True)
class PageFacts:
    """All that the page shows. `notes` stand above everything: what was left out, and verdicts."""

    title: str
    groups: Sequence[ComparisonGroup]
    runs: Mapping[str, RunFacts]  # by name
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    measures: Sequence[MeasureFacts] = ()
    tasks: Sequence[TaskFacts] = ()
    over_rows: RowGains = field(default_factory=dict)  # what other rows would give, where methods have one seed
    judged: Sequence[Mapping[str, Any]] = ()  # rows of `schemas.SCORES` over all targets
