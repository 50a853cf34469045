"""What an artefact says of itself, as values: the `info` of each `artefact.json`, written and read in one place.

Fields have the names and the meaning that they have in the file. A field that is `optional` is left out of the file
where it is None: it belongs to some artefacts only, or artefacts of earlier versions lack it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from adaptershare_cli.store.artefact import META, Artefact, damaged

Labels = list[str]  # labels of artefacts: `stage/name-key`


def optional() -> Any:
    """A field that is not written where it is None."""
    return field(default=None, metadata={"optional": True})


@dataclass(frozen=True, kw_only=True)
class Record:
    """The info of one kind of artefact."""

    summary: str | None = optional()  # what the line that reports its making adds

    @classmethod
    def of(cls, artefact: Artefact) -> Self:
        """What an artefact of this kind says; keys that are not known here are passed over.

        Raises UserError where it lacks one.
        """
        known = {item.name for item in fields(cls)}
        try:
            return cls(**{name: value for name, value in artefact.info.items() if name in known})
        except TypeError as error:
            raise damaged(artefact, f"{META}: its info is not that of a {cls.__name__} ({error})") from error

    def to_json(self) -> dict[str, Any]:
        """The info to publish."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        left_out = {item.name for item in fields(self) if item.metadata.get("optional") and values[item.name] is None}
        return {name: value for name, value in values.items() if name not in left_out}


@dataclass(frozen=True, kw_only=True)
class TaskRecord(Record):
    """What download and prepro say of the task; the main metric comes first."""

    task: str
    definition: str  # the definition's fingerprint
    kind: str
    labels: list[str]
    range: list[float] | None
    metrics: list[str]
    # The label that metrics of one label are of, "" for all labels alike; where it is not said, the second label.
    positive: str | None = optional()


@dataclass(frozen=True, kw_only=True)
class DownloadRecord(TaskRecord):
    """Of a download: rows by split, and what was not there."""

    rows: dict[str, int]
    rejected: int
    missing: list[str]  # splits of report_on that the source does not have
    source: str  # hub | folder | embedded
    unseen: dict[str, dict[str, int]] | None = optional()  # of a tagging: by split the labels that train never has
    left_out: dict[str, dict[str, int]] | None = optional()  # by split what files hold beside rows, such as comments
    suspicious: list[str] | None = optional()  # what was told of its labels


@dataclass(frozen=True, kw_only=True)
class PreproRecord(TaskRecord):
    """Of prepared rows: the splits to score, and what was counted (`data.encoding.Prepared`)."""

    scored: list[str]
    counts: dict[str, int]
    pad_token: int
    lost: dict[str, str] | None = optional()  # labels that no train row has, and why (`data.cutting.lost_labels`)
    notes: list[str] | None = optional()  # what a user should know of the cut
    unseen: list[str] | None = optional()  # of a tagging: labels of words in scored splits that train never has
    pairs: bool | None = optional()  # whether its rows are pairs of texts; not said by earlier versions


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """How a run reads the rows of one of its tasks: what must be known to give it new ones."""

    max_seq_length: int
    tokenizer: str  # hash of the tokenizer's files
    pairs: bool | None  # whether they are pairs of texts; None where that was not recorded


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """Of a training. `settings` are the method's, with words for what it started from."""

    tasks: list[str]
    method: str
    seed: int
    settings: dict[str, Any]
    training: dict[str, Any]
    encoder: dict[str, str]  # name, weights (their hash)
    prepro: dict[str, str]  # content of each task's prepared rows
    steps: int
    examples: dict[str, int]  # rows of each task that were trained on, those of what the run builds on included
    trained_parameters: int
    skipped_updates: int
    plan: dict[str, Any] | None  # the last sharing plan (`SharingPlan.to_json`)
    precision: str  # bf16, fp32, or with --inexact both, in the order of the updates: `bf16+fp32`
    machine: dict[str, str]
    exact: bool
    leaked_rows: dict[str, int]
    lost_labels: dict[str, list[str]] | None = optional()  # of tasks without a train row of a label
    costs: dict[str, Any] | None = optional()  # `training.costs.Costs`
    positive: dict[str, str] | None = optional()  # of tasks with metrics of one label, as in `TaskRecord`
    heldout_rows: dict[str, int] | None = optional()
    scored_rows: dict[str, int] | None = optional()
    inputs: dict[str, dict[str, Any]] | None = optional()  # by task `InputRecord`; not said by earlier versions
    # What the run started from, and a key of that which is the same for all seeds.
    origin_key: str | None = optional()
    init_plan: str | None = optional()
    start: dict[str, Any] | None = optional()
    sources: list[str] | None = optional()
    stage_one: Labels | None = optional()
    mask_run: str | None = optional()
    selection: str | None = optional()
    task_trainings: int | None = optional()  # of a plan search: each task alone, and the tasks of every group

    @property
    def encoder_name(self) -> str:
        """What --model named."""
        return self.encoder["name"]

    @property
    def encoder_weights(self) -> str:
        """The hash of the encoder's weights."""
        return self.encoder["weights"]


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord(Record):
    """Of a checkpoint: after which update, and on which machine. Those of earlier versions lack the last three."""

    phase: str
    step: int
    updates: int
    machine: dict[str, str]
    exact: bool
    forced: bool
    automatic: list[str] | None = optional()  # of device, precision, threads those that were left to the program
    runtime: dict[str, Any] | None = optional()  # what the last updates were computed with
    precision: str | None = optional()  # that of the run so far (`RunRecord.precision`)


@dataclass(frozen=True, kw_only=True)
class StudyRecord(Record):
    """What all artefacts of correlate say; `kind` is not written for a correlation itself."""

    tasks: list[str]
    seeds: list[int]
    runs: Labels
    plots: list[str] = field(default_factory=list)
    kind: str | None = optional()


@dataclass(frozen=True, kw_only=True)
class CorrelationRecord(StudyRecord):
    """Of a measure's table. `cost`: examples processed, see `commands.correlate`."""

    measure: str
    directed: bool
    cost: dict[str, Any]
    notes: list[str] | None = optional()


@dataclass(frozen=True, kw_only=True)
class ScoresRecord(StudyRecord):
    """Of measures judged against a truth: each one's scores over all targets."""

    against: str
    scores: Mapping[str, Mapping[str, float | None]]
    kind: str | None = "scores"


@dataclass(frozen=True, kw_only=True)
class SelectionRecord(StudyRecord):
    """Of what was selected to train along with a target."""

    procedure: str
    by: str  # the measure
    target: str
    auxiliaries: list[str]
    rule: str | None
    score: float | None
    target_steps: int | None
    prepro: dict[str, str]
    encoder: dict[str, str]
    cost: dict[str, Any]
    kind: str | None = "selection"


@dataclass(frozen=True, kw_only=True)
class VerdictRecord(StudyRecord):
    """Of what a run's plan is worth; values are means over tasks and seeds, see `statistics.verdict`.

    `differences`: how much more than `shared` and `private` (each left out where it is the plan itself), and what
    sharing all is worth beside keeping apart (`both`): gain, interval, errors, and what it takes to tell it.
    """

    plan: list[list[str]]
    answer: str
    value: float
    differences: dict[str, dict[str, Any]]
    spread: dict[str, Any]
    random: dict[str, Any]
    best: dict[str, Any]
    words: list[str] = field(default_factory=list)
    kind: str | None = "verdict"

    def with_words(self, words: list[str]) -> VerdictRecord:
        """The same, said in words too."""
        return replace(self, words=words)


@dataclass(frozen=True, kw_only=True)
class ReportRecord(Record):
    """Of the report: what it shows."""

    runs: Labels
    pictures: Labels
