"""What the command line and the stages know of a method without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from adaptershare_cli.methods.settings import MethodSettings


@dataclass(frozen=True)
class Preset:
    """The settings of a publication, by option.

    `values(tasks, chosen)` gives them for a number of tasks; `chosen` are the options that the user gave, as some of
    the published ones may have no effect beside them.
    """

    name: str
    help: str
    values: Callable[[int, Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class MethodSpec:
    """A method of joint training, as its folder declares it.

    In the folder (`package`) the module `method` holds `build(context: MethodContext) -> Method`. `start` is the module
    that says what a run starts from besides its tasks' rows (`begin`, see `methods.start`), `tables` are functions
    (`module:function`) that show what its runs found, `citation` is what a publication of its runs is to cite.
    `code_version` is raised whenever results change. A method that `needs_plan` is refused without --init-plan.
    """

    name: str
    package: str
    summary: str
    settings: type[MethodSettings]
    code_version: int
    needs_plan: bool = False
    start: str = ""
    tables: tuple[str, ...] = ()
    presets: tuple[Preset, ...] = ()
    citation: str = ""

    @property
    def options(self) -> set[str]:
        """The names of the options that the method knows."""
        return {item.name for item in fields(self.settings)}

    def build(self) -> Callable[[Any], Any]:
        """The function that builds the method from its context; torch is imported here."""
        return import_module(f"{self.package}.method").build

    def begin(self) -> Callable[[Any, Any], Any] | None:
        """The function `begin` of what its runs start from; None for a method whose runs start from nothing."""
        return import_module(self.start).begin if self.start else None
