"""The methods of joint training. A new one is a file with a `build` function, and a line in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import AdapterShareSettings, ObserveSettings, PrivateSettings, SharedSettings


@dataclass(frozen=True)
class MethodSpec:
    """What the command line and the stages know of a method without importing torch.

    `module` holds `build(context: MethodContext) -> Method`; `code_version` is raised whenever results change.
    """

    summary: str
    settings: type[ObserveSettings]
    module: str
    code_version: int


METHODS: dict[str, MethodSpec] = {
    "adaptershare": MethodSpec(
        "start shared, split where held-out gradients conflict", AdapterShareSettings, "adaptershare", 1
    ),
    "shared": MethodSpec("one adapter a layer for all tasks", SharedSettings, "shared", 1),
    "private": MethodSpec("own adapters for each task, joint schedule", PrivateSettings, "private", 1),
}


def method_settings(method: str, given: Mapping[str, Any]) -> ObserveSettings:
    """The method's settings from the options that were given; an option that it does not know is refused."""
    spec = METHODS[method]
    known = {item.name for item in fields(spec.settings)}
    for name in given:
        if name not in known:
            users = [other for other, s in METHODS.items() if name in {f.name for f in fields(s.settings)}]
            raise UserError(
                f"--method {method} does not know --{name.replace('_', '-')}",
                fix=f"It belongs to: {', '.join(users)}.",
            )
    return spec.settings(**given)


def load_builder(method: str) -> Any:
    """The method's `build` function."""
    return import_module(f"adaptershare_cli.methods.{METHODS[method].module}").build
