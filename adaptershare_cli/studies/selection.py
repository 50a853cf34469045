"""Which tasks to train along with a target, by a measure, as an artefact of its own.

The procedures of `studies.procedures` ask what a set of tasks does for the target. The answer comes from a training for
each seed, trained as the runs were, with as many updates on each task as the truth has. It is a score on select rows;
that on scored splits is recorded beside it, and nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.gradts import GradTSSettings
from adaptershare_cli.measures.settings import MeasureSettings
from adaptershare_cli.measures.trainings import Training
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import ensure
from adaptershare_cli.settings import SelectionSettings, non_default
from adaptershare_cli.statistics.matrices import answer_of, task_matrix
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import SelectionRecord
from adaptershare_cli.store.workspace import CODE_VERSIONS
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
from adaptershare_cli.studies.replicates import Replicates
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


def over_all_rows(replicates: Replicates, settings: MeasureSettings) -> MeasureSettings:
    """The settings of the measure that rows are selected by, with samples enough for every train row.

    A row without a value would never be selected.
    """
    assert isinstance(settings, GradTSSettings)
    return replace(settings, samples=max(settings.samples, *(len(part.train) for part in replicates.parts.values())))


@dataclass
class _Trials:
    """Answers what a set does for the target by training on it, once for each seed.

    `runs` are the trainings that were asked for, `known` the answers.
    """

    replicates: Replicates
    target: str
    seeds: tuple[int, ...]
    steps: int
    name: str
    runs: Runs = field(default_factory=dict)
    known: dict[tuple[Training, ...], Curve] = field(default_factory=dict)

    def trainings(self, candidate: Candidate) -> list[Training]:
        """The trainings of a set, one for each seed. The order of a set does not count: equal sets are trained once."""
        others = (task for task in self.replicates.tasks if task in candidate.auxiliaries and task != self.target)
        tasks = (self.target, *others)
        rows = tuple((task, candidate.rows[task]) for task in tasks[1:]) if candidate.rows else ()
        return [Training(tasks, seed, self.steps, target=self.target, rows=rows) for seed in self.seeds]

    def announce(self, candidates: list[Candidate], unknown: list[Candidate]) -> None:
        """Say what trying these sets will cost at most; `unknown` stand for sets of at most their size, known later."""
        wanted = [training for candidate in candidates for training in self.trainings(candidate)]
        more = [training for candidate in unknown for training in self.trainings(candidate)]
        announce_trainings(self.replicates, self.name, list(dict.fromkeys(wanted)), at_most=True, unknown=more)

    def __call__(self, candidate: Candidate) -> Curve:
        wanted = tuple(self.trainings(candidate))
        if wanted not in self.known:
            self.known[wanted] = self._tried(candidate, wanted)
        return self.known[wanted]

    def _tried(self, candidate: Candidate, wanted: tuple[Training, ...]) -> Curve:
        runs = make_trainings(self.replicates, self.name, wanted, announced=True)
        self.runs |= runs
        curves = trial_curves(runs)
        main = tuple(sum(curve[step] for curve in curves) / len(curves) for step in sorted(curves[0]))
        scored = [scores[self.target] for scores in training_scores(runs).values()]
        answer = Curve(main, scored=tuple(scored))
        rows = f" ({sum(map(len, candidate.rows.values()))} of their rows)" if candidate.rows else ""
        along = f"along with {', '.join(candidate.auxiliaries)}{rows}" if candidate.auxiliaries else "alone"
        self.replicates.context.reporter.line(f"{self.name}: {self.target} {along}: {answer.best:.3f} on select rows")
        return answer


def select_tasks(
    replicates: Replicates,
    settings: SelectionSettings,
    target: str,
    by: Artefact,
    row_values: Artefact | None,
    seeds: tuple[int, ...],
    steps: int,
) -> Artefact:
    """What to train along with `target` by the correlation `by` (`schemas.SELECTION`).

    `row_values` is the correlation that holds a value of each row, if rows are selected too; `steps` are the updates on
    each task. Raises UserError where `by` knows no source of the target.
    """
    answer = answer_of(by.table("correlation.parquet").to_pandas())
    ranking = rank(task_matrix(answer, replicates.tasks), replicates.tasks, target)
    if not ranking:
        raise UserError(f"{by.name} knows no source of {target}", where="--measure", fix="Name another measure.")
    inputs = [by, *([row_values] if row_values is not None else [])]
    name = f"{settings.select}-{target}"
    request = {
        "kind": "selection",
        "kind_version": CODE_VERSIONS["selection"],
        "procedure": settings.select,
        "settings": {key: value for key, value in non_default(settings).items() if key not in ("select", "target")},
        "target": target,
        "tasks": list(replicates.tasks),
        "prepro": replicates.prepared_contents,
        "correlations": [artefact.content for artefact in inputs],
    }
    trials = _Trials(replicates, target, seeds, steps, f"{settings.select} for {target}")
    if settings.trains:
        ends = [Candidate(()), Candidate(replicates.tasks)]
        request["trainings"] = [training_request(replicates, item) for end in ends for item in trials.trainings(end)]

    def build(folder: Path) -> dict[str, Any]:
        steps_taken = _procedure(settings, ranking, trials, row_values)
        write_parquet(selection_table(steps_taken), folder / "selection.parquet")
        (chosen,) = [step for step in steps_taken if step.chosen and step.procedure == settings.select]
        cost = trainings_cost(replicates, list(trials.runs), scoring=True)
        record = SelectionRecord(
            procedure=chosen.procedure,
            by=by.name,
            target=target,
            auxiliaries=list(chosen.candidate.auxiliaries),
            rule=chosen.rule,
            score=chosen.curve.best if chosen.curve else None,
            seeds=list(seeds) if settings.trains else [],
            target_steps=steps if settings.trains else None,
            prepro=replicates.prepared_contents,
            encoder=replicates.record.encoder,
            tasks=list(replicates.tasks),
            runs=replicates.labels,
            cost={"training": cost.to_json(), "trainings": len(trials.runs)},
            summary=f"{target} along with {', '.join(chosen.candidate.auxiliaries) or 'none'}",
        )
        return {"inputs": list(trials.runs.values()), "info": record.to_json()}

    return ensure(replicates.context, "correlate", name, request, build, inputs)


def _procedure(
    settings: SelectionSettings, ranking: Ranking, trials: _Trials, row_values: Artefact | None
) -> list[Step]:
    """The steps of the procedure and of its baselines. What they may have to train is announced before."""
    target, tasks = trials.target, trials.replicates.tasks
    others, order = [task for task in tasks if task != target], tuple(ranking)
    ask = trials if settings.trains else None
    if settings.by_trial:
        sets = [Candidate(order[:size]) for size in range(len(order) + 1)]
    else:
        sets = [threshold(target, ranking, settings.threshold or 0.0)[0].candidate]
    if settings.trains:
        ends = [Candidate(()), Candidate(tuple(others))] if settings.baselines else []
        random = settings.random_sets * settings.baselines
        unknown = random + (1 + random) * (row_values is not None)
        trials.announce([*sets, *ends], [Candidate(tuple(others))] * unknown)
    if settings.by_trial:
        steps = trial(target, ranking, trials, settings.stop_rule)
    else:
        steps = threshold(target, ranking, settings.threshold or 0.0, ask)
    chosen = next(step.candidate for step in steps if step.chosen)
    if row_values is not None:
        taus, rows = row_taus(row_values.table("instances.parquet").to_pandas(), target)
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
