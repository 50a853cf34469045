"""How well measures predict a measured truth, as an artefact of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.measures.base import cost_share
from adaptershare_cli.parquet_files import read_parquet, write_parquet
from adaptershare_cli.statistics.matrices import answer_of, known_pairs, seed_matrices, task_matrix
from adaptershare_cli.statistics.missing import known_mean
from adaptershare_cli.statistics.scores import score_measures
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import CorrelationRecord, ScoresRecord
from adaptershare_cli.store.workspace import CODE_VERSIONS
from adaptershare_cli.studies.pictures import ensure_drawn
from adaptershare_cli.studies.replicates import Replicates


def check_rankable(tasks: list[str]) -> None:
    """Raise UserError where the tasks are too few for a measure to rank anything."""
    if len(tasks) < 3:
        raise UserError(
            f"With two tasks ({', '.join(tasks)}) a target has one source, so there is nothing to rank",
            where="--against",
            fix="Name a run of three tasks or more.",
        )


def judge(replicates: Replicates, against: str, correlations: Mapping[str, Artefact], plot: bool) -> Artefact:
    """The scores (`schemas.SCORES`) of the correlations, by measure, against that of them which is the truth."""
    truth, context, tasks = correlations[against], replicates.context, replicates.tasks
    judged = {name: artefact for name, artefact in correlations.items() if name != against}
    shares = {name: cost_share(CorrelationRecord.of(artefact).cost, against) for name, artefact in judged.items()}
    name = f"scores-{against}"
    request = {
        "kind": "scores",
        "kind_version": CODE_VERSIONS["scores"],
        "tasks": list(tasks),
        "truth": truth.content,
        "measures": {measure: artefact.content for measure, artefact in judged.items()},
        "cost_shares": shares,
    }

    @cache  # for the scores and the pictures, and not at all where both are there
    def read() -> tuple[dict[str, pd.DataFrame], list[int], np.ndarray]:
        tables = {measure: artefact.table("correlation.parquet").to_pandas() for measure, artefact in judged.items()}
        answers = {measure: answer_of(table) for measure, table in tables.items()}
        return answers, *seed_matrices(truth.table("correlation.parquet").to_pandas(), tasks)

    def build(folder: Path) -> dict[str, Any]:
        context.reporter.line(f"scores of {', '.join(judged)} against {against}, with intervals and a null")
        answers, seeds, values = read()
        matrices = {measure: task_matrix(answer, tasks) for measure, answer in answers.items()}
        table = score_measures(matrices, values, tasks, against, shares)
        write_parquet(table, folder / "scores.parquet")
        return ScoresRecord(
            against=against,
            tasks=list(tasks),
            seeds=seeds,
            runs=replicates.labels,
            scores=_over_all_targets(table.to_pandas()),
        ).to_json()

    def draw(folder: Path) -> list[Path]:
        answers, _, values = read()
        scores = read_parquet(folder / "scores.parquet").to_pandas()
        drawn = [_draw(replicates, measure, answers[measure], values, against, scores, folder) for measure in answers]
        return [path for paths in drawn for path in paths]

    return ensure_drawn(context, name, request, build, draw, [*judged.values(), truth], plot)


def _over_all_targets(scores: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Each measure's scores over all targets, for the summary: null where undefined."""
    whole = scores[scores["target"].isna()]
    return {
        str(measure): {row.score: None if pd.isna(row.value) else row.value for row in rows.itertuples()}
        for measure, rows in whole.groupby("measure", sort=False)
    }


def _draw(
    replicates: Replicates,
    measure: str,
    answer: pd.DataFrame,
    truth: np.ndarray,
    against: str,
    scores: pd.DataFrame,
    folder: Path,
) -> list[Path]:
    """The picture of one measure against the truth; none, which is said, where no pair is known to both."""
    from adaptershare_cli.reporting.plots import scatter_picture

    values = task_matrix(answer, replicates.tasks)
    if not known_pairs(values, known_mean(truth)).any():
        replicates.context.reporter.line(f"{measure}: no picture, as it knows no pair")
        return []
    row = scores[(scores["measure"] == measure) & (scores["score"] == "pearson")].iloc[0]
    note = "" if pd.isna(row["p_value"]) else f"Mantel\u2019s p = {row['p_value']:.3f}"
    return scatter_picture(
        values, truth, list(replicates.tasks), folder / f"scatter-{measure}", f"{measure} against measured {against}",
        measure, MEASURES[against].axis, task_matrix(answer, replicates.tasks, "standard_error"), note,
    )  # fmt: skip
