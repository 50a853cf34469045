"""How well a measure ranks the sources of one target, and of all.

For a target t the candidates are the other tasks s of which both are known: the measure's value x[s] and the truth
y[s], for example what training on s first does for t. A score of one target looks at (x, y) alone, and the order of x
is all that counts: no score here changes when x is mapped by an increasing function.

Where x holds ties, NDCG and regret are the mean over all orders of the equals, so no task is favoured by its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from adaptershare_cli.statistics.matrices import known_pairs


def ndcg(values: np.ndarray, truth: np.ndarray) -> float:
    """Normalised discounted cumulative gain of the ranking by `values`, with gains y[s] - min(y).

        DCG = sum over ranks i = 1, 2, ... of gain_i / log2(1 + i),      NDCG = DCG / (DCG of the best ranking)

    Jaervelin & Kekaelaeinen 2002; for source tasks Vu et al. 2020 and Poth et al. 2021, whose relevance is the target's
    performance. Ours is a gain over not transferring, which may be negative, and a negative relevance would make the
    quotient meaningless. So gains are counted from the worst candidate. This is defined whenever the candidates differ,
    and neither the unit nor the zero of the truth matters. (Clipping at 0 would hang on where exactly 0 lies, which is
    itself noisy, and leave out targets that nothing helps; whether signs are right is what `sign_auc` asks.) Gains are
    linear, not 2^gain - 1, which would depend on the unit.

    A random ranking is far above 0, so read it beside the null. (n,), (n,) -> within [0, 1], or NaN if all of `truth`
    is equal or n < 2.
    """
    from sklearn.metrics import ndcg_score  # slow to import, and pictures use this module's other scores

    gains = truth - truth.min(initial=math.inf)
    if len(gains) < 2 or not gains.max() > 0:
        return math.nan
    return float(ndcg_score([gains / gains.max()], [values]))


def regret(values: np.ndarray, truth: np.ndarray, k: int) -> float:
    """What is lost by trying only the k candidates ranked first: max(y) - max(y of those k), in the truth's unit.

    Regret@k of Renggli et al. 2022 and Poth et al. 2021, but not divided by the best performance: the truth here is
    a gain, and the quotient of two gains near 0 says nothing. NaN if there are at most k candidates: then
    all are tried, whatever the ranking.

    With m places left for g equals of which the i-th best has truth y_(i), it is the best of a random choice of m that
    counts, P(y_(i) is the best chosen) = C(g - i, m - 1) / C(g, m). (n,), (n,) -> at least 0, or NaN for n <= k.
    """
    if k >= len(truth):
        return math.nan
    bound = np.sort(values)[::-1][k - 1]
    sure, equals = truth[values > bound], np.sort(truth[values == bound])[::-1]
    places = k - len(sure)
    ways = np.array([math.comb(len(equals) - i, places - 1) for i in range(1, len(equals) + 1)], dtype=float)
    best = np.maximum(equals, sure.max(initial=-math.inf))
    return float((truth.max() - best) @ (ways / ways.sum()))


def spearman(values: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's rank correlation; NaN if one side is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(values, truth).statistic) if _varied(values, truth) else math.nan


def weighted_kendall(values: np.ndarray, truth: np.ndarray) -> float:
    """Kendall's tau with hyperbolic weights: an exchange at the top counts most (Vigna 2015).

    Scipy's default, which weighs by the ranks of either side and takes the mean. NaN if one side is constant.
    """
    from scipy.stats import weightedtau

    return float(weightedtau(values, truth).statistic) if _varied(values, truth) else math.nan


def sign_auc(values: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a candidate that helps (y > 0) has a higher value than one that hurts (y < 0); ties count half.

    The area under the ROC curve (scikit-learn's `roc_auc_score`), computed as the Mann-Whitney statistic of scipy's
    ranks, which is twenty times as fast. Candidates with y = 0 do neither. NaN unless there are both kinds.
    """
    helps, hurts = int((truth > 0).sum()), int((truth < 0).sum())
    if not helps or not hurts:
        return math.nan
    from scipy.stats import rankdata  # slow to import, as scores that are there are only shown

    ranks = rankdata(values[truth != 0])
    return float((ranks[truth[truth != 0] > 0].sum() - helps * (helps + 1) / 2) / (helps * hurts))


def _varied(*sides: np.ndarray) -> bool:
    return all(len(side) > 1 and side.max() > side.min() for side in sides)


class RankingScore(NamedTuple):
    """A score of one target's ranking."""

    function: Callable[[np.ndarray, np.ndarray], float]
    higher_is_better: bool = True


RANKING_SCORES: dict[str, RankingScore] = {
    "ndcg": RankingScore(ndcg),
    "regret@1": RankingScore(partial(regret, k=1), higher_is_better=False),
    "regret@3": RankingScore(partial(regret, k=3), higher_is_better=False),
    "regret@5": RankingScore(partial(regret, k=5), higher_is_better=False),
    "spearman": RankingScore(spearman),
    "weighted-kendall": RankingScore(weighted_kendall),
    "sign-auc": RankingScore(sign_auc),
}


def score_targets(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Every score of every target.

    `values` and `truth` are (tasks, tasks), row = source, column = target, NaN where unknown; the diagonal is left
    out. Returns (tasks, scores) in the order of `RANKING_SCORES`, NaN where a score is undefined.
    """
    known = known_pairs(values, truth)
    columns = [(values[of_target, target], truth[of_target, target]) for target, of_target in enumerate(known.T)]
    return np.array([[score.function(x, y) for score in RANKING_SCORES.values()] for x, y in columns])
