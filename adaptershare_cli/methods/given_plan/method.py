"""The last sharing plan of an earlier run, with fresh weights: what the structure alone is worth."""

from __future__ import annotations

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import PlannedMethod


def build(context: MethodContext) -> PlannedMethod:
    """Joint training under the plan of the run that --init-plan names, from the first update on."""
    return PlannedMethod(context, context.start.last)
