"""Measures of how one task relates to another: one file a measure, found in this folder.

A file declares its measures with the decorator `spec.measure`; there is no list to add it to. The files import numpy,
pandas and torch inside their functions, so that looking at the registry costs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.settings import MeasureSettings
from adaptershare_cli.measures.spec import Measure
from adaptershare_cli.settings import SelectionSettings, flag


def _declared() -> dict[str, Measure]:
    """Every measure that a file of this folder declares, by name. Raises ValueError for a name that is taken."""
    found: dict[str, Measure] = {}
    for module in sorted(module.name for module in iter_modules(__path__)):
        for value in vars(import_module(f"{__name__}.{module}")).values():
            if isinstance(value, Measure) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two measures are called {value.name}; one is in {module}.py")
    return dict(sorted(found.items()))


MEASURES = _declared()
TRUTHS = tuple(name for name, spec in MEASURES.items() if spec.is_truth)
NO_SELECTION = SelectionSettings()


def measure_names(text: str) -> list[str]:
    """The measures of a comma-separated list, in order. Raises UserError for an unknown one, or none."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in MEASURES:
            near = difflib.get_close_matches(name, MEASURES, n=2)
            raise UserError(
                f"There is no measure {name!r}",
                where="--measure",
                fix=f"Measures: {', '.join(MEASURES)}." + (f" Did you mean {near[0]}?" if near else ""),
            )
    if not names:
        raise UserError("No measure is named", where="--measure", fix=f"Measures: {', '.join(MEASURES)}.")
    return names


def wanted_measures(text: str, against: str | None, selection: SelectionSettings) -> list[str]:
    """The measures of a comma-separated list, then those that judging them, or selecting by one, needs.

    Raises UserError for lists that cannot be judged, or by which nothing can be selected.
    """
    names = measure_names(text)
    if against is not None and set(names) == {against}:
        raise UserError(
            f"--against {against} judges measures, and --measure names only the truth itself",
            fix=f"Name the measures to judge, for example --measure gradient,text --against {against}.",
        )
    if selection.select is not None:
        if len(names) != 1:
            raise UserError(
                "--select goes by one measure", where=f"--measure {text}", fix="Name one, for example --measure gradts."
            )
        if MEASURES[names[0]].needs.sees_scored_splits:
            raise UserError(
                f"Nothing may be selected by {names[0]}: it is measured on scored splits, which may decide nothing",
                where="--measure",
                fix="Name another measure.",
            )
    further = [name for name in (against, selection.row_measure) if name is not None]
    return list(dict.fromkeys([*names, *further]))


def takes_option(names: Collection[str], option: str, selection: SelectionSettings = NO_SELECTION) -> bool:
    """Whether any of the measures has an option, or the selection by them."""
    known = any(option in MEASURES[name].options for name in names)
    return known or (option == "target_steps" and selection.trains)


def has_use(names: Collection[str], option: str, selection: SelectionSettings = NO_SELECTION) -> bool:
    """Whether an option of trainings or of the encoder (seeds, model, runtime) has an effect on any of the measures."""
    needs = [MEASURES[name].needs for name in names]
    if option == "seeds":
        return selection.trains or any(need.takes_seeds for need in needs)
    if option in ("precision", "checkpoint_steps"):
        return selection.trains or any(need.makes_trainings for need in needs)
    return selection.trains or any(need.runs_encoder for need in needs)


def measure_settings(
    names: Collection[str], options: Mapping[str, Any], selection: SelectionSettings = NO_SELECTION
) -> dict[str, MeasureSettings]:
    """Each measure's settings from the options that the user chose; one that none of them knows is refused."""
    chosen = [MEASURES[name] for name in names]
    for option in options:
        if not takes_option(names, option, selection):
            users = [name for name, spec in MEASURES.items() if option in spec.options]
            raise UserError(
                f"--measure {','.join(spec.name for spec in chosen)} does not know {flag(option)}",
                fix=f"It belongs to: {', '.join(users)}.",
            )
    return {
        spec.name: spec.settings(**{name: value for name, value in options.items() if name in spec.options})
        for spec in chosen
    }
