"""Measures of how one task relates to another: one file a measure, one line each here.

A measure's function takes values (tables, task names, its settings) and returns a table of the schema
`schemas.CORRELATION`. It is imported only when it is called, so that looking at the registry costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple


class Measure(NamedTuple):
    """What the program knows about a measure before it imports it."""

    summary: str  # one line, shown in help texts
    function: str  # "module:function"
    code_version: int  # raised whenever the results change
    directed: bool  # does value(source, target) differ from value(target, source)?
    table: str  # the table of a run that it is computed from
    settings: tuple[str, ...] = ()  # the fields of `CorrelateSettings` that it takes

    def load(self) -> Callable:
        """Import the module and return the function."""
        module, name = self.function.split(":")
        return getattr(import_module(module), name)


MEASURES: dict[str, Measure] = {
    "gradient": Measure(
        summary="Mean cosine between two tasks' gradients over the checks of a run.",
        function="adaptershare_cli.correlation.gradient:correlate",
        code_version=1,
        directed=False,
        table="interference",
        settings=("rows", "permutations"),
    ),
    "plan": Measure(
        summary="Share of the layers in which two tasks use one adapter at the end of a run.",
        function="adaptershare_cli.correlation.plan:correlate",
        code_version=1,
        directed=False,
        table="sharing",
    ),
}
