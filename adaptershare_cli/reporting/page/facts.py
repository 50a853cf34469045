"""What the page is made of: plain values, which whoever reads the artefacts fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptershare_cli.reporting.tables import ComparisonGroup
from adaptershare_cli.sharing.plan import SharingPlan

Curve = Sequence[tuple[int, float]]  # (updates done, value)


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


@dataclass(frozen=True)
class Picture:
    """A picture that a stage drew, as SVG."""

    name: str
    svg: bytes


@dataclass(frozen=True)
class PageFacts:
    """All that the page shows. `notes` stand above everything: what was left out, and verdicts."""

    title: str
    groups: Sequence[ComparisonGroup]
    runs: Mapping[str, RunFacts]  # by name
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
