"""The rows of prepared tasks that a training may learn from: none of those that it, or what it belongs to, scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli.data.batches import Rows, TaskParts
from adaptershare_cli.data.cutting import PARTS
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import of_one_label
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.texts import told
from adaptershare_cli.model.inputs import SEGMENTS, Extent, check_inputs
from adaptershare_cli.model.source import EncoderSource
from adaptershare_cli.parquet_files import open_parquet
from adaptershare_cli.settings import PreproSettings
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import InputRecord, PreproRecord, TaskRecord


@dataclass(frozen=True)
class Limits:
    """What a training leaves out of the rows of its tasks, besides what it scores itself.

    `avoid`: contents of train, held-out and select rows. `keep`: of these tasks only these train rows (`row` of the
    downloaded split). `target`: only this task is scored.
    """

    avoid: Set[str] = frozenset()
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    target: str | None = None


WHOLE = Limits()

# What took the last train rows of a label (`cutting.lost_labels`, and trainings), and what can be done.
LOST = {
    "source": "the source has none. Take the label out of the definition, or give rows of it.",
    "leaks": "all that have it stand in a scored split and are dropped. Where texts repeat by nature, --leak-scope "
    "none keeps them.",
    "cut": "all that have it are held-out or select rows. Give more different texts of it.",
    "sample": "the sample has none. Give a larger --max-train-examples.",
    "run": "all that have it stand in a scored split of this run and are left out. --leak-scope task drops only those "
    "of the task's own splits, none keeps all.",
    "selection": "none that has it was selected. Select more rows.",
}
SHOWN_LABELS = 10


def lost_notes(task: str, lost: Mapping[str, str]) -> list[str]:
    """What to tell of labels that no train row has, by what took the last ones (a key of `LOST`)."""
    notes = []
    for why, reason in LOST.items():
        labels = [label for label in lost if lost[label] == why]
        if labels:
            names = ("label " if len(labels) == 1 else "labels ") + told(labels, SHOWN_LABELS)
            notes.append(f"{task}: no train row has the {names}, never to be learnt: {reason}")
    return notes


def scored_contents(leak_scope: str, prepared: Iterable[Artefact]) -> frozenset[str]:
    """Contents of the rows of all scored splits of the tasks, if --leak-scope is run: not to be trained on."""
    if leak_scope != "run":
        return frozenset()
    return _contents(prepared, _scored)


def train_sizes(leak_scope: str, prepared: Sequence[Artefact]) -> dict[str, int]:
    """Train rows of each task that are left when the tasks are trained in one run."""
    forbidden = scored_contents(leak_scope, prepared)
    return {a.name: sum(row not in forbidden for row in _column(a, "train")) for a in prepared}


def dropped(prepared: Iterable[Artefact], avoid: Set[str]) -> list[str]:
    """Contents of rows that `avoid` takes out of a training beyond those that its own scored splits do, sorted."""
    if not avoid:
        return []
    return sorted((_contents(prepared, lambda artefact: PARTS) & avoid) - _contents(prepared, _scored))


def heldout_repeats(prepared: Iterable[Artefact]) -> bool:
    """Whether a text stands more than once among the held-out rows of a task (a long sentence does in parts)."""
    return any(len(set(found)) < len(found) for found in (_column(artefact, "heldout") for artefact in prepared))


def _scored(artefact: Artefact) -> Iterable[str]:
    return PreproRecord.of(artefact).scored


def _contents(prepared: Iterable[Artefact], parts: Callable[[Artefact], Iterable[str]]) -> frozenset[str]:
    return frozenset(content for a in prepared for part in parts(a) for content in _column(a, part))


def _column(artefact: Artefact, part: str) -> list[str]:
    return artefact.table(f"{part}.parquet", ["content"])["content"].to_pylist()


def check_fit(encoder: EncoderSource, prepared: Sequence[Artefact]) -> None:
    """Raise UserError where rows of a task do not fit the encoder. To be called before the first of several trainings.

    Looked at is what the tables' footers say, so that it takes no time beside a training.
    """
    check_inputs(encoder.folder, {artefact.name: _extent(artefact) for artefact in prepared})


def _extent(artefact: Artefact) -> Extent:
    record, largest = PreproRecord.of(artefact), dict.fromkeys(("length", "input_ids", SEGMENTS), 0)
    largest["input_ids"] = record.pad_token
    for part in (*PARTS, *record.scored):
        with open_parquet(artefact.file(f"{part}.parquet")) as parquet:
            footer = parquet.metadata
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        for column in (group.column(place) for group in groups for place in range(group.num_columns)):
            name, statistics = column.path_in_schema.partition(".")[0], column.statistics
            if name in largest and statistics is not None and statistics.has_min_max:
                largest[name] = max(largest[name], statistics.max)
    return Extent(*largest.values())


def read_parts(
    leak_scope: str, prepared: Sequence[Artefact], limits: Limits = WHOLE
) -> tuple[dict[str, TaskParts], dict[str, int]]:
    """All parts of all tasks, without rows that stand in a scored split of any task of the run (unless asked).

    Neither are there rows that `limits` leave out. Returns the parts, and how many rows each task lost because they are
    scored.
    """
    tables = {
        a.name: {part: a.table(f"{part}.parquet") for part in (*PARTS, *PreproRecord.of(a).scored)} for a in prepared
    }
    forbidden = limits.avoid | scored_contents(leak_scope, prepared)
    parts: dict[str, TaskParts] = {}
    lost: dict[str, int] = {}
    for artefact in prepared:
        kept: dict[str, Rows] = {}
        info = task_info(artefact)
        lost[artefact.name] = 0
        for part, table in tables[artefact.name].items():
            if part in PARTS:
                mask = [content not in forbidden for content in table["content"].to_pylist()]
                lost[artefact.name] += mask.count(False)
                table = table.filter(pa.array(mask, pa.bool_()))
                chosen = part == "train" and artefact.name in limits.keep
                if chosen:
                    table = table.filter(pc.is_in(table["row"], pa.array(limits.keep[artefact.name], pa.int64())))
                if not table.num_rows:
                    of = "selected train" if chosen else part
                    raise UserError(
                        f"Every {of} row of task {artefact.name} stands in a scored split of a task of this run",
                        fix="Leave a task out, or use --leak-scope task (or none).",
                    )
            kept[part] = Rows(table, info)
        scored = {split: kept[split] for split in PreproRecord.of(artefact).scored}
        parts[artefact.name] = TaskParts(kept["train"], kept["heldout"], kept["select"], scored)
    return parts, lost


def lost_labels(
    prepared: Iterable[Artefact], parts: Mapping[str, TaskParts], limits: Limits = WHOLE
) -> dict[str, dict[str, str]]:
    """Of each task that has any, the labels that no train row has, and why (a key of `LOST`)."""
    found: dict[str, dict[str, str]] = {}
    for artefact in prepared:
        there = set(parts[artefact.name].train.answers.labels.tolist())
        why = "selection" if artefact.name in limits.keep else "run"
        before = PreproRecord.of(artefact).lost or {}
        labels = task_info(artefact).labels
        lost = {label: before.get(label, why) for number, label in enumerate(labels) if number not in there}
        if lost:
            found[artefact.name] = lost
    return found


def input_record(prepared: Artefact) -> InputRecord:
    """How a run reads the rows of a task, from what it was trained on."""
    request = prepared.meta["request"]
    longest = request["settings"].get("max_seq_length", PreproSettings.max_seq_length)
    return InputRecord(max_seq_length=longest, tokenizer=request["tokenizer"], pairs=PreproRecord.of(prepared).pairs)


def task_info(artefact: Artefact) -> TaskInfo:
    """What training needs to know of a prepared task."""
    said = PreproRecord.of(artefact)
    return info_of(said, said.unseen or ())


def info_of(said: TaskRecord, unseen: Iterable[str]) -> TaskInfo:
    """The task of a record; `unseen` are labels that train never has."""
    bounds = (said.range[0], said.range[1]) if said.range else None
    positive = said.positive
    if positive is None and of_one_label(said.metrics):
        positive = said.labels[1]  # recorded before definitions could say it
    return TaskInfo(
        said.task, said.kind, tuple(said.labels), bounds, tuple(said.metrics), tuple(unseen), positive or ""
    )
