"""AdapterShare (EMNLP 2022): start with shared adapters, split a group where its tasks' gradients conflict."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.adaptershare.settings import AdapterShareSettings
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import Act, Check, PlannedMethod, Verdict, tied_model
from adaptershare_cli.sharing.differentiation import (
    Decision,
    Guard,
    adjust_p_values,
    decide,
    decide_by_evidence,
    weigh_evidence,
)
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer

MEMORY = 0.5  # what a check still weighs one check later: adapters move on, rows stay the same
Groups = list[tuple[int, list[int]]]  # (layer, task indices) of every group


def build(context: MethodContext) -> PlannedMethod:
    """Joint training that starts fully shared, or from a given plan, and differentiates.

    Raises UserError where --target-parameters allows less than there is at the start.
    """
    assert isinstance(context.settings, AdapterShareSettings)
    shared = SharingPlan.shared(context.data.tasks, context.encoder.config.num_hidden_layers)
    plan = shared if context.start is None else context.start.last
    model = tied_model(context, plan, context.settings.fuse)
    method = PlannedMethod(context, plan, Differentiate(context.settings), model)
    target, trained = context.settings.target_parameters, sum(parameter.numel() for parameter in method.names())
    if target is not None and target < trained:
        raise UserError(
            f"--target-parameters {target} is less than the {trained} that are trained from the start",
            fix=f"Give {trained} or more, or a larger --reduction-factor.",
        )
    return method


class Differentiate(Act):
    """Splits groups at checks, by one of the rules of `sharing.differentiation`, within the budget.

    `threshold` judges each check by itself. `significance` judges all checks so far together: their rows' inner
    products are averaged, each check with `MEMORY` times the weight of the one after it; the level is spent evenly
    over the checks of the whole training (Bonferroni), or every pair would be found in conflict one day.
    """

    def __init__(self, settings: AdapterShareSettings) -> None:
        self.settings = settings
        self.guard = Guard(
            settings.guard, settings.min_intra_similarity, settings.entropy_angle, settings.entropy_share
        )
        self.kernels: list[np.ndarray] = []  # significance: weighted sums over checks, (N, N) a layer

    def on_check(self, method: PlannedMethod, check: Check, optimizer: Optimizer) -> Verdict:
        """Judge every group of every layer once.

        The budget is never exceeded: a split that would do so is recorded as `budget` and left (the original checks
        only before a round and may exceed it).
        """
        verdict = Verdict()
        tasks = method.plan.tasks
        groups = [
            (layer, [tasks.index(task) for task in group])
            for layer, layer_groups in enumerate(method.plan.layers)
            for group in layer_groups
        ]
        if self.settings.rule == "significance":
            level = self.settings.significance_level / max(1, method.check_count())
            decisions = self._by_significance(check, groups, verdict, level)
        else:
            decisions = self._by_threshold(check, groups)
        for (layer, members), decision in zip(groups, decisions, strict=True):
            outcome = decision.outcome
            if outcome == "split" and not self._affordable(method, layer):
                outcome = "budget"
            for i, a in enumerate(members):
                for b in members[i + 1 :]:
                    parted = (a in decision.kept) != (b in decision.kept)
                    verdict.decisions[layer, a, b] = outcome if parted or outcome == "guard" else "keep"
            if outcome == "split":
                kept, moved = ([tasks[i] for i in part] for part in (decision.kept, decision.moved))
                method.split(layer, kept, moved, optimizer)
        return verdict

    def _by_threshold(self, check: Check, groups: Groups) -> list[Decision]:
        return [
            decide(check.relations[layer], members, self.guard, self.settings.max_interference)
            for layer, members in groups
        ]

    def _by_significance(self, check: Check, groups: Groups, verdict: Verdict, level: float) -> list[Decision]:
        """Take this check into the memory and judge by all that is in it."""
        if not self.kernels:
            self.kernels = [np.zeros_like(gram) for gram in check.grams]
        # A row whose gradient is not finite says nothing at this check.
        self.kernels = [
            MEMORY * kernel + np.nan_to_num(gram, nan=0.0, posinf=0.0, neginf=0.0)
            for kernel, gram in zip(self.kernels, check.grams, strict=True)
        ]
        evidence = [weigh_evidence(kernel, check.index, self.settings.max_interference) for kernel in self.kernels]
        pairs = [(layer, *pair) for layer, members in groups for pair in itertools.combinations(members, 2)]
        adjusted = adjust_p_values(evidence, pairs)
        verdict.p_values = {(layer, a, b): float(adjusted[layer][a, b]) for layer, a, b in pairs}
        return [decide_by_evidence(evidence[layer].score, adjusted[layer], members, level) for layer, members in groups]

    def _affordable(self, method: PlannedMethod, layer: int) -> bool:
        """Whether one more adapter in `layer` keeps within `max_growth` and `target_parameters`."""
        plan = method.plan
        if plan.growth + 1 / len(plan.layers) > (self.settings.max_growth or len(plan.tasks)) + 1e-9:
            return False
        if self.settings.target_parameters is None:
            return True
        one_more = sum(tensor.numel() for _, tensor in method.model.bank.named_parameters(plan.tasks[0], layer))
        if method.fusion is not None and len(plan.layers[layer]) == 1:
            one_more += method.fusion.size(layer)
        trained = sum(parameter.numel() for parameter in method.names())
        return trained + one_more <= self.settings.target_parameters

    def state(self) -> dict[str, torch.Tensor]:
        """The memory of checks."""
        return {f"kernels/{layer}": torch.from_numpy(kernel) for layer, kernel in enumerate(self.kernels)}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The inverse of `state`."""
        self.kernels = [tensors[f"kernels/{layer}"].numpy().copy() for layer in range(len(tensors))]
