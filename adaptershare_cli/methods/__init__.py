"""The methods of joint training, a folder each; a folder that declares `SPECS` is found by itself."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.methods.spec import MethodSpec, Preset
from adaptershare_cli.settings import flag


def _specs() -> dict[str, MethodSpec]:
    """What every folder beside this file declares, by name."""
    folders = [module.name for module in pkgutil.iter_modules(__path__, f"{__name__}.") if module.ispkg]
    declared = [spec for folder in folders for spec in getattr(import_module(folder), "SPECS", ())]
    return {spec.name: spec for spec in sorted(declared, key=lambda spec: spec.name)}


METHODS: dict[str, MethodSpec] = _specs()
PRESETS: dict[str, Preset] = {preset.name: preset for spec in METHODS.values() for preset in spec.presets}


def method_settings(method: str, chosen: Mapping[str, Any]) -> MethodSettings:
    """The method's settings from the options that the user gave; an option that it does not know is refused."""
    spec = METHODS[method]
    for name in chosen:
        if name not in spec.options:
            users = [other for other, its in METHODS.items() if name in its.options]
            raise UserError(f"--method {method} does not know {flag(name)}", fix=f"It belongs to: {', '.join(users)}.")
    return spec.settings(**chosen)


def preset_values(preset: str, tasks: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the user gave, and those of a preset for `tasks` tasks that have an effect beside them."""
    values = PRESETS[preset].values(tasks, chosen)
    if "max_steps" in chosen:
        values.pop("num_train_epochs", None)
    return {**values, **chosen}
