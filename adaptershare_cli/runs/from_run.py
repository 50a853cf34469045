"""What `train-single --from-run` starts from: a task's trained adapter in an earlier run."""

from __future__ import annotations

from collections.abc import Sequence

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.start import Start, pick_run
from adaptershare_cli.methods.stored_adapter import adapter_start, check_adapters_of
from adaptershare_cli.model.folders import GENERATORS
from adaptershare_cli.runs.beginning import past_runs
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.settings import StartSettings

OPTION = "--from-run"


def starts_from_run(context: StageContext, start: StartSettings, seeds: Sequence[int]) -> dict[int, Start]:
    """For each seed the start from the adapter that --from-run and --init name (`pick_run`); none if not asked for.

    A group's adapters are those of any of its tasks. The generators of a HyperFormer run write an adapter without
    --init too, from a task embedding that is drawn anew. Raises UserError where there is no such adapter, or it was
    trained on another encoder or is of another shape.
    """
    words = start.from_run
    if words is None:
        for name, value in (("--init", start.init), ("--init-head", start.init_head)):
            if value:
                raise UserError(f"{name} needs {OPTION}", fix="Name the run that holds the adapter.")
        return {}
    runs = past_runs(context, words, OPTION)
    tasks = sorted({task for run in runs for task in run.record.tasks})
    init = start.init or (tasks[0] if len(tasks) == 1 else None)
    generators = all(GENERATORS in run.files for run in runs)
    if init not in tasks and not (init is None and generators):
        what = "Whose adapter is meant?" if init is None else f"{OPTION} {words} has no task {init!r}"
        raise UserError(what, where=f"{OPTION} {words}", fix=f"Give --init one of: {', '.join(tasks)}.")
    if init is None and start.init_head:
        raise UserError("--init-head needs --init", fix=f"Give --init one of: {', '.join(tasks)}.")
    fitting = [run for run in runs if init is None or init in run.record.tasks]
    starts: dict[int, Start] = {}
    for seed in seeds:
        run = pick_run(fitting, words, OPTION, seed)
        check_adapters_of(run, [init or run.record.tasks[0]], context.encoder, context.model, context.training, OPTION)
        starts[seed] = adapter_start(run, init, context.training, start.init_head, seed)
    return starts
