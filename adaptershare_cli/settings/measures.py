"""The settings of each measure, and of selection by one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from adaptershare_cli.errors import UserError
from adaptershare_cli.settings.fields import flag, option


@dataclass(frozen=True)
class MeasureSettings:
    """A measure of how tasks relate. Measures of data alone have no further options."""


def _samples() -> Any:
    return option(1000, "Of measures that pass over train rows: at most so many a task, drawn at random.", 1)


@dataclass(frozen=True)
class SeededMeasureSettings(MeasureSettings):
    """Measures whose values differ from seed to seed."""

    permutations: int = option(1000, "Draws of the permutation null (over checks, or over seeds).", 1)


@dataclass(frozen=True)
class GradientSettings(SeededMeasureSettings):
    """Measures of the gradients that a run observed at its checks."""

    rows: Literal["all", "shared"] = option(
        "all", "Of gradient and gradient-directed: every check, or only those at which the two shared the adapter."
    )


@dataclass(frozen=True)
class TunedSettings(SeededMeasureSettings):
    """Measures that need trainings of their own, each task alone first."""

    target_steps: int | None = option(
        None,
        "Updates on each task in the trainings that a measure or --select makes; by default the run's updates divided "
        "by its tasks.",
        1,
    )


@dataclass(frozen=True)
class GradTSSettings(TunedSettings):
    """GradTS: Kendall's tau between matrices of head importance."""

    samples: int = _samples()
    importance: Literal["weight-grad", "head-gate"] = option(
        "weight-grad",
        "Of gradts: a head's importance from the gradients of its key and value weights (the paper), or of a gate on "
        "its output (cheaper).",
    )
    head_axis: Literal["output", "input"] = option(
        "output",
        "Of gradts with weight-grad: a head is its rows of the weights, or, as in the released code, columns.",
    )

    def __post_init__(self) -> None:
        if self.importance == "head-gate" and self.head_axis != "output":
            raise UserError("--head-axis belongs to --importance weight-grad", fix="Leave it out.")


@dataclass(frozen=True)
class AdapterWeightsSettings(TunedSettings):
    """Cosine of single-task adapters."""

    adapter_origin: Literal["start", "zero"] = option(
        "start", "Of adapter-weights: compare what training changed, or the weights as they are."
    )


@dataclass(frozen=True)
class FisherSettings(TunedSettings):
    """Similarity of diagonal Fisher embeddings."""

    samples: int = _samples()
    fisher_similarity: Literal["task2vec", "cosine"] = option(
        "task2vec", "Of fisher: cosine after dividing both by their sum (Task2Vec), or plain cosine (TaskEmb)."
    )


@dataclass(frozen=True)
class TextSettings(MeasureSettings):
    """Cosine of mean embeddings."""

    samples: int = _samples()


@dataclass(frozen=True)
class TransferSettings(TunedSettings):
    """Measured transfer: trained on the source, then on the target, against the target alone."""

    source_steps: int | None = option(
        None, "Of transfer: updates on the source before the target; by default as many as on the target.", 1
    )


@dataclass(frozen=True)
class PopularitySettings(TransferSettings):
    """How well a source does for all other targets."""

    against: Literal["transfer", "pair"] = option("transfer", "The measured truth that popularity is taken from.")

    def __post_init__(self) -> None:
        if self.against == "pair" and self.source_steps is not None:
            raise UserError("--source-steps belongs to --against transfer", fix="Leave it out.")


@dataclass(frozen=True)
class SelectionSettings:
    """Which tasks to train along with a target, by one measure: the procedures of GradTS, and baselines."""

    select: Literal["trial", "threshold", "fg"] | None = option(
        None,
        "Select which tasks to train along with --target, by the one --measure. trial: train on growing sets, the best "
        "source first, until the target's score on select rows falls; threshold: all with at least --threshold; fg: of "
        "the tasks that one of these selects, the rows that go well with the target by gradts-instance. What it will "
        "cost is said first.",
    )
    target: str | None = option(None, "Of --select: the task to select for, or several, comma-separated.")
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
        given = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        if self.select is None:
            if given:
                written = flag(given[0], False) if given[0] == "baselines" else flag(given[0])
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
            if name in given:
                raise UserError(f"{flag(name)} has no effect on --select {self.select} here", fix="Leave it out.")

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, each once."""
        return tuple(dict.fromkeys(part.strip() for part in (self.target or "").split(",") if part.strip()))

    @property
    def by_trial(self) -> bool:
        """Whether the auxiliaries are found by a trial."""
        return self.select == "trial" or (self.select == "fg" and self.threshold is None)

    @property
    def trains(self) -> bool:
        """Whether sets of tasks are trained."""
        return self.by_trial or (self.select is not None and self.baselines)
