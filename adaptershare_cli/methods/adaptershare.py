"""AdapterShare (EMNLP 2022): start with shared adapters, split a group where its tasks' gradients conflict."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned import Act, Check, PlannedMethod, Verdict
from adaptershare_cli.settings import AdapterShareSettings
from adaptershare_cli.sharing.differentiation import (
    Decision,
    Evidence,
    Guard,
    decide,
    decide_by_evidence,
    weigh_evidence,
)
from adaptershare_cli.sharing.interference import normalised
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer


def build(context: MethodContext) -> PlannedMethod:
    """Joint training that starts fully shared, or from a given plan, and differentiates."""
    assert isinstance(context.settings, AdapterShareSettings)
    shared = SharingPlan.shared(tuple(context.infos), context.encoder.config.num_hidden_layers)
    return PlannedMethod(context, context.init_plan or shared, Differentiate(context.settings))


class Differentiate(Act):
    """Splits groups at checks, by one of the rules of `sharing.differentiation`, within the budget.

    `threshold` judges each check by itself. `significance` judges the mean over all checks so far of the rows'
    normalised products, at the level significance_level / (pairs that share an adapter x checks of the run): by
    Bonferroni's bound a run that has no true conflict splits anything with at most that probability.
    """

    def __init__(self, settings: AdapterShareSettings) -> None:
        self.settings = settings
        self.guard = Guard(
            settings.guard, settings.min_intra_similarity, settings.entropy_angle, settings.entropy_share
        )
        self.kernels: list[np.ndarray] = []  # significance: sums over checks, (N, N) a layer
        self.checks: list[np.ndarray] = []  # how many checks each pair of tasks has in them, (T, T) a layer

    def on_check(self, method: PlannedMethod, check: Check, optimizer: Optimizer) -> Verdict:
        """Judge every group of every layer once.

        The budget is never exceeded: a split that would do so is recorded as `budget` and left (the original checks
        only before a round and may exceed it).
        """
        evidence = self._evidence(method, check) if self.settings.rule == "significance" else []
        level = self.settings.significance_level / self._comparisons(method)
        verdict = Verdict()
        tasks = method.plan.tasks
        for layer, groups in enumerate(method.plan.layers):
            for group in groups:
                members = [tasks.index(task) for task in group]
                if evidence:
                    decision = decide_by_evidence(evidence[layer], members, level)
                else:
                    decision = decide(check.relations[layer], members, self.guard, self.settings.max_interference)
                outcome = decision.outcome
                if outcome == "split" and not self._affordable(method, layer):
                    outcome = "budget"
                self._record(verdict, layer, members, decision, outcome, evidence)
                if outcome == "split":
                    kept, moved = ([tasks[i] for i in part] for part in (decision.kept, decision.moved))
                    method.split(layer, kept, moved, optimizer)
        return verdict

    def _affordable(self, method: PlannedMethod, layer: int) -> bool:
        """Whether one more adapter in `layer` keeps within `max_growth` and `target_parameters`."""
        plan = method.plan
        if plan.growth + 1 / len(plan.layers) > (self.settings.max_growth or len(plan.tasks)) + 1e-9:
            return False
        if self.settings.target_parameters is None:
            return True
        one_more = sum(tensor.numel() for _, tensor in method.model.bank.named_parameters(plan.tasks[0], layer))
        trained = sum(parameter.numel() for parameter in method.names())
        return trained + one_more <= self.settings.target_parameters

    def _record(
        self, verdict: Verdict, layer: int, members: list[int], decision: Decision, outcome: str,
        evidence: list[Evidence],
    ) -> None:  # fmt: skip
        for i, a in enumerate(members):
            for b in members[i + 1 :]:
                parted = (a in decision.kept) != (b in decision.kept)
                verdict.decisions[layer, a, b] = outcome if parted or outcome == "guard" else "keep"
                if evidence:
                    verdict.p_values[layer, a, b] = float(evidence[layer].p_value[a, b])

    def _comparisons(self, method: PlannedMethod) -> int:
        """Pairs that share an adapter now, over all layers, times the checks of the whole run."""
        pairs = sum(math.comb(len(group), 2) for groups in method.plan.layers for group in groups)
        first, every = method.check_steps()
        return max(1, pairs) * (1 + max(0, method.context.max_steps - first) // every)

    def _evidence(self, method: PlannedMethod, check: Check) -> list[Evidence]:
        """Add this check to the mean kernels, and weigh what they say by now."""
        if not self.kernels:
            self.kernels = [np.zeros_like(gram) for gram in check.grams]
            self.checks = [np.zeros((check.index.tasks, check.index.tasks)) for _ in check.grams]
        found = []
        for layer, (gram, relation) in enumerate(zip(check.grams, check.relations, strict=True)):
            kernel = normalised(gram, check.index, relation.norm / 2)
            known = np.isfinite(relation.cosine) | np.eye(check.index.tasks, dtype=bool)
            self.kernels[layer] += np.nan_to_num(kernel)
            self.checks[layer] += known
            count = self.checks[layer][np.ix_(check.index.task, check.index.task)]
            with np.errstate(invalid="ignore"):
                mean = self.kernels[layer] / np.where(count > 0, count, np.nan)
            found.append(weigh_evidence(mean, check.index, self.settings.max_interference))
        return found

    def state(self) -> dict[str, torch.Tensor]:
        """The sums over checks."""
        return {
            f"{name}/{layer}": torch.from_numpy(value)
            for name, values in (("kernels", self.kernels), ("checks", self.checks))
            for layer, value in enumerate(values)
        }

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The inverse of `state`."""
        layers = sum(name.startswith("kernels/") for name in tensors)
        self.kernels = [tensors[f"kernels/{layer}"].numpy().copy() for layer in range(layers)]
        self.checks = [tensors[f"checks/{layer}"].numpy().copy() for layer in range(layers)]
