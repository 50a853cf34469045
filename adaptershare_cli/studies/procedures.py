"""Which tasks to train along with a target: the procedures of GradTS (Ma et al., EMNLP 2021), and baselines.

The procedures know no training. Where they need to know what a set of auxiliary tasks does for the target, they *ask*:
a callable gets a `Candidate` and returns the target's `Curve`, its scores on *select* rows over that run. What they
return is a list of `Step`s, one a run, of which one is chosen; `selection_table` makes a table of them.

* `trial` (GradTS-trial): growing prefixes of the measure's order, until the target's score falls.
* `threshold` (GradTS-thres): all tasks with at least a value; nothing need be run.
* `fine_grained` (GradTS-fg): of given auxiliaries only the rows whose instance-level value is high.
* `baselines`: no auxiliary, all of them, and random sets of a given size; `random_rows`: as many rows at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.statistics.missing import or_none

StopRule = Literal["strict", "paper-code"]
Ranking = Mapping[str, float]  # auxiliary -> the measure's value for the target, in decreasing order


@dataclass(frozen=True)
class Candidate:
    """A set of auxiliaries to train along with the target, in the measure's order.

    `rows` are the train rows to keep of each auxiliary; None keeps all. The target's own rows are never filtered.
    """

    auxiliaries: tuple[str, ...]
    rows: Mapping[str, tuple[int, ...]] | None = None


@dataclass(frozen=True)
class Curve:
    """The target's scores on select rows at each evaluation of a run, in order; NaN where undefined.

    `main` is the metric that runs are compared by, `picked_by` the one that picks the best evaluation and, in the
    released code, the best run: the first that the task lists. They are the same metric unless given. `scored` is the
    main metric on the target's scored splits at the end, a seed an entry; it is recorded, and no procedure looks at it.
    Raises ValueError for no evaluation, or unequal lengths.
    """

    main: tuple[float, ...]
    picked_by: tuple[float, ...] = ()
    scored: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.main or len(self.picked_by) not in (0, len(self.main)):
            raise ValueError(f"a curve needs evaluations, as many of each metric: {self}")

    @property
    def _best(self) -> int:
        """The best evaluation's place: the first of equals, NaN never before a number."""
        return int(np.argmax([_above_nothing(value) for value in self.picked_by or self.main]))

    @property
    def best(self) -> float:
        """The main metric at the best evaluation."""
        return self.main[self._best]

    @property
    def best_picked_by(self) -> float:
        """The picking metric at the best evaluation."""
        return (self.picked_by or self.main)[self._best]

    @property
    def last(self) -> float:
        """The main metric at the last evaluation."""
        return self.main[-1]


Ask = Callable[[Candidate], Curve]


@dataclass(frozen=True)
class Step:
    """One candidate set of a procedure with its scores: see `schemas.SELECTION`."""

    target: str
    procedure: str
    rule: str | None
    number: int
    candidate: Candidate
    values: tuple[float, ...] | None = None
    curve: Curve | None = None
    chosen: bool = False
    thresholds: Mapping[str, float] | None = None
    available: Mapping[str, int] | None = None


def rank(values: np.ndarray, tasks: Sequence[str], target: str) -> dict[str, float]:
    """The other tasks by decreasing value for the target; ties keep the order of `tasks`, unknown ones are left out.

    `values` is (tasks, tasks), row = source, column = target, NaN unknown. Raises ValueError for an unknown target.
    """
    column = np.asarray(values, dtype=float)[:, tasks.index(target)]
    known = {task: float(value) for task, value in zip(tasks, column, strict=True) if task != target and value == value}
    return dict(sorted(known.items(), key=lambda item: -item[1]))


def trial(target: str, ranking: Ranking, ask: Ask, stop_rule: StopRule = "strict") -> list[Step]:
    """Train on growing prefixes of the ranking until the target's score falls, and choose the best (GradTS-trial).

    `strict` (default) compares best with best: step 0 is the target alone; step i adds the i-th auxiliary and is the
    last if its best score is below that of the step before (a NaN is below; above a NaN of step 0 is every number). The
    highest best score is chosen, of equals the smallest set, so the set may be empty.

    `paper-code` is the released code: step 0 is the first prefix, and the target alone is never run, so at least one
    auxiliary is chosen. It goes on while the *best* evaluation of this run is not below the *last* evaluation of the
    run before, both by the main metric: so it goes on after a fall that the end of the run before hides. A NaN on
    either side stops it. The evaluation, and then the run, is chosen by `Curve.picked_by`, and the run that stopped it
    may be the one. Of equals the one run last is taken (the code takes what the walk through its folders meets last,
    which is not defined).

    Nothing is chosen where no run has a score, except the target alone by `strict`. The steps end with the one that
    stopped it, if any.
    """
    if stop_rule not in ("strict", "paper-code"):
        raise ValueError(f"the stop rule must be 'strict' or 'paper-code', not {stop_rule!r}")
    strict = stop_rule == "strict"
    order = tuple(ranking)
    steps: list[Step] = []
    bar = -math.inf
    for size in range(0 if strict else 1, len(order) + 1):
        candidate = Candidate(order[:size])
        curve = ask(candidate)
        values = tuple(ranking[task] for task in candidate.auxiliaries)
        steps.append(Step(target, "trial", stop_rule, len(steps), candidate, values, curve))
        if size and not curve.best >= bar:  # False for a NaN on either side
            break
        bar = _above_nothing(curve.best) if strict else curve.last
    return _choose(steps, strict)


def _choose(steps: list[Step], strict: bool) -> list[Step]:
    """Mark the step with the highest score: of equals the first (strict) or the last."""
    scores = [(step.curve.best if strict else step.curve.best_picked_by) for step in steps if step.curve]
    known = [score for score in scores if score == score]
    if known:
        equals = [place for place, score in enumerate(scores) if score == max(known)]
        chosen = equals[0] if strict else equals[-1]
    else:
        chosen = 0 if strict else -1
    return [replace(step, chosen=place == chosen) for place, step in enumerate(steps)]


def threshold(target: str, ranking: Ranking, at_least: float, ask: Ask | None = None) -> list[Step]:
    """All tasks whose value is at least `at_least` (GradTS-thres), one step; it is run only if `ask` is given."""
    kept = tuple(task for task, value in ranking.items() if value >= at_least)
    candidate = Candidate(kept)
    values = tuple(ranking[task] for task in kept)
    rule = f"at least {at_least:g}"
    return [Step(target, "threshold", rule, 0, candidate, values, ask(candidate) if ask else None, chosen=True)]


def fine_grained(
    target: str,
    ranking: Ranking,
    auxiliaries: Iterable[str],
    taus: Mapping[str, np.ndarray],
    rows: Mapping[str, np.ndarray],
    at_least: float | None = None,
    keep: float | None = None,
    ask: Ask | None = None,
) -> list[Step]:
    """Keep those rows of each auxiliary that go well with the target (GradTS-fg): one step.

    `taus[a]` (n_a,) is the instance-level value of each train row of auxiliary a with the target's task-level one,
    `rows[a]` (n_a,) the rows' ids. Exactly one of two rules:

        at_least   theta for all:  keep tau >= theta
        keep = p   theta_a = the floor(n_a p)-th highest tau of a (at least the highest), keep tau >= theta_a

    so `keep` is a share of each auxiliary's rows (0 < p <= 1) whatever its scale, and rows that equal the last one kept
    stay too. A row with an unknown tau is never kept. An auxiliary of which no row is left is no longer in the
    candidate set, and recorded with 0 rows. Raises ValueError for both rules or none, a share out of range, or
    lengths that differ.
    """
    if (at_least is None) == (keep is None) or (keep is not None and not 0 < keep <= 1):
        raise ValueError(f"give at_least or keep, a share within (0, 1]: got {at_least} and {keep}")
    kept: dict[str, tuple[int, ...]] = {}
    bounds: dict[str, float] = {}
    for task in auxiliaries:
        tau, ids = np.asarray(taus[task], dtype=float), np.asarray(rows[task])
        if tau.shape != ids.shape:
            raise ValueError(f"{task}: {tau.shape} values for {ids.shape} rows")
        bounds[task] = at_least if at_least is not None else _share_bound(tau, keep or 0.0)
        kept[task] = tuple(ids[tau >= bounds[task]].tolist())
    used = {task: ids for task, ids in kept.items() if ids}
    candidate = Candidate(tuple(used), used)
    rule = f"rows: at least {at_least:g}" if at_least is not None else f"rows: top {keep:g}"
    step = Step(
        target, "fg", rule, 0, candidate, tuple(ranking[task] for task in used), ask(candidate) if ask else None,
        chosen=True, thresholds=bounds, available={task: len(rows[task]) for task in kept},
    )  # fmt: skip
    return [step]


def _share_bound(tau: np.ndarray, keep: float) -> float:
    known = np.sort(tau[~np.isnan(tau)])[::-1]
    return float(known[max(1, min(len(known), math.floor(len(tau) * keep + 1e-9))) - 1]) if len(known) else math.nan


def baselines(target: str, candidates: Sequence[str], size: int, ask: Ask, seed: int = 0, draws: int = 1) -> list[Step]:
    """What to compare a selection with: the target alone, all candidates, `draws` random sets of `size` of them.

    No step is marked as chosen. A random set depends on (seed, target, number of the draw) and the candidates' names,
    not on their order; it is listed in theirs. Raises ValueError if there are fewer candidates than `size`.
    """
    if not 0 <= size <= len(candidates):
        raise ValueError(f"a random set of {size} from {len(candidates)} candidates")
    sets = [("none", 0, ()), ("all", 0, tuple(candidates))]
    for draw in range(draws):
        generator = np.random.default_rng(derive_seed(seed, "random-selection", target, draw))
        drawn = {sorted(candidates)[place] for place in generator.permutation(len(candidates))[:size]}
        sets.append(("random", draw, tuple(task for task in candidates if task in drawn)))
    return [
        Step(target, name, None, number, Candidate(tasks), curve=ask(Candidate(tasks))) for name, number, tasks in sets
    ]


def random_rows(fine: Step, rows: Mapping[str, np.ndarray], ask: Ask, seed: int = 0, draws: int = 1) -> list[Step]:
    """What to compare `fine_grained` with: `draws` times, of the same auxiliaries, as many rows of each at random.

    `rows[a]` (n_a,) are the ids to draw from. No step is marked as chosen, and there is none where no row was kept. A
    draw depends on (seed, target, auxiliary, number of the draw) and the ids.
    """
    kept = fine.candidate.rows or {}
    steps = []
    for draw in range(draws if kept else 0):
        drawn: dict[str, tuple[int, ...]] = {}
        for task, ids in kept.items():
            generator = np.random.default_rng(derive_seed(seed, "random-rows", fine.target, task, draw))
            drawn[task] = tuple(sorted(generator.choice(np.sort(rows[task]), len(ids), replace=False).tolist()))
        candidate = Candidate(tuple(drawn), drawn)
        available = {task: len(rows[task]) for task in drawn}
        steps.append(Step(fine.target, "random-rows", None, draw, candidate, curve=ask(candidate), available=available))
    return steps


def selection_table(steps: Iterable[Step]) -> pa.Table:
    """The steps as `schemas.SELECTION`: a row a step, and where rows are kept a row an auxiliary with their ids."""
    return pa.Table.from_pylist([row for step in steps for row in _rows(step)], schema=schemas.SELECTION)


def chosen_candidate(selection: pa.Table, target: str, procedure: str | None = None) -> Candidate:
    """The chosen set of a target, with its kept rows if they were chosen too: the inverse of `selection_table`.

    Raises ValueError if nothing is chosen for the target, or more than one step is: a table of several procedures (such
    as the trial that an `fg` starts from) needs `procedure`.
    """
    found = [row for row in selection.to_pylist() if row["target"] == target and row["chosen"]]
    found = [row for row in found if procedure in (None, row["procedure"])]
    if len({(row["procedure"], row["rule"], row["step"]) for row in found}) != 1:
        what = ", ".join(dict.fromkeys(row["procedure"] for row in found)) or "nothing"
        raise ValueError(f"one set must be chosen for {target}, not {what}")
    rows = {row["task"]: tuple(row["rows"]) for row in found if row["task"] and row["rows"]}
    return Candidate(tuple(found[0]["auxiliaries"]), rows if found[0]["procedure"] == "fg" else None)


def _rows(step: Step) -> list[dict[str, object]]:
    curve = step.curve
    row: dict[str, object] = {
        "target": step.target, "procedure": step.procedure, "rule": step.rule, "step": step.number,
        "auxiliaries": list(step.candidate.auxiliaries), "values": step.values and list(step.values),
        "score": or_none(curve.best) if curve else None, "last": or_none(curve.last) if curve else None,
        "chosen": step.chosen, "scored": list(curve.scored) if curve else None,
    }  # fmt: skip
    if not step.available:
        return [row]
    kept, bounds = step.candidate.rows or {}, step.thresholds or {}
    return [
        {**row, "task": task, "threshold": or_none(bounds.get(task, math.nan)), "available": available,
         "rows": list(kept.get(task, ()))}
        for task, available in step.available.items()
    ]  # fmt: skip


def _above_nothing(value: float) -> float:
    """The value, or minus infinity for NaN."""
    return value if value == value else -math.inf
