"""Recon (Shi et al., ICLR 2023, "Recon: Reducing Conflicting Gradients from the Root for Multi-Task Learning").

The conflict score of a layer is how often the gradients of two tasks on it have a cosine below a threshold while all is
shared. The layers with the highest scores become each task's own, and the network is trained anew. Of the paper this
differs in what is shared (adapters; a layer of the encoder is a layer), and in when it is looked at: at checks, on
held-out rows, and not at every update on its batch.
"""

from __future__ import annotations

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.methods.recon.start import PrivateLayers
from adaptershare_cli.sharing.plan import SharingPlan


def build(context: MethodContext) -> PlannedMethod:
    """Joint training under the plan that is private in the layers that conflict, from the first update on."""
    found = context.start
    assert isinstance(found, PrivateLayers)
    context.records["conflicts"] = [dict(row) for row in found.conflicts]
    tasks, depth = context.data.tasks, context.encoder.config.num_hidden_layers
    apart, together = SharingPlan.private(tasks, depth).layers, SharingPlan.shared(tasks, depth).layers
    layers = [apart[layer] if layer in found.layers else together[layer] for layer in range(depth)]
    return PlannedMethod(context, SharingPlan(tasks, tuple(layers)))
