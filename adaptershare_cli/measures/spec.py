"""What a measure declares of itself, and the decorator that declares it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.measures.base import Measurement, Scope
from adaptershare_cli.measures.needs import Need, Trainings
from adaptershare_cli.measures.settings import MeasureSettings

SHARE = "share"  # the unit of values from 0 (nothing) to 1 (all), which pictures show on that scale


@dataclass(frozen=True)
class Measure:
    """A measure of how one task relates to another: what the program knows of it, and its function.

    `function(needed, scope, settings)` takes what the measure `needs` (the need's class says what that is), and returns
    a `Measurement`. `directed` says that value(source, target) may differ from value(target, source). `code_version` is
    raised whenever the results change. `range` are the least and the highest value that are possible, `unit` what they
    are counted in, `axis` what the axis of a picture says (the name, if it is left out).
    """

    name: str
    summary: str
    code_version: int
    settings: type[MeasureSettings]
    needs: Need
    range: tuple[float, float]
    unit: str
    function: Callable[[Any, Scope, Any], Measurement]
    directed: bool = False
    axis: str = ""

    def __call__(self, needed: Any, scope: Scope, settings: MeasureSettings) -> Measurement:
        """What the measure's function returns."""
        return self.function(needed, scope, settings)

    @property
    def is_truth(self) -> bool:
        """Whether other measures may be judged by it: it is what trainings showed."""
        return isinstance(self.needs, Trainings)


def measure(
    name: str,
    summary: str,
    *,
    code_version: int,
    settings: type[MeasureSettings],
    needs: Need,
    range: tuple[float, float],
    unit: str,
    directed: bool = False,
    axis: str = "",
) -> Callable[[Callable[[Any, Scope, Any], Measurement]], Measure]:
    """Make a `Measure` of the function below, with these facts. The registry finds it in its module."""

    def declare(function: Callable[[Any, Scope, Any], Measurement]) -> Measure:
        return Measure(name, summary, code_version, settings, needs, range, unit, function, directed, axis or name)

    return declare
