"""AdapterShare (EMNLP 2022): start with shared adapters, split a group where its tasks' gradients conflict."""

from __future__ import annotations

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned import PlannedMethod
from adaptershare_cli.settings import AdapterShareSettings
from adaptershare_cli.sharing.differentiation import decide
from adaptershare_cli.sharing.interference import Interference
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer


def build(context: MethodContext) -> PlannedMethod:
    """Joint training that starts fully shared and differentiates."""
    plan = SharingPlan.shared(tuple(context.infos), context.encoder.config.num_hidden_layers)
    return PlannedMethod(context, plan, differentiate)


def differentiate(
    method: PlannedMethod, relations: list[Interference], step: int, optimizer: Optimizer
) -> dict[tuple[int, int, int], str]:
    """Split where the rule of `sharing.differentiation` says so, within the budget `max_growth`.

    Every group of every layer is judged once a check. The budget is never exceeded: a split that would do so is
    recorded as `budget` and left (the original checks only before a round and may exceed it).
    Returns the decision for each pair that shared an adapter.
    """
    settings = method.context.settings
    assert isinstance(settings, AdapterShareSettings)
    tasks = method.plan.tasks
    limit = settings.max_growth or float(len(tasks))
    decisions: dict[tuple[int, int, int], str] = {}
    for layer, groups in enumerate(method.plan.layers):
        relation = relations[layer]
        for group in groups:
            members = [tasks.index(task) for task in group]
            decision = decide(
                relation.cosine, relation.agreement, members, settings.guard, settings.max_interference,
                settings.min_intra_similarity,
            )  # fmt: skip
            outcome = decision.outcome
            if outcome == "split" and method.plan.growth + 1 / len(method.plan.layers) > limit + 1e-9:
                outcome = "budget"
            for i, a in enumerate(members):
                for b in members[i + 1 :]:
                    parted = (a in decision.kept) != (b in decision.kept)
                    decisions[layer, a, b] = "keep" if outcome == "split" and not parted else outcome
            if outcome == "split":
                _split(method, layer, decision.kept, decision.moved, step, optimizer)
    return decisions


def _split(
    method: PlannedMethod, layer: int, kept: tuple[int, ...], moved: tuple[int, ...], step: int, optimizer: Optimizer
) -> None:
    tasks = method.plan.tasks
    kept_names, moved_names = [tasks[i] for i in kept], [tasks[i] for i in moved]
    copies = method.model.bank.split(layer, kept_names, moved_names)
    optimizer.follow_split(copies)
    method.context.notify(f"step {step}: layer {layer} splits: {' '.join(kept_names)} | {' '.join(moved_names)}")
