"""What to do, how sure that is, and why: read off the numbers, never more than they hold.

The method is chosen on select rows. What is said of it is said of scored rows, beside keeping all tasks apart, sharing
all and random plans, paired by seed (`statistics.same_seeds`); the rules of `statistics.verdict` say what to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from adaptershare_cli.reporting.page.commands import training_command
from adaptershare_cli.reporting.page.intervals import Gained, Strip, points, strips
from adaptershare_cli.reporting.page.roles import BASELINES, PRIVATE, RANDOM, SHARED, Contest
from adaptershare_cli.reporting.tables import Row
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.statistics.same_seeds import paired
from adaptershare_cli.statistics.verdict import Difference, Spread, answer

MOST_SEEDS = 10  # no more are advised: where it takes more, that is said
NOTHING_KNOWN = Spread(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Advice:
    """Commands, and what they would tell."""

    why: str
    commands: list[str]


@dataclass(frozen=True)
class Answer:
    """The answer to one comparison. `decided`: the numbers tell it. `plans` and `tasks` are the two pictures."""

    headline: str
    decided: bool
    state: str
    sure: list[str]
    said: str = ""  # the headline in numbers
    plans: list[Strip] = field(default_factory=list)
    plans_caption: str = ""
    why: list[str] = field(default_factory=list)
    tasks: list[Strip] = field(default_factory=list)
    tasks_caption: str = ""
    advice: list[Advice] = field(default_factory=list)


def answer_of(contest: Contest) -> Answer:
    """What the runs of one comparison say."""
    if contest.chosen is None:
        return _nothing(contest)
    if len(contest.joint) == 1 or not contest.seeds:
        return _alone(contest)
    return _Compared(contest).answer()


def _nothing(contest: Contest) -> Answer:
    lacking = [row.label for row in contest.joint]
    why = "No method has all scores" if lacking else "No method trained these tasks together yet"
    detail = (
        f"Scores are missing or undefined for: {', '.join(lacking)}." if lacking else "There is nothing to compare."
    )
    return Answer(f"{why}, so nothing can be said of sharing.", False, "no answer", [detail],
                  advice=_missing_runs(contest, [SHARED, PRIVATE]))  # fmt: skip


def _alone(contest: Contest) -> Answer:
    assert contest.chosen is not None
    if len(contest.joint) == 1:
        name = contest.chosen.label
        return Answer(f"Not decided: {name} is the only method here, so nobody knows whether sharing pays.", False,
                      "baselines missing", [_score(contest.chosen)],
                      advice=_missing_runs(contest, contest.missing))  # fmt: skip
    names = ", ".join(row.label for row in contest.compared)
    seeds = sorted({seed for row in contest.compared for seed in row.seed_numbers})
    commands = [_command(contest, row, seeds) for row in contest.compared]
    return Answer("Not decided: the methods were trained with different seeds, so they cannot be paired.", False,
                  "no common seed", [f"No seed is common to {names}."],
                  advice=[Advice("The same seeds for all of them:", commands)])  # fmt: skip


class _Compared:
    """The answer where at least two methods have at least one seed in common."""

    def __init__(self, contest: Contest) -> None:
        assert contest.chosen is not None
        self.contest, self.chosen = contest, contest.chosen
        self.values = contest.values()
        self.others = {
            name: row for name in BASELINES if (row := contest.baseline(name)) and row.label != self.chosen.label
        }
        private, shared = contest.baseline(PRIVATE), contest.baseline(SHARED)
        together = len(self.others) + (private is not None and shared is not None and len(self.others) > 1)
        self.gains = {name: self._difference(self.chosen, row, together) for name, row in self.others.items()}
        self.both = self._difference(shared, private, together) if shared and private else None
        self.together = together

    def _shown(self, one: Row, other: Row, found: Difference, task: str = "") -> Gained:
        """What is drawn of a difference: with one seed what other rows would give, where that is known."""
        known = self.contest.over_rows.get((one.label, other.label), {}).get(task)
        return found if known is None or len(self.contest.seeds) > 1 else known

    def _difference(self, one: Row, other: Row, together: int) -> Difference:
        return paired(self.values, self.contest.place(one), self.contest.place(other), max(1, together))

    def answer(self) -> Answer:
        """What to do, how sure that is, why, and what would tell."""
        found, by_task = self._decision(), self._by_task()
        state, decided, headline = self._headline(found)
        named = [
            (f"beside {BASELINES[name]} ({row.label})", self._shown(self.chosen, row, self.gains[name]))
            for name, row in self.others.items()
        ]
        return Answer(
            headline=headline,
            decided=decided,
            state=state,
            sure=self._sure(decided),
            said=self._said(),
            plans=strips(named),
            plans_caption=f"{self.chosen.label} beside others: mean over {len(self.contest.tasks)} tasks, in points",
            advice=[] if decided and not self.contest.missing else self._advice(),
            why=[*_of_tasks(by_task, len(self.contest.seeds)), *self._cost()],
            tasks=strips(by_task),
            tasks_caption=self._beside_private,
        )

    def _decision(self) -> str:
        if self.both is None:
            return "cannot tell"
        return answer(self.gains.get(SHARED), self.gains.get(PRIVATE), self.both, NOTHING_KNOWN)

    def _headline(self, found: str) -> tuple[str, bool, str]:
        seeds = len(self.contest.seeds)
        if found == "share as planned":
            return "told apart", True, f"Share, as {self.chosen.label} does."
        if found == "share all":
            return "told apart", True, "Share one adapter among all tasks."
        if found == "keep apart":
            return "told apart", True, "Keep the tasks apart: an adapter for each."
        first = f"{self.chosen.label} is best on the rows that choose"
        missing = [name for name in (PRIVATE, SHARED) if name in self.contest.missing]
        if missing:
            lack = " and ".join(BASELINES[name] for name in missing)
            return "baselines missing", False, f"Not decided: {first}, but nothing was trained for {lack}."
        if seeds == 1:
            one = "one seed" if all(row.seeds == 1 for row in self.contest.compared) else "one seed in common"
            return "one seed", False, f"Not decided: {first}, but with {one} that may be chance."
        return "not told apart", False, f"Not decided: {first}, but {seeds} seeds do not tell whether sharing pays."

    def _said(self) -> str:
        """The gains, the tasks that gain, and the cost, in one paragraph."""
        shown = {name: self._shown(self.chosen, self.others[name], item) for name, item in self.gains.items()}
        gains = [f"{points(item)} beside {BASELINES[name]}" for name, item in shown.items()]
        told = "" if not gains else f"It scores {', '.join(gains)}. "
        return f"{self.chosen.label}: {self.chosen.average.text} on average. {told}{self._groups()}"

    def _groups(self) -> str:
        """Who shares with whom, where that is the same in all layers and runs."""
        plans = [self.contest.runs[name].plan for name in self.chosen.runs]
        if None in plans:
            return ""
        wholes = {_one_partition(plan) for plan in plans if plan is not None}
        if wholes == {SHARED} or wholes == {PRIVATE}:
            return ""
        if None in wholes or len(wholes) > 1:
            which = "layer to layer" if None in wholes else "seed to seed"
            return f"Who shares differs from {which}: see Sharing."
        return f"Groups: {wholes.pop()}."

    def _sure(self, decided: bool) -> list[str]:
        contest = self.contest
        lines = [
            f"{self.chosen.label} was chosen on select rows among {len(contest.whole)} methods; its scores are of "
            "other rows, which chose nothing."
        ]
        if len(contest.seeds) < 2:
            lines.append("One seed: nobody knows what another seed would give.")
            if self.contest.over_rows:
                lines.append(
                    "The intervals speak of other rows (paired bootstrap over texts, each of 95 %), not of other "
                    "seeds, which often do more. So they decide nothing."
                )
            return lines + self._absent()
        count = f"{self.together} intervals" if self.together > 1 else "the interval"
        seeds = f"{len(contest.seeds)} seeds ({', '.join(map(str, contest.seeds))})"
        lines.append(
            f"Paired over {seeds}; the 95 % hold for {count} together. They speak of other seeds, not of other rows."
        )
        if self.both is not None and self.chosen.method not in (SHARED, PRIVATE):
            lines.append(f"Sharing all beside keeping apart: {points(self.both)}, {_said(self.both)}.")
        if RANDOM in self.gains and decided and self.gains[RANDOM].sign <= 0:
            lines.append("Random plans are not told from it: how many share may count here, not who.")
        if not decided:
            lines += self._cheapest()
        lines += self._degenerate()
        return lines + self._absent()

    def _absent(self) -> list[str]:
        contest = self.contest
        lines = [f"Nothing was trained for {BASELINES[name]}." for name in contest.missing]
        left = [row.label for row in contest.joint if row not in contest.whole]
        return lines + (
            [f"Without a place here, as scores are missing or undefined: {', '.join(left)}."] if left else []
        )

    def _degenerate(self) -> list[str]:
        """Of tasks that were not learnt."""
        columns = self.contest.group.columns
        tasks = {column.task: None for row in (self.chosen, *self.others.values())
                 for column, cell in zip(columns, row.cells, strict=True) if cell.degenerate}  # fmt: skip
        if not tasks:
            return []
        return [f"Some of these methods learnt nothing of {', '.join(tasks)} (marked * in Results): train longer, or "
                "with other settings, before this counts."]  # fmt: skip

    def _cheapest(self) -> list[str]:
        """What to take as long as nothing is decided."""
        rows = [self.chosen, *(self.others[name] for name, item in self.gains.items() if item.sign <= 0)]
        known = [row for row in rows if row.parameters is not None]
        if len(known) < 2:
            return []
        least = min(known, key=lambda row: row.parameters or math.inf)
        return [f"Of those that are not told from it, {least.label} trains the fewest parameters "
                f"({least.parameters:,.0f})."]  # fmt: skip

    # ---- why ----

    def _by_task(self) -> list[tuple[str, Gained]]:
        """What the best method that shares has more than keeping apart, task by task; nothing where one is missing."""
        sharing, private = self.contest.sharing, self.contest.baseline(PRIVATE)
        if sharing is None or private is None:
            return []
        tasks, places = self.contest.tasks, (self.contest.place(sharing), self.contest.place(private))
        found = []
        for task in tasks:
            difference = paired(self.contest.values(task), *places, together=len(tasks))
            found.append((task, self._shown(sharing, private, difference, task)))
        return sorted(found, key=lambda pair: -pair[1].gain)

    @property
    def _beside_private(self) -> str:
        sharing = self.contest.sharing.label if self.contest.sharing else ""
        together = "; all intervals hold together" if len(self.contest.seeds) > 1 else ""
        return f"{sharing} beside {PRIVATE}, task by task, in points{together}"

    def _cost(self) -> list[str]:
        rows = [row for row in (self.chosen, *self.others.values()) if row.parameters is not None]
        if len(rows) < 2:
            return []
        told = ", ".join(f"{row.label} {row.parameters:,.0f}" for row in rows)
        return [f"Cost, in trained parameters: {told}."]

    # ---- what would tell ----

    def _advice(self) -> list[Advice]:
        contest, found = self.contest, _missing_runs(self.contest, self.contest.missing)
        seeds, needed = len(contest.seeds), self._seeds_needed()
        if seeds < 2:
            wanted, why = 2, "A second seed, as one has no interval:"
        elif needed:
            wanted = min(needed.values())
            told = ", ".join(f"{count} for {label}" for label, count in needed.items())
            why = f"More seeds. If differences stay as they are, so many would tell {self.chosen.label} apart: {told}."
        else:
            return found
        if wanted > MOST_SEEDS:
            return [*found, Advice(f"{why} That is more than it is worth: take what costs least.", [])]
        more = _numbers(contest.seeds, wanted)
        rows = [row for row in contest.compared if set(more) - set(row.seed_numbers)]
        return [*found, Advice(why, [_command(contest, row, more) for row in rows])]

    def _seeds_needed(self) -> dict[str, int]:
        """How many seeds would tell the chosen method from each baseline that it is not told from."""
        seeds = len(self.contest.seeds)
        needed = {self.others[name].label: item.needed(seeds)[0] for name, item in self.gains.items() if not item.sign}
        return {label: max(seeds + 1, math.ceil(count)) for label, count in needed.items() if math.isfinite(count)}


def _of_tasks(found: list[tuple[str, Gained]], seeds: int) -> list[str]:
    """Which tasks gain and lose by sharing, as far as it is told."""
    if not found:
        return []
    if seeds < 2:
        higher = sum(item.gain > 0 for _, item in found)
        return [f"{higher} of {len(found)} tasks score higher with sharing; one seed does not tell which of them gain."]
    gain, lose = ([task for task, item in found if item.sign == sign] for sign in (1, -1))
    rest = len(found) - len(gain) - len(lose)
    if not gain and not lose:
        return [f"None of the {len(found)} tasks is told to gain or to lose by sharing."]
    lines = [f"Gain by sharing: {', '.join(gain)}."] if gain else ["No task is told to gain by sharing."]
    lines.append(f"Lose by sharing: {', '.join(lose)}." if lose else "No task is told to lose by sharing.")
    return lines + ([f"Not told for {rest} of {len(found)} tasks."] if rest else [])


def _missing_runs(contest: Contest, methods: list[str]) -> list[Advice]:
    if not methods:
        return []
    model = contest.chosen or (contest.joint[0] if contest.joint else None)
    seeds = model.seed_numbers if model else (0, 1)
    wanted = seeds if len(seeds) > 1 else _numbers(seeds, 2)
    recorded, plans = _recorded(contest, model), {RANDOM: contest.planned}
    commands = [training_command(recorded, contest.tasks, method, wanted, plans.get(method, ())) for method in methods]
    return [Advice(f"What to compare with: {', '.join(BASELINES[method] for method in methods)}.", commands)]


def _command(contest: Contest, row: Row, seeds: list[int]) -> str:
    return training_command(_recorded(contest, row), contest.tasks, row.method, seeds)


def _recorded(contest: Contest, row: Row | None) -> str:
    return contest.runs[row.runs[-1]].command if row is not None else ""


def _numbers(seeds: tuple[int, ...], count: int) -> list[int]:
    """These seeds, and the next free numbers, so that there are `count`."""
    found = list(seeds)
    number = 0
    while len(found) < count:
        if number not in found:
            found.append(number)
        number += 1
    return sorted(found)


def _one_partition(plan: SharingPlan) -> str | None:
    """The groups of a plan that has the same in all layers, in words; None where layers differ."""
    if len(set(plan.layers)) != 1:
        return None
    groups = plan.layers[0]
    if len(groups) == 1 or len(groups) == len(plan.tasks):
        return SHARED if len(groups) == 1 else PRIVATE
    return " | ".join(" ".join(group) for group in groups)


def _score(row: Row) -> str:
    return f"{row.label} scores {row.average.text if row.average.values else row.cells[0].text} on average."


def _said(item: Difference) -> str:
    return {1: "better", -1: "worse", 0: "not told apart"}[item.sign]
