"""Labels that can be used, but look like a mistake: what to tell of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli.kinds.base import GROUP, Kind
from adaptershare_cli.kinds.rows.texts import folded, told

_HEADS = frozenset(
    "label labels class category tag tags target gold gold_label sentiment intent upos ner ner_tags".split()
)


def suspicious_labels(kind: Kind, train: pa.Table, columns: Sequence[str | int | None]) -> list[str]:
    """A line for each way in which labels of train look like no labels; `columns` are the source's, of any role.

    Such are: that of one row (or word) alone, one that names a column and stands in the first row, and one that only
    one word has, and only where it begins a sentence.
    """
    counts = {item["values"]: item["counts"] for item in pc.value_counts(kind.single_labels(train)).to_pylist()}
    heads = _HEADS | {folded(str(column)) for column in columns}
    first = {label for label in _first_labels(train) if counts[label] == 1 and folded(label) in heads}
    found = [
        f"the label `{label}` of the first row looks like the name of a column: is it a header?" for label in first
    ]
    once = sorted(label for label, count in counts.items() if count == 1 and label not in first)
    if once:
        found.append(f"labels of one {kind.counted.removesuffix('s')} only: {told(once)}")
    for label, word in sorted(_markup(train).items()):
        found.append(
            f"the label `{label}` ({counts[label]} times) is only that of `{word}` at the beginning of sentences: "
            "is it markup or a comment?"
        )
    return found


def absent_labels(kind: Kind, train: pa.Table, listed: Sequence[str]) -> list[str]:
    """A line if some of the labels that a definition lists are not those of any row of train."""
    there = set(pc.unique(kind.single_labels(train)).to_pylist())
    absent = [label for label in listed if label not in there]
    return [f"labels that no {kind.counted.removesuffix('s')} of train has: {told(absent)}"] if absent else []


def alike_labels(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only in case, white space or Unicode form."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(folded(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def one_writing(kind: Kind, train: pa.Table) -> dict[str, str]:
    """For labels of train that differ from others only in case, white space or Unicode form: that which is commonest.

    Of equally common ones it is the first in sorted order.
    """
    counts = {item["values"]: item["counts"] for item in pc.value_counts(kind.single_labels(train)).to_pylist()}
    found: dict[str, str] = {}
    for group in alike_labels(sorted(counts)):
        best = max(group, key=lambda label: (counts[label], [-ord(sign) for sign in label]))
        found |= {label: best for label in group if label != best}
    return found


def rewritten(train: pa.Table, writing: Mapping[str, str]) -> pa.Table:
    """Train with those of its labels, or words' labels, written otherwise."""
    if not writing:
        return train
    place = train.schema.get_field_index("label")
    field = train.schema.field(place)
    values = [
        [writing.get(one, one) for one in value] if isinstance(value, list) else writing.get(value, value)
        for value in train["label"].to_pylist()
    ]
    return train.set_column(place, field, pa.array(values, field.type))


def told_writings(taken: Mapping[tuple[str, str], int]) -> list[str]:
    """A line that says which labels were written otherwise; none where none was."""
    of_label: dict[str, list[str]] = {}
    for (written, label), count in sorted(taken.items()):
        of_label.setdefault(label, []).append(f"{written!r} ({count})")
    words = [f"`{label}` for {told(found)}" for label, found in of_label.items()]
    return [f"labels written in several ways are taken for one: {'; '.join(words)}"] if words else []


def parted_groups(splits: Mapping[str, pa.Table]) -> list[str]:
    """A line for each scored split with rows of groups that train has, too: their files were not cut by group."""
    if GROUP not in splits["train"].column_names:
        return []
    known = pc.unique(splits["train"][GROUP].drop_null())
    lines = []
    for name, table in splits.items():
        count = pc.sum(pc.is_in(table[GROUP], known)).as_py() if name != "train" else 0
        lines += [f"{count} of {table.num_rows} rows of {name} are of groups that train has, too"] if count else []
    return lines


def _first_labels(train: pa.Table) -> Iterator[str]:
    for label in train["label"][:1].to_pylist():
        yield from [label] if isinstance(label, str) else label


def _markup(train: pa.Table) -> dict[str, str]:
    """By label the one word that has it, where that always begins a sentence, and more than once."""
    if not pa.types.is_list(train["label"].type):
        return {}
    begins: dict[str, Counter[str]] = {}
    inside: set[str] = set()
    for words, labels in zip(train["text"].to_pylist(), train["label"].to_pylist(), strict=True):
        begins.setdefault(labels[0], Counter())[words[0]] += 1
        inside.update(labels[1:])
    return {
        label: next(iter(words))
        for label, words in begins.items()
        if label not in inside and len(words) == 1 and words.total() > 1
    }
