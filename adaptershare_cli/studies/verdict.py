"""Is a run's plan worth it? Trained with seeds that chose nothing, beside sharing all, keeping apart and random plans.

With one partition in all layers the groups of a plan never meet, so each group is trained once a seed, an artefact of
stage `groups`, and every plan of trained groups is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.methods.assembled.groups import TrainedGroups
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.reporting.verdict_text import words
from adaptershare_cli.runs.beginning import PreparedTasks
from adaptershare_cli.runs.context import ensure
from adaptershare_cli.runs.executors import open_executor
from adaptershare_cli.runs.past import StoredRun
from adaptershare_cli.runs.results import main_scores
from adaptershare_cli.runs.rows import task_info
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.settings import VerdictSettings, non_default
from adaptershare_cli.statistics.missing import or_none
from adaptershare_cli.statistics.partitions import (
    EXACT_TASKS,
    Partition,
    any_partition,
    best_partition,
    mask_of,
    members_of,
    same_sizes,
    sizes_of,
    sorted_partition,
)
from adaptershare_cli.statistics.verdict import Difference, answer, difference, place, residual_variance, spread
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord, VerdictRecord
from adaptershare_cli.store.workspace import CODE_VERSIONS
from adaptershare_cli.studies.replicates import Replicates
from adaptershare_cli.training.evaluation import score

PARTS = 20  # of the scored rows, for what is uncertain because of them
TRIES = 50  # random plans that are drawn for each that is wanted before it is given up that there are more


def plan_of(run: Artefact, tasks: Sequence[str]) -> Partition:
    """The groups of a run's plan. Raises UserError where it has none, or one that differs from layer to layer."""
    plan = RunRecord.of(run).plan
    layers = plan["layers"] if plan else []
    groups = [sorted_partition([mask_of([tasks.index(t) for t in group]) for group in layer]) for layer in layers]
    if len(set(groups)) != 1:
        why = "differs from layer to layer" if layers else "is none"
        raise UserError(
            f"The plan of {run.label} {why}, so its groups cannot be trained apart",
            where="--verdict",
            fix="Name a run of plan-search, shared or private with --run.",
        )
    return groups[0]


def verdict(replicates: Replicates, run: Artefact, settings: VerdictSettings, seeds: Sequence[int]) -> Artefact:
    """What the plan of `run` is worth (`schemas.PLANS`, `VerdictRecord`), made if it is missing.

    Raises UserError for one of the seeds that chose the plan.
    """
    tasks = replicates.tasks
    plan, own = plan_of(run, tasks), RunRecord.of(run).seed
    if own in seeds:
        raise UserError(
            f"Seed {own} chose the plan of {run.label}, so it cannot judge it",
            where="--seeds",
            fix=f"Give others, for example --seeds {own + 1},{own + 2}.",
        )
    plans = _Plans.drawn(plan, len(tasks), settings.random_plans)
    study = _Study(replicates, run, plans, tuple(seeds))
    request = {
        "kind": "verdict",
        "kind_version": CODE_VERSIONS["verdict"],
        "settings": non_default(settings),
        "tasks": list(tasks),
        "run": run.content,
        "seeds": list(seeds),
    }
    return ensure(replicates.context, "correlate", "verdict", request, study.build, [run])


@dataclass(frozen=True)
class _Plans:
    """The plans that are compared, by role; the chosen one may be that of another role too."""

    chosen: Partition
    shared: Partition
    private: Partition
    same_sizes: tuple[Partition, ...]
    any_sizes: tuple[Partition, ...]

    @classmethod
    def drawn(cls, chosen: Partition, count: int, random_plans: int) -> _Plans:
        """With random plans of the chosen one's sizes, and of any sizes where there are too few of those."""
        shared, private = ((1 << count) - 1,), tuple(1 << number for number in range(count))
        random = np.random.default_rng(derive_seed(0, "verdict", *chosen))
        known = {chosen, shared, private}
        same = [plan for plan in same_sizes(sizes_of(chosen), random, random_plans + 1) if plan not in known]
        others: dict[Partition, None] = {}
        for _ in range(TRIES * random_plans):
            if len(same) + len(others) >= random_plans:
                break
            if (plan := any_partition(count, random)) not in known | {*same}:
                others.setdefault(plan)
        return cls(chosen, shared, private, tuple(same[:random_plans]), tuple(others))

    @property
    def roles(self) -> list[tuple[str, Partition]]:
        """Every plan with its role."""
        named = [("chosen", self.chosen), ("shared", self.shared), ("private", self.private)]
        return [*named, *(("same sizes", p) for p in self.same_sizes), *(("any sizes", p) for p in self.any_sizes)]

    @property
    def groups(self) -> list[int]:
        """Every group of any of them once, those of the chosen plan first."""
        return list(dict.fromkeys(mask for _, plan in self.roles for mask in plan))


@dataclass
class _Study:
    """The making of a verdict."""

    replicates: Replicates
    run: Artefact
    plans: _Plans
    seeds: tuple[int, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.replicates.tasks

    def build(self, folder: Path) -> dict[str, Any]:
        """Train what is missing, compare, and write the table into `folder`."""
        self._announce()
        for seed in self.seeds:
            for mask in self.plans.groups:
                self._run(seed, mask)
        rows = [
            {"plan": self._names(plan), "role": role, "seed": seed, "task": task, "value": value}
            for role, plan in self.plans.roles
            for seed in self.seeds
            for task, value in self._of_tasks(plan, seed).items()
        ]
        write_parquet(pa.Table.from_pylist(rows, schemas.PLANS), folder / "plans.parquet")
        return {"info": self._record().to_json()}

    def _announce(self) -> None:
        """Say what it will cost at most."""
        trainings = sum(mask.bit_count() for mask in self.plans.groups)
        self.replicates.context.reporter.line(
            f"verdict: {len(self.plans.roles)} plans of {len(self.plans.groups)} groups, {trainings} task trainings "
            f"for each of the seeds {', '.join(map(str, self.seeds))}; those that are there are found again. It may be "
            "stopped at any time: the same command goes on."
        )

    @cached_property
    def _trained(self) -> dict[int, TrainedGroups]:
        replicates = self.replicates
        context = replicates.checked_context
        preparation = PreparedTasks(context, open_executor(context), list(replicates.prepared.values()))
        return {seed: TrainedGroups(preparation, context.training, self.tasks, seed) for seed in self.seeds}

    def _names(self, plan: Partition) -> list[list[str]]:
        return [self._group(mask) for mask in plan]

    def _group(self, mask: int) -> list[str]:
        return [self.tasks[number] for number in members_of(mask)]

    def _run(self, seed: int, mask: int) -> Artefact:
        run = self._trained[seed].of(self._group(mask))
        assert isinstance(run, StoredRun)
        return run.artefact

    @cached_property
    def _scores(self) -> dict[tuple[int, int], dict[str, float]]:
        """For each seed and group its tasks' main metrics, the mean over their scored splits."""
        for trained in self._trained.values():
            trained.of_all([(self._group(mask), "all") for mask in self.plans.groups])
        return {(seed, mask): main_scores(self._run(seed, mask)) for seed in self.seeds for mask in self.plans.groups}

    def _of_tasks(self, plan: Partition, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for mask in plan:
            found |= self._scores[seed, mask]
        return {task: found[task] for task in self.tasks}

    def _values(self, plan: Partition) -> np.ndarray:
        """The plan's value with each seed (S,)."""
        return np.array([np.mean([*self._of_tasks(plan, seed).values()]) for seed in self.seeds])

    def _without_parts(self, plans: Iterable[Partition]) -> dict[Partition, np.ndarray]:
        """Each plan's value without each part of the scored rows (J,), the mean over the seeds."""
        groups = dict.fromkeys(mask for plan in plans for mask in plan)  # plans have some in common
        of_groups = {
            mask: sum(
                self._jackknife(self._run(seed, mask), self.tasks[task])
                for seed in self.seeds
                for task in members_of(mask)
            )
            for mask in groups
        }
        values = len(self.tasks) * len(self.seeds)
        return {plan: np.asarray(sum(of_groups[mask] for mask in plan) / values) for plan in plans}

    def _jackknife(self, run: Artefact, task: str) -> np.ndarray:
        """A task's main metric in a run without each part of its scored rows (J,), from what the run predicted."""
        info = task_info(self.replicates.prepared[task])
        file = f"{KINDS[info.kind].predictions_table}.parquet"
        table = run.table(file, ["task", "split", "logits"]).to_pandas()
        found = []
        for split, rows in self.replicates.parts[task].scored.items():
            own = table[(table["task"] == task) & (table["split"] == split)]
            outputs = np.stack([*own["logits"]]).astype(np.float32)
            number = rows.same_texts() % PARTS
            kept = [np.flatnonzero(number != part) for part in range(PARTS)]
            scores = [score(info, outputs[rows.answers.of_rows(rest)], rows.take(rest)) for rest in kept]
            found.append([one[info.metrics[0]] or 0.0 for one in scores])
        return np.mean(found, axis=0)

    def _record(self) -> VerdictRecord:
        """The comparison."""
        plans = self.plans
        every = dict.fromkeys(plan for _, plan in plans.roles)
        values = {plan: self._values(plan) for plan in every}
        sigma = float(np.sqrt(residual_variance(np.array([*values.values()]))))
        parts = self._without_parts({plans.chosen, plans.shared, plans.private})

        def compare(one: Partition, other: Partition) -> Difference:
            return difference(values[one], values[other], sigma, parts[one] - parts[other])

        others = {"shared": plans.shared, "private": plans.private}
        found = {name: compare(plans.chosen, plan) for name, plan in others.items() if plan != plans.chosen}
        both = compare(plans.shared, plans.private)
        random = np.array([values[plan] for plan in (*plans.same_sizes, *plans.any_sizes)])
        spreads = spread(random.reshape(-1, len(self.seeds)))
        value = float(values[plans.chosen].mean())
        same = np.array([values[plan].mean() for plan in plans.same_sizes])
        percentile, p_value = place(value, same)
        best, best_value = self._best(values)
        record = VerdictRecord(
            tasks=list(self.tasks),
            seeds=list(self.seeds),
            runs=[self.run.label],
            plan=self._names(plans.chosen),
            answer=answer(found.get("shared"), found.get("private"), both, spreads),
            value=value,
            differences={name: _plain(item, len(self.seeds)) for name, item in {**found, "both": both}.items()},
            spread={name: or_none(number) for name, number in asdict(spreads).items()},
            random={"same sizes": len(same), "any sizes": len(plans.any_sizes),
                    "mean": float(same.mean()) if len(same) else None,
                    "percentile": or_none(percentile), "p_value": or_none(p_value)},
            best={"plan": self._names(best), "value": best_value},
        )  # fmt: skip
        return record.with_words(words(record))

    def _best(self, values: Mapping[Partition, np.ndarray]) -> tuple[Partition, float]:
        """The best plan of groups that were trained, with hindsight, and its value."""
        count = len(self.tasks)
        if count > EXACT_TASKS:
            found = max(values, key=lambda plan: values[plan].mean())
            return found, float(values[found].mean())
        sums = np.full(1 << count, -np.inf)
        for mask in self.plans.groups:
            sums[mask] = np.mean([sum(self._scores[seed, mask].values()) for seed in self.seeds])
        best, total = best_partition(sums)
        return best, total / count


def _plain(item: Difference, seeds: int) -> dict[str, float | None]:
    low, high = item.interval
    more_seeds, more_rows = item.needed(seeds)
    values = {"gain": item.gain, "low": low, "high": high, "seed_error": item.seed_error, "row_error": item.row_error}
    return {name: or_none(value) for name, value in {**values, "seeds": more_seeds, "rows": more_rows}.items()}
