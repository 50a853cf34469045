"""Full sharing: one adapter a layer for all tasks. Gradients are observed, nothing is split."""

from __future__ import annotations

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.sharing.plan import SharingPlan


def build(context: MethodContext) -> PlannedMethod:
    """Joint training under the fully shared plan."""
    return PlannedMethod(context, SharingPlan.shared(context.data.tasks, context.encoder.config.num_hidden_layers))
