"""Two sides of runs, task by task: which of their runs and rows belong together, and how they differ there.

A side are runs of which no two are of the same task and seed: one run, a run a seed, or runs of single tasks. Runs are
paired by task and seed, rows by split and number, and only rows whose texts and labels are the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, METRICS, metric_title
from adaptershare_cli.kinds.base import GROUP, ID, Kind, TaskInfo
from adaptershare_cli.runs.served import run_infos
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Unlike(UserError):
    """Why a task of two runs cannot be compared."""


@dataclass(frozen=True)
class Side:
    """The runs that one word of the command named, by task and seed."""

    word: str
    runs: Mapping[str, Mapping[int, Artefact]]

    @classmethod
    def of(cls, word: str, runs: Iterable[Artefact]) -> Side:
        """Raises UserError where two runs have a task and a seed in common."""
        found: dict[str, dict[int, Artefact]] = {}
        for run in runs:
            record = RunRecord.of(run)
            for task in record.tasks:
                other = found.setdefault(task, {}).setdefault(record.seed, run)
                if other is not run:
                    what = f"{word!r} names two runs of {task} with seed {record.seed}"
                    names = f"{other.path.name}, {run.path.name}"
                    raise UserError(what, where=names, fix="Name the runs that are meant, comma-separated.")
        return cls(word, found)

    @property
    def labels(self) -> list[str]:
        """The names of its runs, each once."""
        return list(dict.fromkeys(run.label for runs in self.runs.values() for run in runs.values()))


@dataclass
class Prepared:
    """Finds what a workspace still has of the rows that runs were scored on."""

    workspace: Workspace

    @cached_property
    def _by_content(self) -> dict[str, Artefact]:
        return {found.content: found for found in self.workspace.artefacts("prepro", lambda path, error: None)}

    @cached_property
    def _downloads(self) -> dict[str, Artefact]:
        return {found.label: found for found in self.workspace.artefacts("download", lambda path, error: None)}

    def of(self, content: str) -> Artefact | None:
        """The prepared rows with this content; None where they are gone."""
        return self._by_content.get(content)

    def download_of(self, content: str) -> Artefact | None:
        """The downloaded rows that the prepared ones with this content were made of; None where they are gone."""
        prepared = self.of(content)
        for recorded in prepared.meta["inputs"] if prepared is not None else []:
            download = self._downloads.get(recorded["artefact"])
            if download is not None and download.content == recorded["content"]:
                return download
        return None

    def contents(self, content: str, split: str) -> dict[int, str] | None:
        """The hash of each row's texts by the row's number; None where the prepared rows are gone."""
        prepared = self.of(content)
        if prepared is None or f"{split}.parquet" not in prepared.meta["files"]:
            return None
        try:
            table = prepared.table(f"{split}.parquet", ["row", "content"])
        except UserError:  # damaged: `status` tells of it
            return None
        return dict(zip(table["row"].to_pylist(), table["content"].to_pylist(), strict=True))

    def groups(self, content: str, split: str) -> dict[int, str] | None:
        """The group that each row belongs to by the row's number; None where rows have none, or they are gone.

        A row without one is a group of its own.
        """
        table = self._downloaded(content, split)
        if table is None or GROUP not in table.column_names:
            return None
        groups = zip(table["row"].to_pylist(), table[GROUP].to_pylist(), strict=True)
        return {row: f"row {row}" if group is None else f"group {group}" for row, group in groups}

    def texts(self, content: str, split: str, kind: Kind) -> dict[int, tuple[str | None, ...]]:
        """The texts of each row by its number; nothing where the downloaded rows are gone."""
        table = self._downloaded(content, split)
        return {} if table is None else dict(zip(table["row"].to_pylist(), kind.texts(table), strict=True))

    def ids(self, content: str, split: str) -> dict[int, str | None]:
        """What each row is called by its number; nothing where they have no ids, or the downloaded rows are gone."""
        table = self._downloaded(content, split)
        if table is None or ID not in table.column_names:
            return {}
        return dict(zip(table["row"].to_pylist(), table[ID].to_pylist(), strict=True))

    def _downloaded(self, content: str, split: str) -> pa.Table | None:
        """The split as it was downloaded from which those prepared rows were made."""
        download = self.download_of(content)
        try:
            return None if download is None else download.table(f"{split}.parquet")
        except UserError:  # damaged: `status` tells of it
            return None


@dataclass(frozen=True)
class PairedSplit:
    """What two runs predicted for the rows of one split that both have.

    `rows` (A,) and `labels` are of answers: rows, or the words of sentences. `contents` (A,) are the same for rows of
    one group, where rows have groups, or else of one text; None where that is not known any more. `alone` counts the
    rows that one of the runs has not.
    """

    info: TaskInfo
    split: str
    table: pa.Table  # of A's predictions, for what else it says of answers
    labels: np.ndarray
    a: np.ndarray
    b: np.ndarray
    contents: list[str] | None
    alone: int = 0

    @property
    def kind(self) -> Kind:
        """That of the task."""
        return KINDS[self.info.kind]

    @property
    def better(self) -> np.ndarray:
        """By how much less A is wrong than B, of each answer (A,): where labels are names 1, 0 or -1."""
        return self.kind.errors(self.labels, self.b) - self.kind.errors(self.labels, self.a)

    @cached_property
    def rows(self) -> list[int]:
        """The number of each answer's row."""
        return self.table["row"].to_pylist()


@dataclass(frozen=True)
class PairedTask:
    """A task of both sides: pairs of runs with the seed of each (two where they differ), and what is to be known."""

    task: str
    pairs: Sequence[tuple[Artefact, Artefact]]
    splits: Mapping[str, Sequence[PairedSplit]]  # of each split a value a pair
    notes: list[str] = field(default_factory=list)

    @property
    def info(self) -> TaskInfo:
        """The task, with the metrics that its runs were scored by."""
        return next(iter(self.splits.values()))[0].info

    @property
    def seeds(self) -> list[tuple[int, int]]:
        """The seeds of each pair."""
        return [(RunRecord.of(one).seed, RunRecord.of(other).seed) for one, other in self.pairs]


def paired_tasks(
    prepared: Prepared, a: Side, b: Side, wanted: Sequence[str]
) -> tuple[list[PairedTask], dict[str, Unlike]]:
    """The tasks that both sides have (or those `wanted`), and of those that cannot be compared the reasons."""
    found, refused = [], {}
    for task in wanted or list(dict.fromkeys([*a.runs, *b.runs])):
        try:
            found.append(_paired(prepared, a, b, task))
        except Unlike as error:
            refused[task] = error
    return found, refused


def _paired(prepared: Prepared, a: Side, b: Side, task: str) -> PairedTask:
    for side in (a, b):
        if task not in side.runs:
            raise Unlike(f"no run of {side.word!r} has it", fix="Name runs that have the task.")
    pairs, notes = _pairs(a, b, task)
    of_pairs = [_splits(prepared, one, other, task) for one, other in pairs]
    names = [split for split in of_pairs[0] if all(split in others for others in of_pairs)]
    splits = {split: [of_pair[split] for of_pair in of_pairs] for split in names}
    for split, found in splits.items():
        if any(one.rows != found[0].rows for one in found):
            raise Unlike(f"runs of different seeds were scored on different rows of {split}")
    alone = max(one.alone for found in splits.values() for one in found)
    if alone:
        notes.append(f"{alone} rows that only one side predicted are left out")
    if any(one.contents is None for found in splits.values() for one in found):
        notes.append("the prepared rows are gone, so rows of one text count as if they were of several")
    return PairedTask(task, pairs, splits, notes)


def _pairs(a: Side, b: Side, task: str) -> tuple[list[tuple[Artefact, Artefact]], list[str]]:
    """The runs of both sides, paired by seed; one run and one run are a pair whatever their seeds."""
    of_a, of_b = a.runs[task], b.runs[task]
    common = sorted(of_a.keys() & of_b.keys())
    if common:
        left = sorted(of_a.keys() ^ of_b.keys())
        notes = [f"seeds that one side lacks are left out: {', '.join(map(str, left))}"] if left else []
        return [(of_a[seed], of_b[seed]) for seed in common], notes
    if len(of_a) == len(of_b) == 1:
        (one, run), (other, other_run) = *of_a.items(), *of_b.items()
        return [(run, other_run)], [f"the runs have different seeds ({one} and {other})"]
    seeds = " and ".join(", ".join(map(str, sorted(found))) for found in (of_a, of_b))
    raise Unlike("the sides have no seed in common", where=seeds, fix="Train the seeds that are missing.")


def _splits(prepared: Prepared, one: Artefact, other: Artefact, task: str) -> dict[str, PairedSplit]:
    """What two runs predicted for the same rows of the task. Raises Unlike where they are not the same."""
    infos = [run_infos(run, RunRecord.of(run), [task])[task] for run in (one, other)]
    if (infos[0].kind, infos[0].labels, infos[0].range) != (infos[1].kind, infos[1].labels, infos[1].range):
        raise Unlike("the runs know it with other labels", where=f"{one.label}, {other.label}")
    tables = [_predictions(run, infos[0], task) for run in (one, other)]
    found = {split: table for split, table in tables[0].items() if split in tables[1]}
    if not found:
        splits = " and ".join(", ".join(table) for table in tables)
        raise Unlike("the runs were scored on other splits", where=splits)
    contents = [RunRecord.of(run).prepro[task] for run in (one, other)]
    main = infos[0].metrics[0]
    if not METRICS[main].from_labels:
        fix = "Put another metric first in the definition's metrics."
        raise Unlike(f"rows are compared by their labels, of which {metric_title(main, None)} is not made", fix=fix)
    metrics = tuple(name for name in infos[0].metrics if name in infos[1].metrics and METRICS[name].from_labels)
    if not metrics or infos[0].metrics[0] != infos[1].metrics[0] or infos[0].positive != infos[1].positive:
        raise Unlike("the runs have other metrics for it", where=f"{one.label}, {other.label}")
    info = replace(infos[0], metrics=metrics)
    return {split: _paired_split(prepared, info, split, found[split], tables[1][split], contents) for split in found}


def predictions_of(run: Artefact, kind: Kind, task: str) -> pa.Table:
    """What a run predicted for a task, without the head's outputs. Raises UserError where the table is damaged."""
    import pyarrow.compute as pc

    columns = [name for name in kind.predictions_schema().names if name != "logits"]
    table = run.table(f"{kind.predictions_table}.parquet", columns)
    return table.filter(pc.equal(table["task"], task))


def _predictions(run: Artefact, info: TaskInfo, task: str) -> dict[str, pa.Table]:
    """What a run predicted for a task, by split."""
    import pyarrow.compute as pc

    table = predictions_of(run, KINDS[info.kind], task)
    return {split: table.filter(pc.equal(table["split"], split)) for split in pc.unique(table["split"]).to_pylist()}


def _paired_split(
    prepared: Prepared, info: TaskInfo, split: str, one: pa.Table, other: pa.Table, contents: Sequence[str]
) -> PairedSplit:
    keys = [name for name in one.schema.names if name not in ("task", "split", "label", "prediction")]
    known = [list(zip(*(table[name].to_pylist() for name in keys), strict=True)) for table in (one, other)]
    place_of = {key: place for place, key in enumerate(known[1])}
    first = [place for place, key in enumerate(known[0]) if key in place_of]
    if not first:
        raise Unlike(f"no row of {split} was predicted by both runs")
    second = [place_of[known[0][place]] for place in first]
    a, b = one.take(first), other.take(second)
    rows = a["row"].to_pylist()
    of_rows = [prepared.contents(content, split) for content in dict.fromkeys(contents)]
    _check_rows(split, rows, a["label"].to_pylist(), b["label"].to_pylist(), of_rows)
    extra = sorted({*a["label"].to_pylist(), *b["prediction"].to_pylist()} - {*info.labels}) if info.labels else []
    info = replace(info, unseen=tuple(extra))
    kind, hashes = KINDS[info.kind], prepared.groups(contents[0], split) or of_rows[0]
    return PairedSplit(
        info,
        split,
        a,
        kind.label_values(info, a["label"].to_pylist()),
        kind.label_values(info, a["prediction"].to_pylist()),
        kind.label_values(info, b["prediction"].to_pylist()),
        None if hashes is None else [hashes[row] for row in rows],
        len({*(key[0] for key in known[0])} ^ {*(key[0] for key in known[1])}),
    )


def _check_rows(
    split: str, rows: Sequence[int], a: Sequence[Any], b: Sequence[Any], hashes: Sequence[Mapping[int, str] | None]
) -> None:
    """Raise Unlike where labels or texts of the rows differ, or where nothing says that texts are the same."""
    if count := len({row for row, one, other in zip(rows, a, b, strict=True) if one != other}):
        raise Unlike(f"other data: {count} of {len({*rows})} rows of {split} have another label in the other run")
    if len(hashes) == 1:  # both runs were trained and scored on the same prepared rows
        return
    one, other = hashes
    if one is None or other is None:
        fix = "Give the command that made the runs again; it makes the rows anew."
        raise Unlike("its prepared rows are not the same, and some are gone, so texts may be others", fix=fix)
    if count := len({row for row in rows if one.get(row) != other.get(row)}):
        raise Unlike(f"other data: {count} of {len({*rows})} rows of {split} have another text in the other run")


def answers_with_texts(
    prepared: Prepared, task: PairedTask
) -> Iterator[tuple[tuple[int, int], PairedSplit, dict[int, tuple[str | None, ...]], dict[int, str | None]]]:
    """Each pair's seeds and splits, with the texts and ids of the rows as far as they are still there."""
    for split, found in task.splits.items():
        for (run, _), seeds, of_pair in zip(task.pairs, task.seeds, found, strict=True):
            content = RunRecord.of(run).prepro[task.task]
            yield seeds, of_pair, prepared.texts(content, split, of_pair.kind), prepared.ids(content, split)
