"""A run that is put together: adapters and heads as they were trained in groups. Nothing is trained again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from adaptershare_cli.methods.assembled.start import Parts
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import PlannedMethod, tied_model
from adaptershare_cli.methods.planned.settings import ObserveSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.protocol import Phase


def build(context: MethodContext) -> PlannedMethod:
    """The groups' adapters and heads under the plan that has these groups in the layers in which they share."""
    parts = context.start
    assert isinstance(parts, Parts)
    context = replace(context, settings=ObserveSettings(observe=False))
    context.records.update(parts.records)
    plan = SharingPlan.of_groups(context.data.tasks, context.encoder.config.num_hidden_layers, parts.groups)
    model = tied_model(context, plan)
    for task, adapter in parts.adapters.items():
        model.bank.fill(task, adapter)
    return Assembled(context, plan, model=model)


class Assembled(PlannedMethod):
    """Trained elsewhere: one phase without updates."""

    def phases(self) -> Iterator[Phase]:
        """One that ends where it begins."""
        yield Phase("main", self.plan.tasks, 0, parameters=lambda: [*self.model.parameters()])
