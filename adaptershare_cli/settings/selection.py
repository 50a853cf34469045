"""Settings of the selection of tasks to train along with a target, by a measure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings.fields import flag, option


@dataclass(frozen=True)
class SelectionSettings:
    """Which tasks to train along with a target, by one measure: the procedures of GradTS, and baselines."""

    select: Literal["trial", "threshold", "fg"] | None = option(
        None,
        "Select which tasks to train along with --target, by the one --measure. trial: train on growing sets, the best "
        "source first, until the target's score on select rows falls; threshold: all with at least --threshold; fg: of "
        "the tasks that one of these selects, the rows that go well with the target by gradts-instance. What it will "
        "cost is said first.",
        basic=True,
    )
    target: str | None = option(None, "Of --select: the task to select for, or several, comma-separated.", basic=True)
    threshold: float | None = option(
        None, "Of --select threshold: a source's least value. With fg it takes the place of the trial.", -1e30, 1e30
    )
    stop_rule: Literal["strict", "paper-code"] = option(
        "strict",
        "Of trials: stop when the best score falls below the best one before, the target alone included; or as "
        "GradTS's released code does.",
    )
    row_threshold: float | None = option(None, "Of --select fg: keep the rows with at least this tau.", -1, 1)
    row_share: float | None = option(
        None,
        "Of --select fg: keep this share of each task's rows, the highest taus (0.5 if neither is given).",
        1e-9,
        1,
    )
    baselines: bool = option(
        True,
        "Of --select: also train the target alone, with all tasks, with as many at random (of fg: as many rows, too).",
    )
    random_sets: int = option(1, "Of --baselines: how many random sets.", 1, needs=("baselines", True))

    def __post_init__(self) -> None:
        changed = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        if self.select is None:
            if changed:
                written = flag(changed[0], False) if changed[0] == "baselines" else flag(changed[0])
                raise UserError(f"{written} belongs to --select", fix="Give --select too, or leave it out.")
            return
        if not self.targets:
            raise UserError("--select needs --target", fix="Name the task to select for, a task of the run.")
        if self.select == "threshold" and self.threshold is None:
            raise UserError("--select threshold needs --threshold", fix="Give the least value of a source.")
        if self.row_threshold is not None and self.row_share is not None:
            raise UserError("--row-threshold and --row-share exclude each other", fix="Give one of them.")
        useless = [
            *(["threshold"] if self.select == "trial" else []),
            *(["stop_rule"] if not self.by_trial else []),
            *(["row_threshold", "row_share"] if self.select != "fg" else []),
        ]
        for name in useless:
            if name in changed:
                raise UserError(f"{flag(name)} has no effect on --select {self.select} here", fix="Leave it out.")

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, each once."""
        return tuple(dict.fromkeys(part.strip() for part in (self.target or "").split(",") if part.strip()))

    @property
    def row_measure(self) -> str | None:
        """The measure by whose values of single rows the rows are selected, if rows are."""
        return "gradts-instance" if self.select == "fg" else None

    @property
    def by_trial(self) -> bool:
        """Whether the auxiliaries are found by a trial."""
        return self.select == "trial" or (self.select == "fg" and self.threshold is None)

    @property
    def trains(self) -> bool:
        """Whether sets of tasks are trained."""
        return self.by_trial or (self.select is not None and self.baselines)
