"""Adapters: which kinds there are, and the training settings that have their options. No torch here.

Each kind is one file in this folder (`base` says what it must hold); that it lies here is all it takes to register it.
`bank.AdapterBank` holds the adapters of the tasks of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, get_type_hints

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.adapters.base import AdapterKind, Use
from adaptershare_cli.settings import TrainingSettings, flag, option

_NO_KINDS = ("bank", "base")  # the other files of this folder
OPTION = "adapter_config"


@cache
def adapter_kinds() -> dict[str, AdapterKind]:
    """Every kind of adapter by its name, those of a file in the file's order."""
    files = sorted(module.name for module in iter_modules(__path__) if module.name not in _NO_KINDS)
    return {kind.name: kind for file in files for kind in import_module(f"{__name__}.{file}").KINDS}


def adapter_kind(name: str) -> AdapterKind:
    """The kind that --adapter-config names. Raises UserError where there is none."""
    kinds = adapter_kinds()
    if name not in kinds:
        raise UserError(f"There is no kind of adapter {name!r}", where=flag(OPTION), fix=_one_of(kinds))
    return kinds[name]


def require_use(kind: AdapterKind, use: Use) -> None:
    """Raise UserError unless such adapters can be used in this way."""
    if use not in kind.uses:
        raise UserError(
            dict(kind.refusals).get(use, f"Adapters of the kind {kind.name} cannot be {use}"),
            where=flag(OPTION, kind.name),
            fix=_one_of({name: other for name, other in adapter_kinds().items() if use in other.uses}),
        )


def _one_of(kinds: Mapping[str, AdapterKind]) -> str:
    return f"Use {' or '.join(kinds)}."


# -------------------------------------------------------------------------------------------------------- their options


def shape_options(training: TrainingSettings) -> tuple[str, ...]:
    """The options that say which adapters these settings make: the kind, and the kind's own."""
    return (OPTION, *adapter_kind(training.adapter_config).own_options)


def training_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """The training settings among `values` (which may hold other names too), of the class that their adapters need.

    Raises UserError for an option of another kind of adapter: it would have no effect.
    """
    kind = adapter_kind(values.get(OPTION, TrainingSettings.adapter_config))
    own = kind.own_options
    for other in adapter_kinds().values():
        for item in fields(other.settings):
            foreign = item.name in other.own_options and item.name not in own
            if foreign and values.get(item.name, item.default) != item.default:
                owners = [owner.name for owner in adapter_kinds().values() if item.name in owner.own_options]
                raise UserError(
                    f"{flag(item.name)} belongs to {flag(OPTION, ' or '.join(owners))}",
                    where=flag(OPTION, kind.name),
                    fix="Leave one of them out.",
                )
    return kind.settings(**{item.name: values[item.name] for item in fields(kind.settings) if item.name in values})


@cache
def training_options() -> type[TrainingSettings]:
    """`TrainingSettings` with the options of every kind, for a command line; `training_settings` takes their values."""
    kinds = adapter_kinds()
    choices = ", ".join(f"{kind.name} ({kind.summary})" for kind in kinds.values())
    chosen = option(TrainingSettings.adapter_config, f"The kind of adapter: {choices}.")
    found: dict[str, tuple[str, Any, Any]] = {OPTION: (OPTION, Literal[tuple(kinds)], chosen)}
    for kind in kinds.values():
        hints = get_type_hints(kind.settings)
        for item in fields(kind.settings):
            if not hasattr(TrainingSettings, item.name):
                own = field(default=item.default, metadata=item.metadata)
                found.setdefault(item.name, (item.name, hints[item.name], own))
    return make_dataclass("TrainingSettings", found.values(), bases=(TrainingSettings,), frozen=True)
