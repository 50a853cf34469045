"""Of stage `correlate`: which tasks to train along with a target, as an artefact of its own.

The procedures of `correlation.selection` ask what a set of tasks does for the target; here the answer is a training a
seed, as the runs were trained, with as many updates on each task as the truth's. Scores are of select rows; those of
scored splits are recorded beside them, and nothing is decided by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.reporting.measure_tables import selection_steps_table
from adaptershare_cli.runs.context import ensure
from adaptershare_cli.settings import SelectionSettings, non_default
from adaptershare_cli.statistics.scores import task_matrix
from adaptershare_cli.statistics.summary import answer_of
from adaptershare_cli.store.workspace import CODE_VERSIONS, Artefact, write_parquet
from adaptershare_cli.studies.procedures import (
    Candidate,
    Curve,
    Ranking,
    Step,
    baselines,
    fine_grained,
    random_rows,
    rank,
    selection_table,
    threshold,
    trial,
)
from adaptershare_cli.studies.replicates import Frame
from adaptershare_cli.studies.trainings import (
    Runs,
    announce_trainings,
    make_trainings,
    training_request,
    training_scores,
    trainings_cost,
    trial_curves,
)

ROW_SHARE = 0.5  # of fg, where neither a share nor a threshold is given


def check_targets(settings: SelectionSettings, tasks: list[str]) -> None:
    """Raise UserError where a target is not a task of the runs."""
    for target in settings.targets:
        if target not in tasks:
            raise UserError(
                f"{target!r} is no task of the run", where="--target", fix=f"Its tasks: {', '.join(tasks)}."
            )


@dataclass
class _Trials:
    """Answers what a set does for the target by training on it, once a seed. `runs` are those that were asked for."""

    frame: Frame
    target: str
    seeds: tuple[int, ...]
    steps: int
    name: str
    runs: Runs = field(default_factory=dict)
    known: dict[tuple[Training, ...], Curve] = field(default_factory=dict)

    def trainings(self, candidate: Candidate) -> list[Training]:
        """The trainings of a set. Its order does not count: equal sets are one training."""
        others = (task for task in self.frame.tasks if task in candidate.auxiliaries and task != self.target)
        tasks = (self.target, *others)
        rows = tuple((task, candidate.rows[task]) for task in tasks[1:]) if candidate.rows else ()
        return [Training(tasks, seed, self.steps, target=self.target, rows=rows) for seed in self.seeds]

    def announce(self, candidates: list[Candidate], unknown: list[Candidate]) -> None:
        """Say what trying all of these sets would cost, and as many as `unknown`, of at most their size."""
        wanted = [training for candidate in candidates for training in self.trainings(candidate)]
        more = [training for candidate in unknown for training in self.trainings(candidate)]
        announce_trainings(self.frame, self.name, list(dict.fromkeys(wanted)), at_most=True, unknown=more)

    def __call__(self, candidate: Candidate) -> Curve:
        wanted = tuple(self.trainings(candidate))
        if wanted not in self.known:
            self.known[wanted] = self._tried(candidate, wanted)
        return self.known[wanted]

    def _tried(self, candidate: Candidate, wanted: tuple[Training, ...]) -> Curve:
        found = make_trainings(self.frame, self.name, wanted, announced=True)
        self.runs |= found
        curves = trial_curves(found)
        main = tuple(sum(curve[step] for curve in curves) / len(curves) for step in sorted(curves[0]))
        scored = [scores[self.target] for scores in training_scores(found).values()]
        answer = Curve(main, scored=tuple(scored))
        rows = f" ({sum(map(len, candidate.rows.values()))} of their rows)" if candidate.rows else ""
        along = f"along with {', '.join(candidate.auxiliaries)}{rows}" if candidate.auxiliaries else "alone"
        self.frame.context.reporter.line(f"{self.name}: {self.target} {along}: {answer.best:.3f} on select rows")
        return answer


def select_tasks(
    frame: Frame,
    settings: SelectionSettings,
    target: str,
    by: Artefact,
    instances: Artefact | None,
    seeds: tuple[int, ...],
    steps: int,
) -> Artefact:
    """What to train along with `target` by the correlation `by` (`schemas.SELECTION`).

    `instances` is that of `gradts-instance`, which fg takes its rows by; `steps` are the updates on each task.
    """
    answer = answer_of(by.table("correlation.parquet").to_pandas())
    ranking = rank(task_matrix(answer, frame.tasks), frame.tasks, target)
    if not ranking:
        raise UserError(f"{by.name} knows no source of {target}", where="--measure", fix="Name another measure.")
    inputs = [by, *([instances] if instances is not None else [])]
    name = f"{settings.select}-{target}"
    request = {
        "kind": "selection",
        "kind_version": CODE_VERSIONS["selection"],
        "procedure": settings.select,
        "settings": {key: value for key, value in non_default(settings).items() if key not in ("select", "target")},
        "target": target,
        "tasks": list(frame.tasks),
        "prepro": {task: artefact.content for task, artefact in frame.prepared.items()},
        "correlations": [artefact.content for artefact in inputs],
    }
    trials = _Trials(frame, target, seeds, steps, f"{settings.select} for {target}")
    if settings.trains:
        ends = [Candidate(()), Candidate(frame.tasks)]
        request["trainings"] = [training_request(frame, item) for end in ends for item in trials.trainings(end)]

    def build(folder: Path) -> dict[str, Any]:
        found = _procedure(settings, ranking, trials, instances)
        write_parquet(selection_table(found), folder / "selection.parquet")
        (chosen,) = [step for step in found if step.chosen and step.procedure == settings.select]
        cost = trainings_cost(frame, list(trials.runs), scoring=True)
        return {
            "inputs": list(trials.runs.values()),
            "info": {
                "kind": "selection",
                "procedure": settings.select,
                "by": by.name,
                "target": target,
                "auxiliaries": list(chosen.candidate.auxiliaries),
                "rule": chosen.rule,
                "score": chosen.curve.best if chosen.curve else None,
                "seeds": list(seeds) if settings.trains else [],
                "target_steps": steps if settings.trains else None,
                "prepro": request["prepro"],
                "encoder": frame.first.info["encoder"],
                "tasks": list(frame.tasks),
                "runs": [run.label for run in frame.runs.values()],
                "cost": {"training": cost.to_json(), "trainings": len(trials.runs)},
                "plots": [],
                "summary": f"{target} along with {', '.join(chosen.candidate.auxiliaries) or 'none'}",
            },
        }

    return ensure(frame.context, "correlate", name, request, build, inputs)


def _procedure(
    settings: SelectionSettings, ranking: Ranking, trials: _Trials, instances: Artefact | None
) -> list[Step]:
    """The steps of the procedure and of its baselines; what may have to be trained is said before."""
    target, tasks = trials.target, trials.frame.tasks
    others, order = [task for task in tasks if task != target], tuple(ranking)
    ask = trials if settings.trains else None
    if settings.by_trial:
        sets = [Candidate(order[:size]) for size in range(len(order) + 1)]
    else:
        sets = [threshold(target, ranking, settings.threshold or 0.0)[0].candidate]
    if settings.trains:
        ends = [Candidate(()), Candidate(tuple(others))] if settings.baselines else []
        random = settings.random_sets * settings.baselines
        unknown = random + (1 + random) * (instances is not None)
        trials.announce([*sets, *ends], [Candidate(tuple(others))] * unknown)
    if settings.by_trial:
        steps = trial(target, ranking, trials, settings.stop_rule)
    else:
        steps = threshold(target, ranking, settings.threshold or 0.0, ask)
    chosen = next(step.candidate for step in steps if step.chosen)
    if instances is not None:
        taus, rows = row_taus(instances.table("instances.parquet").to_pandas(), target)
        share = settings.row_share or (None if settings.row_threshold is not None else ROW_SHARE)
        steps += fine_grained(target, ranking, chosen.auxiliaries, taus, rows, settings.row_threshold, share, ask)
        if settings.baselines:
            steps += random_rows(steps[-1], rows, trials, draws=settings.random_sets)
    if settings.baselines:
        steps += baselines(target, others, len(chosen.auxiliaries), trials, draws=settings.random_sets)
    return steps


def row_taus(table: pd.DataFrame, target: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """For each source the mean tau of its rows with the target over the seeds, and the rows' ids (`INSTANCES`)."""
    means = table[table["target"] == target].groupby(["source", "row"])["tau"].mean()
    of_source = {str(source): values.droplevel("source") for source, values in means.groupby("source")}
    return (
        {source: values.to_numpy(float) for source, values in of_source.items()},
        {source: values.index.to_numpy() for source, values in of_source.items()},
    )


def print_selection(frame: Frame, artefact: Artefact) -> None:
    """The steps, and how to train on what was selected."""
    reporter = frame.context.reporter
    reporter.table(selection_steps_table(artefact.table("selection.parquet").to_pandas()))
    if artefact.info["auxiliaries"]:
        name = artefact.path.name
        reporter.line(f"To train on it: adaptershare train-share --selection {name} (and options as for your run)")
