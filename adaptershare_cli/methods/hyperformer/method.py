"""HyperFormer and HyperFormer++ (ACL 2021): adapters of all tasks, written by generators from task embeddings.

The tasks share no adapter; what they share is what writes them. So the sharing plan is the private one, and checks
observe every task's gradient on the adapter that was written for it: these have one shape, and may be compared.
Differences from the original: a linear head a task in place of T5's frozen one; one stack of layers in place of two;
with --encoder-dropout, the library's place for it is before the adapter, the original's after.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.hyperformer.settings import HyperFormerSettings
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.model.encoder import layer_norms
from adaptershare_cli.model.hyperformer import HyperFormerModel, adapter_slots
from adaptershare_cli.model.hypernetwork import GeneratorSizes, save_hypernetwork
from adaptershare_cli.sharing.plan import SharingPlan


def build(context: MethodContext) -> HyperFormer:
    """Joint training of one generator a site (`hyperformer`), or of one for all sites (`hyperformer++`)."""
    return HyperFormer(context)


class HyperFormer(PlannedMethod):
    """Joint training whose adapters are generated; beside the tasks' folders it keeps generators and embeddings."""

    def __init__(self, context: MethodContext) -> None:
        plan = SharingPlan.private(context.data.tasks, context.encoder.config.num_hidden_layers)
        self.generated = generated_model(context, plan)
        super().__init__(context, plan, model=self.generated)

    def finish(self, folder: Path) -> None:
        """Write the generators, and the task embeddings as the table `embeddings`."""
        model = self.generated
        save_hypernetwork(model.network, model.sizes, model.embeddings, folder)
        self.context.records["embeddings"] = [
            {"task": task, "embedding": embedding.detach().cpu().numpy()}
            for task, embedding in model.embeddings.items()
        ]


def generated_model(context: MethodContext, plan: SharingPlan) -> HyperFormerModel:
    """The encoder with a slot for each task, its generators, and, if they are trained, its layer norms."""
    settings, training = context.settings, context.training
    assert isinstance(settings, HyperFormerSettings)
    sizes = {item.name: getattr(settings, item.name) for item in fields(GeneratorSizes) if hasattr(settings, item.name)}
    norms = layer_norms(context.encoder) if settings.train_layer_norms else {}
    bank = adapter_slots(context.encoder, plan, training, context.seed)
    return HyperFormerModel(
        context.encoder, bank, list(context.data.infos.values()), training.pooling, training.head_dropout, context.seed,
        GeneratorSizes(**sizes), norms,
    )  # fmt: skip
