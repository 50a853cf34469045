"""What a run found: its final scores, and the tables that show what runs are worth side by side."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from adaptershare_cli.kinds import METRICS, metric_title, prediction_tables
from adaptershare_cli.runs.baselines import Baselines, Constants
from adaptershare_cli.runs.job import Job
from adaptershare_cli.runs.scored_by import scored_otherwise
from adaptershare_cli.runs.standing import standing_values
from adaptershare_cli.screen import CONSTANT, DEGENERATE, Screen
from adaptershare_cli.store.artefact import Artefact, request_key
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace

_TIE = 1e-9  # scores that differ by less are the same


def find_run(workspace: Workspace, job: Job) -> Artefact | None:
    """What running the job has made, if it has been run, and was scored by the metrics that its tasks have now."""
    run = workspace.find(job.stage, job.name, request_key(job.request(standing_values(workspace, job))))
    return None if run is None or scored_otherwise(run, job) else run


def run_results(run: Artefact, constants: Constants | None = None) -> list[dict[str, Any]]:
    """The final scores of a run on its scored splits, as rows of `schemas.METRICS` with the metrics' titles.

    Beside each value stands that of the `constant` prediction, None where it is undefined or not known.
    """
    rows = run.table("metrics.parquet").to_pylist()
    positive = RunRecord.of(run).positive or {}
    return [
        {
            **row,
            "metric": metric_title(row["metric"], positive.get(row["task"])),
            "constant": constant_score(row, constants or {}),
        }
        for row in rows
        if row["final"] and row["split"] != "select"
    ]


def main_scores(run: Artefact) -> dict[str, float]:
    """Each task's main metric at the end of a run, the mean over its scored splits; undefined counts as 0."""
    values: dict[str, list[float]] = {}
    for row in run_results(run):
        if row["main"]:
            values.setdefault(row["task"], []).append(row["value"] or 0.0)
    return {task: sum(scores) / len(scores) for task, scores in values.items()}


def check_results(run: Artefact) -> None:
    """Raise UserError where a run lacks what results are read from."""
    run_results(run)
    run.timing()


def degenerate_scores(run: Artefact, constants: Constants) -> dict[tuple[str, str], str]:
    """By task and scored split how its predictions tell nothing of the rows, in words; those that do are left out.

    They tell nothing where they are always the same, and no more than one of the `constants` where they score no
    better.
    """
    rows = run.table("metrics.parquet").to_pylist()
    main = {row["task"]: METRICS[row["metric"]] for row in rows if row["main"]}
    answers: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for file in (f"{name}.parquet" for name in prediction_tables()):
        if file in run.meta["files"]:
            columns = ["task", "split", "label", "prediction"]
            # Arrow's own grouping imports pandas.
            rows_of = zip(*(column.to_pylist() for column in run.table(file, columns).columns), strict=True)
            for (task, split, label, prediction), count in Counter(rows_of).items():
                answers.setdefault((task, split), {})[label, prediction] = count
    found = {place: main[place[0]].degenerate(of_split) for place, of_split in answers.items()}
    for row in rows:
        if row["main"] and row["final"] and (place := (row["task"], row["split"])) in answers:
            found[place] = found[place] or _no_better(row, constants)
    return {place: words for place, words in found.items() if words}


def _no_better(row: dict[str, Any], constants: Constants) -> str:
    """That a score is no better than that of the constant prediction, in words; "" if it is, or there is none."""
    least = constant_score(row, constants)
    if least is None or row["value"] is None or row["value"] > least + _TIE:
        return ""
    return f"no better than {constants[row['task'], row['split']].words} ({100 * least:.1f})"


def constant_score(row: dict[str, Any], constants: Constants) -> float | None:
    """What the constant prediction scores for a row of `schemas.METRICS`; None where undefined or not known."""
    constant = constants.get((row["task"], row["split"]))
    return None if constant is None else constant.scores.get(row["metric"])


def print_run(screen: Screen, runs: list[Artefact], title: str, baselines: Baselines) -> None:
    """A table of the main scores of runs: a column a method and seed, a row for each task and scored split.

    Runs of single tasks stand in one column, as those of a seed belong together. The last column of scores is what a
    constant prediction has.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    notes: dict[str, list[str]] = {}
    least: dict[str, dict[str, Any]] = {}
    for run in runs:
        record, constants = RunRecord.of(run), baselines.of(run)
        name = f"{record.method} seed {record.seed}"
        column = scores.setdefault(name, {})
        main = {f"{row['task']} {row['split']}": row for row in run_results(run, constants) if row["main"]}
        column |= main
        for (task, split), words in degenerate_scores(run, constants).items():
            column[f"{task} {split}"]["mark"] = DEGENERATE
            notes.setdefault(f"{DEGENERATE} {task} {split}, {words}", []).append(name)
        least |= {
            line: {"value": row["constant"]} for line, row in main.items() if (row["task"], row["split"]) in constants
        }
    shown = {**scores, **({CONSTANT: least} if least else {})}
    table = Table(title=title)
    table.add_column("task and split")
    for name in shown:
        table.add_column(name, justify="right")
    table.add_column("metric")
    for line in dict.fromkeys(line for column in scores.values() for line in column):
        metric = next(column[line]["metric"] for column in scores.values() if line in column)
        table.add_row(line, *(_cell(column.get(line)) for column in shown.values()), metric)
    screen.table(table)
    for what, names in notes.items():
        screen.line(f"{what}: {', '.join(names)}")


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    return ("n/a" if row["value"] is None else f"{100 * row['value']:.1f}") + row.get("mark", "")
