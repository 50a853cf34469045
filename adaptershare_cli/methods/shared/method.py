"""Full sharing: one adapter a layer for all tasks. Gradients are observed, nothing is split."""

from __future__ import annotations

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.methods.shared.settings import SharedSettings
from adaptershare_cli.sharing.plan import SharingPlan


def build(context: MethodContext) -> PlannedMethod:
    """Joint training under the plan that shares everything, or everything in half of the layers."""
    assert isinstance(context.settings, SharedSettings)
    depth, tasks = context.encoder.config.num_hidden_layers, context.data.tasks
    return PlannedMethod(context, SharingPlan.of_groups(tasks, depth, {tuple(tasks): context.settings.shared_layers}))
