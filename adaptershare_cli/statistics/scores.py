"""How good measures are: each scored against measured transfer, with intervals, a null and a ceiling.

A measure is a matrix x[s, t] (row = source, column = target, NaN unknown); the truth is y[i, s, t], one matrix a seed
i, for example the gain on t of training on s first. All scores are of x against the mean truth over the seeds.

**Scores.** Those of `ranking.RANKING_SCORES`, one a target and their mean over the targets that have one; and
`pearson`, over all cells of the matrix.

**Interval** (`low`, `high`): 2.5th and 97.5th percentile of a bootstrap. Targets and seeds are drawn with replacement,
independently, the candidates of a target stay as they are: it says what other targets and seeds would have given,
among the same sources. For one target alone seeds are drawn. For `pearson` tasks are drawn, rows and columns together
(the vertex bootstrap of Snijders & Borgatti 1999; cells between copies of one task are left out), and seeds. Drawn
seeds hold fewer different ones, so their mean is noisier, and the interval of a score that noise lowers lies too low.

**Null** (`null_mean`, `null_low`, `null_high`, `p_value`): the same score for random measures, namely the measure with
its tasks' names permuted. Such a measure knows nothing of the tasks and yet has the same ties and the same favoured
sources, so a tie-ridden measure is not held against a smooth one. All permutations if there are at most `draws`, else
as many random ones. `p_value` is the one-sided share that is at least as good (least: 1 / T!, or 1 / (1 + draws)); for
`pearson` it is Mantel's, by more permutations (`mantel.mantel`). One a score, not corrected for their number.

**Ceiling**: the seeds are split in halves (3 against 2 where their number is odd), and the mean truth of one half is
scored as if it were a measure against the other half; the mean over all splits and both directions. That is what
repeating brute force at half the seeds would score. It is the *plain* split half, since the correction of Spearman and
Brown exists for correlations alone, and the column is to be comparable over all scores. It is a low ceiling: both
halves are noisier than the whole truth, and a measure without noise can exceed it. So `pearson` and `spearman` have
a `ceiling_upper`, what a measure without any noise is expected to reach against the mean of all seeds: with r the
ceiling, Spearman-Brown gives the reliability of the whole, and a true score correlates by its square root,

    ceiling_upper = sqrt(2 r / (1 + r)),     0 for r <= 0          (Spearman 1910, Brown 1910; approximate for ranks)

**Cost**: `cost_share` is handed in: what the measure costs as a share of brute force, in examples processed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.statistics.mantel import cell_correlation, mantel, permutation_p, permuted, task_permutations
from adaptershare_cli.statistics.matrices import known_pairs
from adaptershare_cli.statistics.missing import known_interval, known_mean, or_none
from adaptershare_cli.statistics.ranking import RANKING_SCORES, score_targets

HIGHER_IS_BETTER = {name: score.higher_is_better for name, score in RANKING_SCORES.items()} | {"pearson": True}
SCORES = tuple(HIGHER_IS_BETTER)
CORRELATIONS = [name in ("spearman", "pearson") for name in SCORES]  # the scores that Spearman-Brown holds for
BOOTSTRAP_DRAWS = 1000
Row = dict[str, Any]
SPLITS = 50  # at most so many splits of the seeds


def score_measures(
    measures: Mapping[str, np.ndarray],
    truth: np.ndarray,
    tasks: Sequence[str],
    against: str,
    cost_shares: Mapping[str, float] | None = None,
    draws: int = 200,
    seed: int = 0,
) -> pa.Table:
    """Score every measure against the truth (formulas in the module's docstring).

    `measures` are (tasks, tasks) by name, `truth` is (seeds, tasks, tasks), NaN where unknown; diagonals are left out.
    `against` names the truth. `cost_shares` are by measure, null for those it lacks. `draws` is the number of
    random measures of the null. Returns `schemas.SCORES`: for each measure a row a score over all targets (`target`
    null), then a row a score and target. Raises ValueError for shapes that do not fit.
    """
    truth = np.asarray(truth, dtype=float)
    square = (len(tasks), len(tasks))
    if truth.ndim != 3 or truth.shape[1:] != square or not len(truth):
        raise ValueError(f"the truth must be (seeds, tasks, tasks), not {truth.shape}, for {len(tasks)} tasks")
    ceiling = _ceiling(truth, seed)
    rows: list[Row] = []
    for name, values in measures.items():
        values = np.asarray(values, dtype=float)
        if values.shape != square:
            raise ValueError(f"{name}: the matrix must be {square}, not {values.shape}")
        columns = _score(values, truth, draws, seed) | ceiling
        fixed: Row = {"measure": name, "against": against, "cost_share": (cost_shares or {}).get(name)}
        rows += _rows(fixed, columns, tasks)
    return pa.Table.from_pylist(rows, schema=schemas.SCORES)


def _score(values: np.ndarray, truth: np.ndarray, draws: int, seed: int) -> dict[str, np.ndarray]:
    """All but the ceiling: sheets by column."""
    mean_truth = known_mean(truth, axis=0)
    observed = _sheet(values, mean_truth)
    low, high = _bootstrap(values, truth, seed)
    orders, exact = task_permutations(len(values), draws, draws, derive_seed(seed, "null"))
    null = np.array([_sheet(random, mean_truth) for random in permuted(values, orders)])
    null_low, null_high = known_interval(null)
    sign = np.where(list(HIGHER_IS_BETTER.values()), 1.0, -1.0)
    p_value = np.full(observed.shape, np.nan)
    for place in np.ndindex(observed.shape):
        p_value[place] = permutation_p(float((observed * sign)[place]), (null * sign)[:, *place], exact)
    p_value[0, SCORES.index("pearson")] = mantel(values, mean_truth, seed=derive_seed(seed, "mantel")).p_value
    known = known_pairs(values, mean_truth)
    pairs = np.broadcast_to(np.array([known.sum(), *known.sum(axis=0)])[:, None], observed.shape)
    scored = ~np.isnan(observed[1:])
    scored[:, SCORES.index("pearson")] = known.any(axis=0)
    columns = {
        "value": observed, "low": low, "high": high, "null_mean": known_mean(null, axis=0), "null_low": null_low,
        "null_high": null_high, "p_value": p_value,
    }  # fmt: skip
    # Draws may have a score that the measure itself has not (another mean truth has both signs): not of this measure.
    columns = {name: np.where(np.isnan(observed), np.nan, sheet) for name, sheet in columns.items()}
    return columns | {"targets": np.vstack([scored.sum(axis=0), scored.astype(int)]), "pairs": pairs}


def _sheet(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Every score of a measure: (1 + tasks, scores). The first row is over all targets; pearson is there alone."""
    return _assemble(score_targets(values, truth), cell_correlation(values, truth))


def _assemble(of_targets: np.ndarray, pearson: np.ndarray) -> np.ndarray:
    """(..., tasks, ranking scores), (...) -> (..., 1 + tasks, scores)."""
    ranking = np.concatenate([known_mean(of_targets, axis=-2)[..., None, :], of_targets], axis=-2)
    whole = np.full((*ranking.shape[:-1], 1), np.nan)
    whole[..., 0, 0] = pearson
    return np.concatenate([ranking, whole], axis=-1)


def _bootstrap(values: np.ndarray, truth: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of the interval of each score: two sheets."""
    generator = np.random.default_rng(derive_seed(seed, "bootstrap"))
    seeds, tasks = truth.shape[:2]
    drawn_seeds = np.sort(generator.integers(seeds, size=(BOOTSTRAP_DRAWS, seeds)), axis=1)
    drawn = generator.integers(tasks, size=(BOOTSTRAP_DRAWS, tasks))
    different, place = np.unique(drawn_seeds, axis=0, return_inverse=True)
    truths = np.array([known_mean(truth[chosen], axis=0) for chosen in different])
    of_targets = np.array([score_targets(values, of_seeds) for of_seeds in truths])[place.reshape(-1)]

    copies = drawn[:, :, None] == drawn[:, None, :]
    drawn_truth = np.take_along_axis(
        np.take_along_axis(truths[place.reshape(-1)], drawn[:, :, None], axis=1), drawn[:, None, :], axis=2
    )
    pearson = cell_correlation(np.where(copies, np.nan, permuted(values, drawn)), drawn_truth)
    resampled = np.take_along_axis(of_targets, drawn[:, :, None], axis=1)
    sheets = _assemble(of_targets, pearson)
    sheets[:, 0, :-1] = known_mean(resampled, axis=1)
    if seeds == 1:  # then nothing was drawn for a target alone, nor for the mean of one target
        sheets[:, 1:] = np.nan
        sheets[:, 0, :-1][:, (~np.isnan(of_targets[0])).sum(axis=0) < 2] = np.nan
    return known_interval(sheets)


def _ceiling(truth: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The ceiling's two columns: sheets of the plain split half, and of its Spearman-Brown bound for correlations."""
    halves = _splits(len(truth), np.random.default_rng(derive_seed(seed, "splits")))
    if not halves:
        nothing = np.full((1 + truth.shape[1], len(SCORES)), np.nan)
        return {"ceiling": nothing, "ceiling_upper": nothing}
    means = [[known_mean(truth[list(half)], axis=0) for half in pair] for pair in halves]
    ceiling = known_mean(np.array([_sheet(one, other) for one, other in means]), axis=0)
    reliable = np.clip(ceiling, 0, None)
    upper = np.where(CORRELATIONS, np.sqrt(2 * reliable / (1 + reliable)), np.nan)
    return {"ceiling": ceiling, "ceiling_upper": np.where(np.isnan(ceiling), np.nan, upper)}


def _splits(seeds: int, generator: np.random.Generator) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Splits of the seeds in halves, in both directions; none for one seed."""
    if seeds < 2:
        return []
    size = seeds // 2
    if math.comb(seeds, size) <= SPLITS:
        chosen = list(combinations(range(seeds), size))
    else:
        chosen = [tuple(sorted(generator.permutation(seeds)[:size].tolist())) for _ in range(SPLITS)]
    pairs = [(half, tuple(set(range(seeds)) - set(half))) for half in chosen]
    return list(dict.fromkeys([*pairs, *((other, half) for half, other in pairs)]))


def _rows(fixed: Row, columns: dict[str, np.ndarray], tasks: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for row, target in enumerate([None, *tasks]):
        for place, score in enumerate(SCORES):
            if target is None or score in RANKING_SCORES:
                cells = {name: or_none(sheet[row, place].item()) for name, sheet in columns.items()}
                rows.append({**fixed, "target": target, "score": score, **cells})
    return rows
