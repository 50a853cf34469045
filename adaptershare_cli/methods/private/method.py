"""Private adapters: each task has its own, trained in the joint schedule (and alone, in `train-single`)."""

from __future__ import annotations

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.sharing.plan import SharingPlan


def build(context: MethodContext) -> PlannedMethod:
    """Joint training under the private plan."""
    return PlannedMethod(context, SharingPlan.private(context.data.tasks, context.encoder.config.num_hidden_layers))
