"""What a constant prediction scores beside runs: the least that a model must beat. Read from the prepared rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adaptershare_cli.data.cutting import PARTS
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.answers import Answers
from adaptershare_cli.kinds.rows.shares import constant
from adaptershare_cli.runs.rows import task_info
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import PreproRecord, RunRecord
from adaptershare_cli.store.workspace import Workspace

_UNREAD = ("input_ids", "token_type_ids")  # columns that hold no label, and most of the bytes


@dataclass(frozen=True)
class Constant:
    """A constant prediction on one scored split: in words, such as "always yes", and its scores by metric."""

    words: str
    scores: Mapping[str, float | None]


Constants = Mapping[tuple[str, str], Constant]  # by task and scored split


@dataclass
class Baselines:
    """The constant predictions of the tasks of runs, each computed once. A task whose rows are gone has none."""

    workspace: Workspace
    _known: dict[str, dict[str, Constant]] = field(default_factory=dict)  # by the content of prepared rows, and split

    def of(self, run: Artefact) -> Constants:
        """The constant predictions for each task and scored split of a run."""
        wanted = RunRecord.of(run).prepro
        if set(wanted.values()) - self._known.keys():
            self._read(set(wanted.values()))
        return {
            (task, split): constant
            for task, content in wanted.items()
            for split, constant in self._known[content].items()
        }

    def _read(self, wanted: set[str]) -> None:
        self._known |= {content: {} for content in wanted if content not in self._known}
        for prepared in self.workspace.artefacts("prepro", lambda path, error: None):
            if prepared.content not in wanted:
                continue
            try:
                found = constants_of(prepared)
            except UserError:  # damaged: `status` tells of it, and the runs' own scores stand
                continue
            # The same rows may have been prepared for a definition with other metrics.
            known = self._known[prepared.content]
            for split, one in found.items():
                before = known[split].scores if split in known else {}
                known[split] = Constant(one.words, {**before, **one.scores})


def constants_of(prepared: Artefact) -> dict[str, Constant]:
    """By scored split what a constant prediction learnt from the train rows scores there."""
    info = task_info(prepared)
    train, found = answers_of(prepared, info, PARTS[0]), {}
    for split in PreproRecord.of(prepared).scored:
        if known := constant(KINDS[info.kind], info, train, answers_of(prepared, info, split)):
            found[split] = Constant(*known)
    return found


def answers_of(prepared: Artefact, info: TaskInfo, part: str) -> Answers:
    """What is right for the rows of a part of a prepared task; token ids are not read for it."""
    kind = KINDS[info.kind]
    columns = [name for name in kind.prepared_schema().names if name not in _UNREAD]
    return kind.answers(info, prepared.table(f"{part}.parquet", columns))
