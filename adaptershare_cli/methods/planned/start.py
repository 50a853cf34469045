"""The sharing plan of an earlier run, which --init-plan names, as what a run starts from; its weights are fresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods import METHODS
from adaptershare_cli.methods.planned.settings import PlanSettings
from adaptershare_cli.methods.start import Ask, Begin, Beginning, PastRun, Start, pick_run
from adaptershare_cli.settings import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPTION = "--init-plan"


@dataclass(frozen=True, kw_only=True)
class PlanStart(Start):
    """The plans of `run`; what the method gets is their `PlanHistory`, in the order of its own tasks."""

    run: PastRun

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """The plans that the run trained under."""
        from adaptershare_cli.sharing.history import read_history

        return Beginning(own=read_history(self.run.table("sharing").to_pandas(), tuple(infos)))


def begin(settings: PlanSettings, ask: Ask) -> Begin:
    """For each seed the run that --init-plan names (`pick_run`); nothing for a method that was given no plan."""
    words = settings.init_plan
    if words is None:
        if METHODS[ask.method].needs_plan:
            raise UserError(f"--method {ask.method} needs {OPTION}", fix="Name an earlier run, e.g. adaptershare.")
        return lambda preparation, seed: Start()
    joint = [run for run in ask.past_runs(words, OPTION) if run.stage == "train-share" and run.record.plan]
    fitting = [run for run in joint if sorted(run.record.tasks) == sorted(ask.tasks)]
    if not fitting:
        others = "; ".join(f"{run.name}: {', '.join(run.record.tasks)}" for run in joint[-3:])
        raise UserError(
            f"No run that {OPTION} {words} names has the tasks {', '.join(ask.tasks)}",
            where=others or "no joint runs under a plan",
        )
    runs = {seed: pick_run(fitting, words, OPTION, seed) for seed in ask.seeds}
    for run in runs.values():
        _check_layers(run, ask, words)
    return lambda preparation, seed: _start(runs[seed])


def _start(run: PastRun) -> PlanStart:
    return PlanStart(request={"init_plan": run.content}, runs=(run,), info={"init_plan": run.label}, run=run)


def _check_layers(run: PastRun, ask: Ask, words: str) -> None:
    layers = len(run.record.plan["layers"])
    if layers != ask.encoder.layers:
        raise UserError(
            f"The plan of {run.name} has {layers} layers, this encoder has {ask.encoder.layers}",
            where=f"{OPTION} {words}, --model {ask.model}",
            fix="Name a run on an encoder with as many layers.",
        )
