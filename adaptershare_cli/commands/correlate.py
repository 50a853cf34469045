"""Stage `correlate`: how tasks relate, by one or several measures; how good measures are; what to select by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import NO_SELECTION, has_use, measure_settings
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.reporting.relation_table import cost_line, indifference, relation_table
from adaptershare_cli.reporting.score_table import empty_scores, score_table
from adaptershare_cli.reporting.selection_table import steps_table
from adaptershare_cli.runs.cautions import few_checks
from adaptershare_cli.runs.choose import newest_run, select_runs
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.settings import SelectionSettings, check_settings
from adaptershare_cli.statistics.matrices import answer_of
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import CorrelationRecord, RunRecord, ScoresRecord, SelectionRecord
from adaptershare_cli.studies.correlation import correlate
from adaptershare_cli.studies.replicates import replicates_of
from adaptershare_cli.studies.scores import check_rankable, judge
from adaptershare_cli.studies.selection import check_targets, over_all_rows, select_tasks


def correlate_runs(
    context: StageContext,
    run_spec: str | None,
    names: list[str],
    options: Mapping[str, Any],
    plot: bool = False,
    seeds: Sequence[int] | None = None,
    model: str | None = None,
    runtime: Mapping[str, Any] | None = None,
    against: str | None = None,
    selection: SelectionSettings = NO_SELECTION,
    fitted: bool = False,
) -> list[Artefact]:
    """One correlation artefact a measure, from the chosen runs (the newest train-share run by default).

    `names` are the measures (`wanted_measures`); with the truth `against` they are judged (`studies.scores`), and by
    the first of them tasks are selected if `selection` says so (`studies.selection`). Runs that differ in the seed
    alone count together, others have artefacts of their own. `options` are those of the measures that the user chose,
    `seeds` those of the trainings that are made (by default the runs' seeds), `model` and `runtime` what is to differ
    from the runs. Pictures are drawn if `plot`, heat maps `fitted` to their data or not. Raises UserError for an option
    that nothing chosen has a use for.
    """
    settings = measure_settings(names, options, selection)
    steps = options.get("target_steps")
    for checked in (*settings.values(), selection, TunedSettings(target_steps=steps)):
        check_settings(checked)
    _refuse_useless(names, seeds, model, runtime or {}, selection)
    if model is not None:
        locate_encoder(model)  # that it is there is known now, that it is the runs' own only later
    if run_spec is None:
        runs = [newest_run(context.workspace, context.reporter)]
    else:
        runs = select_runs(context.workspace, run_spec, passed_over=context.reporter.fault)
        context.reporter.line(f"from {', '.join(run.label for run in runs)}")
    tasks = _common_tasks(runs)
    check_targets(selection, tasks)
    if against is not None:
        check_rankable(tasks)
    made: dict[str, Artefact] = {}  # what does not depend on the runs is the same for all of them
    groups = replicates_of(context, runs, model, runtime or {})
    for replicates in groups:
        if len(groups) > 1:
            context.reporter.line(f"of {', '.join(run.path.name for run in replicates.runs.values())}:")
        own_seeds = tuple(seeds or replicates.runs)
        by_measure: dict[str, Artefact] = {}
        for name in names:
            own = settings[name]
            if name == selection.row_measure and "samples" not in options:
                own = over_all_rows(replicates, own)
            artefact = by_measure[name] = correlate(replicates, name, own, own_seeds, plot, fitted)
            if artefact.label not in made:
                made[artefact.label] = artefact
                print_correlation(context, artefact)
        if against is not None:
            scores = judge(replicates, against, by_measure, plot)
            made[scores.label] = scores
            print_scores(context, scores)
        for target in selection.targets:
            row_values = by_measure[selection.row_measure] if selection.row_measure else None
            chosen = select_tasks(
                replicates, selection, target, by_measure[names[0]], row_values, own_seeds,
                steps or replicates.steps_each,
            )  # fmt: skip
            made[chosen.label] = chosen
            print_selection(context, chosen)
    return list(made.values())


def _refuse_useless(
    names: list[str],
    seeds: Sequence[int] | None,
    model: str | None,
    runtime: Mapping[str, Any],
    selection: SelectionSettings,
) -> None:
    """Refuse options that have no effect on any of the chosen measures, nor on the trainings of a selection."""
    if seeds is not None and not has_use(names, "seeds", selection):
        raise UserError(
            f"--seeds has no effect on --measure {','.join(names)}",
            fix="It is for measures that make trainings; name runs of several seeds with --run.",
        )
    for option in (*(["model"] if model else []), *runtime):
        training_only = option in ("precision", "checkpoint_steps")
        if not has_use(names, option, selection):
            raise UserError(
                f"--{option.replace('_', '-')} has no effect on --measure {','.join(names)}",
                fix=f"It is for measures that {'make trainings' if training_only else 'run the encoder'}.",
            )


def _common_tasks(runs: Sequence[Artefact]) -> list[str]:
    """The tasks of all the runs. Raises UserError where they are not the same, or there is only one."""
    tasks = RunRecord.of(runs[0]).tasks
    for run in runs[1:]:
        others = RunRecord.of(run).tasks
        if sorted(others) != sorted(tasks):
            raise UserError(
                "The chosen runs hold different tasks",
                where=f"{runs[0].label}: {', '.join(tasks)}; {run.label}: {', '.join(others)}",
                fix="Name runs of the same tasks with --run.",
            )
    if len(tasks) < 2:
        raise UserError(
            f"{runs[0].label} has one task only, so there is nothing to relate", where="--run", fix="Name a joint run."
        )
    return tasks


def print_correlation(context: StageContext, artefact: Artefact) -> None:
    """Each task's nearest neighbour, what it cost to find out, and where the pictures are."""
    answer, record = answer_of(artefact.table("correlation.parquet").to_pandas()), CorrelationRecord.of(artefact)
    context.reporter.table(relation_table(artefact.name, answer, record.tasks, record.seeds, record.directed))
    if note := indifference(artefact.name, answer):
        context.reporter.line(note)
    checks = answer["checks"].max()
    if few := "" if pd.isna(checks) else few_checks(int(checks)):
        context.reporter.line(f"{artefact.name}: {few}")
    for note in record.notes or ():  # correlations of earlier versions have none
        context.reporter.line(note)
    context.reporter.line(cost_line(record.cost))
    _print_pictures(context, artefact, record.plots)


def print_scores(context: StageContext, artefact: Artefact) -> None:
    """The table, what it leaves out, and where the pictures are."""
    table, record = artefact.table("scores.parquet").to_pandas(), ScoresRecord.of(artefact)
    context.reporter.table(score_table(table))
    empty, sources = empty_scores(table), len(record.tasks) - 1
    few = [name for name in empty if name.startswith("regret@") and int(name.partition("@")[2]) >= sources]
    if few:
        context.reporter.line(f"{', '.join(few)}: undefined here, with {sources} sources a target; left out (null)")
    if others := [name for name in empty if name not in few]:
        context.reporter.line(
            f"{', '.join(others)}: undefined here, as the truth is the same for every source (more --target-steps or "
            "seeds may part them); left out (null)"
        )
    _print_pictures(context, artefact, record.plots)


def print_selection(context: StageContext, artefact: Artefact) -> None:
    """The steps, and how to train on what was selected."""
    context.reporter.table(steps_table(artefact.table("selection.parquet").to_pandas()))
    if SelectionRecord.of(artefact).auxiliaries:
        name = artefact.path.name
        context.reporter.line(
            f"To train on it: adaptershare train-share --selection {name} (and options as for your run)"
        )


def _print_pictures(context: StageContext, artefact: Artefact, plots: Sequence[str]) -> None:
    for name in plots:
        if name.endswith(".png"):
            context.reporter.path(str(artefact.path / name))
