"""Which tasks should share one adapter: propose groups, have them trained, learn from what came out, propose again.

With the same partition in every layer the groups of a plan never meet, so a group is trained once, and the value of a
plan is the sum over its groups. Tasks are numbers, groups masks (`statistics.partitions`). For a task t in a group G
of n > 1 tasks the gain y(G, t) = score of t in G - score of t alone is predicted as

    y(G, t)  =  sum over s in G without t of  (c * a(s, t) + w(s, t)) / sqrt(n - 1)

with a measure a of how much s helps t as the prior, and w for what the trained groups say beyond it. The root says that
a group of three gains about 1.4 times what the mean of its pairs says, as it was measured.
a(s, t) are a measure's values, those of a target divided by their spread over its sources, as they have units of their
own. c is fitted to the gains that are known, held near `START` while these are few; w by ridge regression to what is
left, for each target on its own. A gain that was measured is taken as it is.

Sources: group values from pairs as in Standley et al. 2020, "Which Tasks Should Be Learned Together in Multi-task
Learning?", and Fifty et al. 2021; a linear surrogate on membership as in Li et al. 2023, "Boosting Multitask Learning
on Graphs through Higher-Order Task Affinities". What is added is that a proposal counts only once it was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptershare_cli.statistics.climb import climb
from adaptershare_cli.statistics.partitions import (
    EXACT_TASKS,
    Partition,
    any_partition,
    best_partition,
    best_with,
    members_of,
)

START = 0.01  # the gain, while nothing is known, from sources that lie one spread above no help: a point
START_WEIGHT = 4.0  # how many gains that counts as
RIDGE = 0.5
DRAWS = 1000  # random partitions that are drawn before it is given up that one can be afforded
Gains = Mapping[int, np.ndarray]  # a group's mask -> gain (T,) of each of its tasks over being alone, NaN for others
Train = Callable[[Sequence[int]], Gains]


@dataclass(frozen=True)
class Round:
    """One proposal: the partition, its predicted value, the groups that were trained for it, and the budget spent."""

    partition: Partition
    predicted: float
    trained: tuple[int, ...]
    spent: int


@dataclass(frozen=True)
class Found:
    """The best partition of which every group was trained, its value (all tasks alone: 0), and how it was found."""

    partition: Partition
    value: float
    rounds: tuple[Round, ...]
    gains: Gains


def search(
    measure: np.ndarray,
    train: Train,
    budget: int,
    scale: bool = False,
    random: np.random.Generator | None = None,
) -> Found:
    """Find a partition with a high sum of gains, by training groups of `budget` tasks in all at most.

    `measure` (T, T) is a(s, t), row = source, column = target; what is unknown (NaN) says nothing. `train(masks)` gives
    the gains in groups of two tasks or more. Each task alone counts as trained, and as T of the budget. With `scale` a
    target's gains count divided by their root mean square over the groups so far (while it has none: by `START`).
    With a generator the partitions that are tried are `random` ones instead: the baseline.
    """
    count = len(measure)
    prior, spent = scaled(measure), count
    known: dict[int, np.ndarray] = {}
    rounds: list[Round] = []
    while True:
        values = _Values(fit(prior, known), known, gain_weights(known, count, scale), budget - spent)
        proposal = values.propose() if random is None else values.draw(random)
        fresh = values.affordable(proposal) if proposal is not None else []
        if proposal is None or not fresh:
            break
        known |= train(fresh)
        spent += sum(mask.bit_count() for mask in fresh)
        rounds.append(Round(proposal, sum(map(values, proposal)), tuple(fresh), spent))
    best, value = best_trained(known, gain_weights(known, count, scale))
    return Found(best, value, tuple(rounds), known)


def best_trained(known: Gains, weights: np.ndarray) -> tuple[Partition, float]:
    """The best partition of which every group was trained, by weighted gains, and its value (all alone: 0)."""
    nothing = np.zeros((len(weights), len(weights)))
    values = _Values(Model(nothing, 0.0, nothing), known, weights, 0)
    best = values.best()
    return best, sum(map(values, best))


def without_optimism(ways: Sequence[tuple[Gains, Gains]], weights: np.ndarray) -> float:
    """What the best trained partition is worth on rows that did not choose it.

    `ways` are the gains on rows that choose and on rows that value the choice: one half and the other, both ways; the
    answer is the mean over them. Half as many rows choose worse, so it is rather a little too low.
    """

    def value(chosen: Gains, valued: Gains) -> float:
        groups = [mask for mask in best_trained(chosen, weights)[0] if mask in valued]  # alone: no gain
        return float(sum(np.nansum(valued[mask] * weights) for mask in groups))

    return sum(value(chosen, valued) for chosen, valued in ways) / len(ways)


def gain_weights(known: Gains, count: int, scale: bool) -> np.ndarray:
    """How much a gain of each target counts (T,): as in `search`, with `scale` or without."""
    if not scale:
        return np.ones(count)
    gains = np.array([*known.values()]).reshape(-1, count)
    squares, seen = np.nansum(gains**2, axis=0), np.isfinite(gains).sum(axis=0)
    spread = np.sqrt(squares / np.maximum(seen, 1))
    return 1 / np.where(spread > 0, spread, START)


def scaled(measure: np.ndarray) -> np.ndarray:
    """A measure's values (T, T), each target's divided by their spread over its sources; 0 where that is unknown."""
    values = np.array(measure, dtype=float)
    np.fill_diagonal(values, np.nan)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1))
    return np.divide(filled, spread, out=np.zeros_like(filled), where=known & (spread > 0))


@dataclass(frozen=True)
class Model:
    """A prediction of gains: the `prior` (T, T), the factor `c` on it, and `weights` (T, T) by source and target."""

    prior: np.ndarray
    c: float
    weights: np.ndarray

    def gains(self, mask: int) -> np.ndarray:
        """The predicted gain (T,) of each task of a group, 0 for a task alone; NaN for tasks that are not in it."""
        members = list(members_of(mask))
        inside = np.ix_(members, members)
        helps = (self.c * self.prior[inside] + self.weights[inside]) * ~np.eye(len(members), dtype=bool)
        found = np.full(len(self.prior), np.nan)
        found[members] = helps.sum(axis=0) / np.sqrt(max(1, len(members) - 1))
        return found


def fit(prior: np.ndarray, known: Gains) -> Model:
    """The model after these gains."""
    count = len(prior)
    seen = [
        (mask, target) for mask, gains in known.items() for target in members_of(mask) if gains[target] == gains[target]
    ]
    shares = np.zeros((len(seen), count))  # 1 / sqrt(n - 1) for each source
    for row, (mask, target) in enumerate(seen):
        sources = [source for source in members_of(mask) if source != target]
        shares[row, sources] = 1 / np.sqrt(len(sources))
    targets = np.array([target for _, target in seen], dtype=int)
    gains = np.array([known[mask][target] for mask, target in seen])
    expected = (shares * prior[:, targets].T).sum(axis=1)
    c = max(0.0, (START_WEIGHT * START + expected @ gains) / (START_WEIGHT + expected @ expected))
    weights = np.zeros((count, count))
    for target in range(count):
        own = targets == target
        left = gains[own] - c * expected[own]
        weights[:, target] = np.linalg.solve(shares[own].T @ shares[own] + RIDGE * np.eye(count), shares[own].T @ left)
    return Model(prior, c, weights)


class _Values:
    """What groups are worth: the weighted sum of their gains, measured where they are known, else predicted.

    -inf where a group is not known and has more tasks than are `left` in the budget.
    """

    def __init__(self, model: Model, known: Gains, weights: np.ndarray, left: int) -> None:
        self.model, self.known, self.weights, self.left = model, known, weights, left
        self.count = len(weights)
        self._found: dict[int, float] = {}

    def __call__(self, mask: int) -> float:
        if mask not in self._found:
            self._found[mask] = self._value(mask)
        return self._found[mask]

    def _value(self, mask: int) -> float:
        if self.new(mask) and mask.bit_count() > self.left:
            return -np.inf
        gains = self.known[mask] if mask in self.known else self.model.gains(mask)
        return float(np.nansum(gains * self.weights))

    def new(self, mask: int) -> bool:
        """Whether the group would have to be trained: tasks alone are."""
        return mask not in self.known and mask.bit_count() > 1

    def best(self) -> Partition:
        """The best partition; all tasks alone is one, so there always is one."""
        if self.count > EXACT_TASKS:
            found = climb(self, self.count, self.known)
            assert found is not None
            return found
        return best_partition(self._table())[0]

    def propose(self) -> Partition | None:
        """The best partition if it has a group that is new, else the best one that has; None where none can have."""
        best = self.best()
        if any(map(self.new, best)):
            return best
        if self.count > EXACT_TASKS:
            return climb(self, self.count, self.known, wanted=self.new)
        return best_with(self._table(), [mask for mask in range(1, 1 << self.count) if self.new(mask)])

    def draw(self, random: np.random.Generator) -> Partition | None:
        """A random partition that has a new group, all of whose new groups can be trained; None if none is found."""
        for _ in range(DRAWS):
            partition = any_partition(self.count, random)
            cost = sum(mask.bit_count() for mask in partition if self.new(mask))
            if 0 < cost <= self.left:
                return partition
        return None

    def _table(self) -> np.ndarray:
        return np.array([0.0, *map(self, range(1, 1 << self.count))])

    def affordable(self, partition: Partition) -> list[int]:
        """The new groups of a partition, the most valuable first, as far as what is left of the budget reaches."""
        left, found = self.left, []
        for mask in sorted(filter(self.new, partition), key=self, reverse=True):
            if mask.bit_count() <= left:
                left -= mask.bit_count()
                found.append(mask)
        return found
