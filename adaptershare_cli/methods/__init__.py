"""The methods of joint training. A new one is a file with a `build` function, and a line in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import (
    AdapterFusionSettings,
    AdapterShareSettings,
    GivenPlanSettings,
    HyperFormerPlusPlusSettings,
    HyperFormerSettings,
    MethodSettings,
    PrivateSettings,
    RandomPlanSettings,
    SharedSettings,
    SparseSharingSettings,
)


@dataclass(frozen=True)
class MethodSpec:
    """What the command line and the stages know of a method without importing torch.

    `module` holds `build(context: MethodContext) -> Method`; `code_version` is raised whenever results change. A method
    that `needs_plan` is refused without --init-plan. `training` are the training settings whose defaults are others
    than usual.
    """

    summary: str
    settings: type[MethodSettings]
    module: str
    code_version: int
    needs_plan: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)


# Every value that a generator writes is a sum over its input, so a step of Adam moves it by many times the rate: with
# the usual one training falls apart.
GENERATORS = {"learning_rate": 1e-4}
METHODS: dict[str, MethodSpec] = {
    "adaptershare": MethodSpec(
        "start shared, split where held-out gradients conflict", AdapterShareSettings, "adaptershare", 4
    ),
    "shared": MethodSpec("one adapter a layer for all tasks", SharedSettings, "shared", 3),
    "private": MethodSpec("own adapters for each task, joint schedule", PrivateSettings, "private", 3),
    "given-plan": MethodSpec(
        "the last plan of the run --init-plan, fresh weights", GivenPlanSettings, "given_plan", 2, needs_plan=True
    ),
    "random-plan": MethodSpec(
        "split as the run --init-plan did, with tasks drawn at random",
        RandomPlanSettings,
        "random_plan",
        2,
        needs_plan=True,
    ),
    "hyperformer": MethodSpec(
        "a generator a site writes each task's adapter from its embedding",
        HyperFormerSettings,
        "hyperformer",
        1,
        training=GENERATORS,
    ),
    "hyperformer++": MethodSpec(
        "one generator for all sites, told by task, layer and position",
        HyperFormerPlusPlusSettings,
        "hyperformer",
        1,
        training=GENERATORS,
    ),
    "adapterfusion": MethodSpec(
        "train adapters first, then each task attends over all of them", AdapterFusionSettings, "adapterfusion", 2
    ),
    "sparse-sharing": MethodSpec(
        "prune one network for each task, then train the subnets together", SparseSharingSettings, "sparse_sharing", 1
    ),
}


def training_defaults(method: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Training settings whose defaults are the method's own; for AdapterFusion over another method, those of that."""
    over = options.get("fusion_over")
    return METHODS[over if over in METHODS else method].training


def method_options(method: str) -> set[str]:
    """The names of the options that a method knows."""
    return {item.name for item in fields(METHODS[method].settings)}


def method_settings(method: str, given: Mapping[str, Any]) -> MethodSettings:
    """The method's settings from the options that were given; an option that it does not know is refused."""
    spec = METHODS[method]
    known = method_options(method)
    for name in given:
        if name not in known:
            users = [other for other in METHODS if name in method_options(other)]
            raise UserError(
                f"--method {method} does not know --{name.replace('_', '-')}",
                fix=f"It belongs to: {', '.join(users)}.",
            )
    return spec.settings(**given)


def load_builder(method: str) -> Any:
    """The method's `build` function."""
    return import_module(f"adaptershare_cli.methods.{METHODS[method].module}.method").build
