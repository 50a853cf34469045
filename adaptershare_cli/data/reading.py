"""Reading a task: from its source to checked rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli import schemas
from adaptershare_cli.data.checks import RowCheck
from adaptershare_cli.data.cutting import cut_shares, joined
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.encoding import content_hash, groups_of
from adaptershare_cli.data.hub import read_hub_split
from adaptershare_cli.data.names import near_names, readable, shortened
from adaptershare_cli.data.readers import read_files
from adaptershare_cli.data.readers.rows import RowFault, UncheckedRows
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.data.sources import Source, files_of, locate, spec_of, splits_to_read
from adaptershare_cli.data.suspicions import (
    absent_labels,
    alike_labels,
    one_writing,
    parted_groups,
    rewritten,
    suspicious_labels,
    told_writings,
)
from adaptershare_cli.data.unpacking import likely_encoding
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, check_metrics
from adaptershare_cli.kinds.base import Kind
from adaptershare_cli.kinds.rows.texts import LONGEST_EXCERPT, NO_UTF8, folded, told

_FAULTS_TOLD = 5  # that an error message spells out
_FAULTS_COUNTED = 10_000  # beyond --max-rejected
_LACKS = ("is missing", "is empty")
_VALUES_TOLD = 12  # that are no labels
_FEW_LABELS = 20  # so many labels are believed whatever the number of rows


class AlikeLabels(UserError):
    """Labels that were to be collected from train differ only in case, white space or Unicode form."""


@dataclass
class ReadTask:
    """The checked rows of a task: `splits` by name in `Kind.downloaded_schema`, train first."""

    splits: dict[str, pa.Table]
    rejected: pa.Table  # schemas.REJECTED
    labels: tuple[str, ...]  # of the definition, or collected from train in sorted order; () for a regression
    missing: tuple[str, ...]  # splits of report_on that the source does not have
    unseen: dict[str, dict[str, int]]  # by split the labels that train never has, and how many have them
    left_out: dict[str, dict[str, int]]  # by split what its files hold beside rows, and how much of it
    suspicious: list[str]  # what to tell of its labels


def read_task(definition: TaskDefinition, source: Source, max_rejected: int = 0) -> ReadTask:
    """Read train and the scored splits, and check each row.

    Rows that cannot be used go to `rejected`, at most `max_rejected` over all splits. Raises UserError for more
    of them, for files whose structure is at fault, and if train or every scored split is absent or left empty.
    """
    kind, spec = KINDS[definition.kind], spec_of(definition, source)
    left_out: dict[str, Counter[str]] = {}
    dropped: list[tuple[str, RowFault]] = []
    most = max_rejected + _FAULTS_COUNTED
    taken: Counter[tuple[str, str]] = Counter()
    splits, labels, faults = _read_splits(definition, source, spec, most, left_out, dropped, taken)
    if len(faults) > max_rejected:
        empty = next((name for name, table in splits.items() if not table.num_rows), None)
        raise _too_many(definition, source, faults, max_rejected, empty)
    scored = [name for name in definition.report_on if name in splits]
    if not scored:
        what = f"the task `{definition.name}` has nothing to score: {', '.join(definition.report_on)} is absent"
        raise UserError(what, str(source.root or spec.path), "Give at least one of the splits in report_on.")
    for name, table in splits.items():
        if not table.num_rows:
            what = f"no row of the split `{name}` can be used"
            raise UserError(what, _whereabouts(spec, name), f"Correct its rows. {_commonest(faults, name)}".strip())
    if "text_pair" in kind.roles:
        _check_pairs(definition, spec, splits)
    suspicious = absent_labels(kind, splits["train"], definition.labels)
    if definition.labels_from_train:
        suspicious = suspicious_labels(kind, splits["train"], [column for _, column in spec.columns])
        _check_collected_labels(definition, spec, labels, splits["train"])
    if definition.positive and definition.positive not in labels:
        what = f"`positive` cannot be `{definition.positive}`, a label that train does not have"
        fix = shortened(f"{near_names(definition.positive, labels)}Labels: {', '.join(labels)}.")
        raise UserError(what, str(definition.path), fix)
    suspicious += [*told_writings(taken), *parted_groups(splits)]
    missing = tuple(name for name in definition.report_on if name not in splits)
    check_metrics(definition.metrics, labels, _whereabouts(spec, "train"))
    unseen = {name: new for name in scored if kind.keeps_new_labels and (new := _unseen(kind, splits[name], labels))}
    counted = {name: dict(+found) for name, found in left_out.items() if +found}
    return ReadTask(splits, _rejected_table([*faults, *dropped]), labels, missing, unseen, counted, suspicious)


def _read_splits(
    definition: TaskDefinition,
    source: Source,
    spec: SourceSpec,
    most_faults: int,
    left_out: dict[str, Counter[str]],
    dropped: list[tuple[str, RowFault]],
    taken: Counter[tuple[str, str]],
) -> tuple[dict[str, pa.Table], tuple[str, ...], list[tuple[str, RowFault]]]:
    """The rows that can be used by split, the labels, and the other rows' faults, each with its split.

    Reading ends once there are more than `most_faults` of them. What files hold beside rows goes to `left_out`,
    rows that the definition drops go to `dropped`, how labels were written otherwise goes to `taken`.
    """
    splits: dict[str, pa.Table] = {}
    faults: list[tuple[str, RowFault]] = []
    labels = definition.labels
    for split in (split for split in splits_to_read(definition, spec) if not split.share):
        unchecked = _read_split(source, spec, split, definition.labels)
        if unchecked is None:
            continue
        found: list[RowFault] = []
        left_out[split.name] = unchecked.left_out
        check = RowCheck(definition, spec, labels)
        splits[split.name] = check.table(unchecked, found, most_faults - len(faults))
        dropped += [(split.name, fault) for fault in check.dropped]
        taken.update(check.taken)
        faults += [(split.name, fault) for fault in sorted(found, key=lambda fault: fault.row)]
        if len(faults) > most_faults:
            break
        if split.name == "train" and definition.labels_from_train:
            kind = KINDS[definition.kind]
            if definition.normalise:
                splits["train"] = _in_one_writing(kind, splits["train"], taken)
            collected = kind.single_labels(splits["train"])
            labels = tuple(sorted(pc.unique(collected).to_pylist()))
    shares = {split.name: split.share for split in splits_to_read(definition, spec) if split.share}
    return {**splits, **_shared(KINDS[definition.kind], splits["train"], shares)}, labels, faults


def _in_one_writing(kind: Kind, train: pa.Table, taken: Counter[tuple[str, str]]) -> pa.Table:
    """Train with each label in the writing that is commonest; the others go to `taken`."""
    writing = one_writing(kind, train)
    counts = {item["values"]: item["counts"] for item in pc.value_counts(kind.single_labels(train)).to_pylist()}
    taken.update({(label, best): counts[label] for label, best in writing.items()})
    return rewritten(train, writing)


def _shared(kind: Kind, train: pa.Table, shares: dict[str, float]) -> dict[str, pa.Table]:
    """Train, and the splits that are shares of it."""
    if not shares or not train.num_rows:
        return {"train": train}
    content = [content_hash(*texts) for texts in kind.texts(train)]
    content = joined(content, groups_of(train))
    parts = cut_shares(content, kind.strata(train), kind.row_labels(train), shares)
    return {name: train.take(pa.array(rows, pa.int64())) for name, rows in parts.items()}


def _read_split(source: Source, spec: SourceSpec, split: SplitSpec, labels: tuple[str, ...]) -> UncheckedRows | None:
    """The split's rows, or None if it is optional and not there."""
    if source.kind == "hub":
        return read_hub_split(spec, split, labels)
    files = files_of(source, split)
    return None if files is None else read_files(files, split, spec)


def _unseen(kind: Kind, table: pa.Table, labels: tuple[str, ...]) -> dict[str, int]:
    """How often each label occurs that is none of `labels`, by label."""
    counts = {item["values"]: item["counts"] for item in pc.value_counts(kind.single_labels(table)).to_pylist()}
    return {label: counts[label] for label in sorted(counts) if label not in labels}


def _check_pairs(definition: TaskDefinition, spec: SourceSpec, splits: dict[str, pa.Table]) -> None:
    """Raise UserError unless all splits have text pairs or none has."""
    paired = {name: table["text_pair"].null_count == 0 for name, table in splits.items()}
    for name, has_pairs in paired.items():
        if has_pairs != paired["train"]:
            with_pairs, without = (name, "train") if has_pairs else ("train", name)
            what = f"the task `{definition.name}` has text pairs in the split `{with_pairs}`, but none in `{without}`"
            where = f"{_whereabouts(spec, with_pairs)} and {_whereabouts(spec, without)}"
            raise UserError(what, where, "Give every split a column of second texts, or none.")


def _check_collected_labels(
    definition: TaskDefinition, spec: SourceSpec, labels: tuple[str, ...], train: pa.Table
) -> None:
    """Raise UserError if the labels collected from train are too few, too many, or the same but for their writing."""
    kind = KINDS[definition.kind]
    count = len(kind.single_labels(train))
    where = _whereabouts(spec, "train")
    task = f"train of the task `{definition.name}`"
    if len(labels) < 2:
        raise UserError(
            f"{task} has one label only, {labels[0]!r}", where, f"A {definition.kind} needs at least two labels."
        )
    if len(labels) > _FEW_LABELS and 2 * len(labels) > count:
        fix = "Is it the right column? If so, list the labels in the definition."
        counted = f"{count} {kind.counted}"
        raise UserError(f"{task} has {len(labels)} labels in {counted}", f"{where}, column {spec.column('label')}", fix)
    if alike := alike_labels(labels):
        groups = "; ".join(" and ".join(map(repr, group)) for group in alike)
        same = ", ".join(f"{label}: {best}" for label, best in one_writing(kind, train).items())
        what = f"labels in {task} differ only in case, white space or Unicode form: {groups}"
        fix = f"Write `labels: {{normalise: true}}` to take the commonest, or `label_map: {{{same}}}`; list the labels "
        raise AlikeLabels(shortened(what), where, shortened(f"{fix}if they are different ones."))


def _whereabouts(spec: SourceSpec, name: str) -> str:
    """The files of a split (or its name on the hub), for messages."""
    split = spec.split(name)
    if split and split.share:
        return f"{name}, which is {split.share:.0%} of {_whereabouts(spec, 'train')}"
    return ", ".join(path for _, path in split.files) if split else name


def _too_many(
    definition: TaskDefinition, source: Source, faults: list[tuple[str, RowFault]], limit: int, empty: str | None
) -> UserError:
    """The error for more faulty rows than may be rejected; where they are very many, not all were counted.

    Of the split `empty` no row would be left.
    """
    sentences = [fault.sentence("" if source.root else f" ({split})") for split, fault in faults[:_FAULTS_TOLD]]
    if len(faults) > _FAULTS_TOLD:
        sentences.append(f"and {len(faults) - _FAULTS_TOLD} more")
    all_counted = len(faults) <= limit + _FAULTS_COUNTED
    count = "1 row" if len(faults) == 1 else f"{'' if all_counted else 'at least '}{len(faults)} rows"
    what = f"{count} of the task `{definition.name}` cannot be used ({limit} may be rejected)"
    place = f"in {source.root}: " if source.root else ""
    fix = f"Correct them, or let them go to rejected.parquet with --max-rejected {len(faults)}."
    if encoding := _other_encoding(definition, source, faults):
        what = f"the task `{definition.name}` is not in UTF-8; it looks like {encoding}"
        return UserError(what, place + sentences[0], f"Write `encoding: {encoding}` into its `files` block.")
    if not all_counted:
        fix = "Check the definition's reader, its options and its columns."
    elif empty is not None:
        fix = f"Correct them: no row of the split `{empty}` would be left. {_commonest(faults, empty)}"
    if not spec_of(definition, source).drop and any(fault.reason in _LACKS for _, fault in faults):
        fix += " `drop: missing` in its `files` block leaves out rows that lack a value."
    if definition.labels and (strange := [fault for _, fault in faults if "not one of the labels" in fault.reason]):
        fix += _of_strange_labels(definition, strange)
    return UserError(what, place + "; ".join(sentences), fix)


def _of_strange_labels(definition: TaskDefinition, faults: list[RowFault]) -> str:
    """All values that are none of the labels, with their counts, and how they could become labels."""
    counts = Counter(readable(fault.value.strip()) for fault in faults)
    found = told([f"{value!r} ({count})" for value, count in counts.most_common()], _VALUES_TOLD)
    known = {folded(label) for label in definition.labels}
    if any(folded(value) in known for value in counts):
        same = (
            "`labels: {names: […], normalise: true}` takes those that differ only in case or white space; others need"
        )
    else:
        same = "Labels that are written otherwise in the data need"
    return shortened(f" None of the labels: {found}. {same} a label_map in the definition.")


def _other_encoding(definition: TaskDefinition, source: Source, faults: list[tuple[str, RowFault]]) -> str:
    """The encoding that the first file with bytes that are no UTF-8 probably has; "" where there is none."""
    spec = spec_of(definition, source)
    if source.root is None or spec.encoding:
        return ""
    wrong = [fault.file for _, fault in faults if fault.reason == NO_UTF8]
    return likely_encoding(locate(source.root, wrong[0])) if len(wrong) > 1 else ""  # one is a damaged row


def _commonest(faults: list[tuple[str, RowFault]], split: str) -> str:
    """What most rows of a split lack; "" where it has no faulty row."""
    reasons = Counter((fault.column, fault.reason) for name, fault in faults if name == split)
    for (column, reason), count in reasons.most_common(1):
        where = f"column {readable(column)} {reason}" if column else reason
        return f"Most often ({count} of {reasons.total()} rows): {where}."
    return ""


def _rejected_table(faults: list[tuple[str, RowFault]]) -> pa.Table:
    rows = [
        {
            "split": split,
            "file": fault.file,
            "row": fault.row,
            "column": readable(fault.column),
            "value": readable(fault.value)[:LONGEST_EXCERPT],
            "reason": readable(fault.reason),
        }
        for split, fault in faults
    ]
    return pa.Table.from_pylist(rows, schema=schemas.REJECTED)
