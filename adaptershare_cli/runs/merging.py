"""Adapters of tasks that were trained alone, merged in groups by what forward passes over select rows say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from adaptershare_cli.methods import METHODS
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.rescoring import SelectScores
from adaptershare_cli.schemas import MERGES
from adaptershare_cli.statistics.agglomeration import Group, agglomerate
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.workspace import GROUPS

if TYPE_CHECKING:
    import torch

    from adaptershare_cli.model.merging import Rule


def merge_adapters(
    context: StageContext, prepared: Sequence[Artefact], alone: Sequence[Artefact], rule: str, found: bool, seed: int
) -> Artefact:
    """The adapters of the tasks, merged by a rule of `model.merging` in groups that are found, or all into one.

    It is an artefact of stage `groups`: `merges.parquet` (`schemas.MERGES`), and for each task of a group of two or
    more its folder, with the merged adapter and its own head. `alone` are the runs of the tasks, in order.
    """
    request = {
        "rule": rule,
        "found": found,
        "merge_version": METHODS["merge"].code_version,
        "tasks": [[artefact.name, artefact.content] for artefact in prepared],
        "leak_scope": context.training.leak_scope,
        "runs": [run.content for run in alone],
        "seed": seed,
    }

    def build(folder: Path) -> dict[str, Any]:
        from adaptershare_cli.model.merging import RULES

        merging = _Merging(context, prepared, alone, RULES[rule], seed)
        groups = agglomerate(merging.tasks, merging.values) if found else [merging.tasks]
        merging.export(groups, folder)
        write_parquet(pa.Table.from_pylist(merging.rows(groups), MERGES), folder / "merges.parquet")
        return {"info": {"summary": f"{len(prepared)} tasks, {len(groups)} groups"}}

    return ensure(context, GROUPS, f"merged-{rule}", request, build, [*prepared, *alone])


class _Merging:
    """Trained tasks on one encoder, and each one's main metric on select rows with the adapters of groups merged."""

    def __init__(
        self, context: StageContext, prepared: Sequence[Artefact], alone: Sequence[Artefact], rule: Rule, seed: int
    ) -> None:
        from adaptershare_cli.model.stored import load_task

        self.scores = SelectScores(context, prepared, seed)
        self.tasks, self.rule, self.model = tuple(self.scores.infos), rule, self.scores.model
        self.start = self._adapter(self.tasks[0])  # with one seed all tasks start from the same adapter
        for task, run in zip(self.tasks, alone, strict=True):
            load_task(self.model, task, run.path / "tasks" / task)
        self.own = {task: self._adapter(task) for task in self.tasks}
        self.known: dict[Group, dict[str, float]] = {}

    def _adapter(self, task: str) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.model.bank.named_parameters(task)}

    def _fill(self, group: Group) -> None:
        """Give the tasks of a group its adapter: the merged one, or that of a task alone."""
        own = [self.own[task] for task in group]
        adapter = self.rule(self.start, own) if len(group) > 1 else own[0]
        for task in group:
            self.model.bank.fill(task, adapter)

    def values(self, group: Group) -> Mapping[str, float]:
        """Each task's main metric on select rows with the group's adapter; undefined is 0."""
        if group not in self.known:
            self._fill(group)
            self.known[group] = {task: self._score(task) for task in group}
        return self.known[group]

    def _score(self, task: str) -> float:
        return self.scores.main(task, self.scores.outputs(task), self.scores.rows[task])

    def export(self, groups: Sequence[Group], folder: Path) -> None:
        """Write the folders of all tasks that are not alone."""
        from adaptershare_cli.model.export import export_task

        for group in groups:
            self._fill(group)
            for task in group if len(group) > 1 else ():
                export_task(self.model, task, folder / "tasks" / task, {})

    def rows(self, groups: Sequence[Group]) -> list[dict[str, Any]]:
        """Rows of `schemas.MERGES`: each task alone, each group that was looked at, and those that were chosen."""
        apart = {task: self.values((task,))[task] for task in self.tasks}
        for group in groups:
            self.values(group)
        return [
            {"group": list(group), "task": task, "alone": apart[task], "value": value, "chosen": group in groups}
            for group, values in self.known.items()
            for task, value in values.items()
        ]
