"""The trainings, and the choice among them: 3 for each task, as many as a plan search makes by default."""

from __future__ import annotations

from adaptershare_cli.methods.assembled.groups import TrainedGroups, select_scores
from adaptershare_cli.methods.assembled.start import AssembledStart, Group, assemble
from adaptershare_cli.methods.shared_then_private.settings import SharedThenPrivateSettings
from adaptershare_cli.methods.start import Ask, Begin, PastRun, Preparation

CHOICES = ("shared", "further", "alone")  # of equal ones a task takes the first


def begin(settings: SharedThenPrivateSettings, ask: Ask) -> Begin:
    """All tasks together, each from there on alone, and each alone from the start; then a choice for each task."""
    return lambda preparation, seed: _start(ask, preparation, seed)


def _start(ask: Ask, preparation: Preparation, seed: int) -> AssembledStart:
    tasks = tuple(ask.tasks)
    groups = TrainedGroups(preparation, ask.training, tasks, seed)
    alone, together = groups.alone(), groups.of(tasks)
    further = preparation.train_further(together, groups.updates, seed)
    runs: dict[str, dict[str, PastRun]] = {
        task: dict(zip(CHOICES, (together, further[number], alone[number]), strict=True))
        for number, task in enumerate(tasks)
    }
    scores = {run.label: select_scores(run) for run in (together, *further, *alone)}
    values = {task: {name: scores[run.label][task] for name, run in of.items()} for task, of in runs.items()}
    chosen = {task: max(CHOICES, key=values[task].__getitem__) for task in tasks}
    sharing = tuple(task for task in tasks if chosen[task] == "shared")
    of_groups: dict[Group, PastRun] = {sharing: together} if sharing else {}
    of_groups |= {(task,): runs[task][name] for task, name in chosen.items() if name != "shared"}
    rows = [
        {"task": task, "choice": name, "value": values[task][name], "chosen": name == chosen[task], "run": run.label}
        for task in tasks
        for name, run in runs[task].items()
    ]
    return assemble(tasks, of_groups, [*alone, together, *further], {"choices": rows})
