"""Of stage `correlate`: how well measures predict the measured truth, as an artefact of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adaptershare_cli.errors import UserError
from adaptershare_cli.measures.base import cost_share
from adaptershare_cli.reporting.measure_tables import empty_scores, score_table
from adaptershare_cli.statistics.scores import known_mean, score_measures, task_matrix
from adaptershare_cli.statistics.summary import answer_of
from adaptershare_cli.store.workspace import CODE_VERSIONS, Artefact, write_parquet
from adaptershare_cli.studies.pictures import ensure_drawn
from adaptershare_cli.studies.replicates import Frame

AXES = {"transfer": "gain of the target, trained on the source first", "pair": "gain of the target, trained together"}


def check_rankable(tasks: list[str]) -> None:
    """Raise UserError where the tasks are too few for a measure to rank anything."""
    if len(tasks) < 3:
        raise UserError(
            f"With two tasks ({', '.join(tasks)}) a target has one source, so there is nothing to rank",
            where="--against",
            fix="Name a run of three tasks or more.",
        )


def judge(frame: Frame, against: str, found: Mapping[str, Artefact], plot: bool) -> Artefact:
    """The scores (`schemas.SCORES`) of the correlations `found` by measure against the one that is the truth."""
    truth, context = found[against], frame.context
    judged = {name: artefact for name, artefact in found.items() if name != against}
    shares = {name: cost_share(artefact.info["cost"], against) for name, artefact in judged.items()}
    name = f"scores-{against}"
    request = {
        "kind": "scores",
        "kind_version": CODE_VERSIONS["scores"],
        "tasks": list(frame.tasks),
        "truth": truth.content,
        "measures": {measure: artefact.content for measure, artefact in judged.items()},
        "cost_shares": shares,
    }

    @cache  # for the scores and the pictures, and not at all where both are there
    def read() -> tuple[dict[str, pd.DataFrame], list[int], np.ndarray]:
        tables = {measure: artefact.table("correlation.parquet").to_pandas() for measure, artefact in judged.items()}
        answers = {measure: answer_of(table) for measure, table in tables.items()}
        return answers, *seed_matrices(truth.table("correlation.parquet").to_pandas(), frame.tasks)

    def build(folder: Path) -> dict[str, Any]:
        context.reporter.line(f"scores of {', '.join(judged)} against {against}, with intervals and a null")
        answers, seeds, values = read()
        matrices = {measure: task_matrix(answer, frame.tasks) for measure, answer in answers.items()}
        table = score_measures(matrices, values, frame.tasks, against, shares)
        write_parquet(table, folder / "scores.parquet")
        return {
            "kind": "scores",
            "against": against,
            "tasks": list(frame.tasks),
            "seeds": seeds,
            "runs": [run.label for run in frame.runs.values()],
            "scores": _headline(table.to_pandas()),
        }

    def draw(folder: Path) -> list[Path]:
        answers, _, values = read()
        scores = pd.read_parquet(folder / "scores.parquet")
        drawn = [_draw(frame, measure, answers[measure], values, against, scores, folder) for measure in answers]
        return [path for paths in drawn for path in paths]

    return ensure_drawn(context, name, request, build, draw, [*judged.values(), truth], plot)


def seed_matrices(table: pd.DataFrame, tasks: tuple[str, ...]) -> tuple[list[int], np.ndarray]:
    """The seeds of a correlation table, and their values over all layers: (seeds, tasks, tasks)."""
    of_seeds = table[table["seed"].notna()].groupby("seed")
    return [int(seed) for seed in of_seeds.groups], np.array([task_matrix(rows, tasks) for _, rows in of_seeds])


def _headline(scores: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Each measure's scores over all targets, for the summary: null where undefined."""
    whole = scores[scores["target"].isna()]
    return {
        str(measure): {row.score: None if pd.isna(row.value) else row.value for row in rows.itertuples()}
        for measure, rows in whole.groupby("measure", sort=False)
    }


def _draw(
    frame: Frame,
    measure: str,
    answer: pd.DataFrame,
    truth: np.ndarray,
    against: str,
    scores: pd.DataFrame,
    folder: Path,
) -> list[Path]:
    """The picture of one measure against the truth; none, which is said, where no pair is known to both."""
    from adaptershare_cli.reporting.plots import scatter_picture

    values = task_matrix(answer, frame.tasks)
    if not np.isfinite(values + known_mean(truth, axis=0))[~np.eye(len(values), dtype=bool)].any():
        frame.context.reporter.line(f"{measure}: no picture, as it knows no pair")
        return []
    row = scores[(scores["measure"] == measure) & (scores["score"] == "pearson")].iloc[0]
    note = "" if pd.isna(row["p_value"]) else f"Mantel\u2019s p = {row['p_value']:.3f}"
    return scatter_picture(
        values, truth, list(frame.tasks), folder / f"scatter-{measure}", f"{measure} against measured {against}",
        measure, AXES[against], task_matrix(answer, frame.tasks, "standard_error"), note,
    )  # fmt: skip


def print_scores(frame: Frame, artefact: Artefact) -> None:
    """The table, what it leaves out, and where the pictures are."""
    reporter, table = frame.context.reporter, artefact.table("scores.parquet").to_pandas()
    reporter.table(score_table(table))
    empty, sources = empty_scores(table), len(frame.tasks) - 1
    few = [name for name in empty if name.startswith("regret@") and int(name.partition("@")[2]) >= sources]
    if few:
        reporter.line(f"{', '.join(few)}: undefined here, with {sources} sources a target; left out (null)")
    if others := [name for name in empty if name not in few]:
        reporter.line(
            f"{', '.join(others)}: undefined here, as the truth is the same for every source (more --target-steps or "
            "seeds may part them); left out (null)"
        )
    for name in artefact.info["plots"]:
        if name.endswith(".png"):
            reporter.path(str(artefact.path / name))
