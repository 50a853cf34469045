"""What a table's columns are for: which holds texts, which labels, and what kind of task that makes.

Names that people use for such columns count first, then what the values look like. Whatever could be otherwise is
told, and never decided in silence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from adaptershare_cli.data.names import near_names
from adaptershare_cli.data.sniffing import Sniffed, number
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, OF_TEXTS
from adaptershare_cli.kinds.base import GROUP, WEIGHT
from adaptershare_cli.kinds.metrics.spans import is_span_label

LABELS = ("label", "labels", "class", "category", "target", "intent", "sentiment", "topic", "tag", "score", "rating",
          "stars", "y", "gold_label", "answer", "outcome", "priority", "status")  # fmt: skip
SURE_LABELS = ("label", "labels", "gold_label", "target", "y")  # beside these no other column is meant
TEXTS = ("text", "sentence", "body", "message", "content", "review", "comment", "utterance", "question", "document",
         "tweet", "title", "description", "subject", "query", "input")  # fmt: skip
PAIRS = (("text", "text_pair"), ("sentence1", "sentence2"), ("question1", "question2"), ("premise", "hypothesis"),
         ("text_a", "text_b"), ("text1", "text2"), ("question", "sentence"), ("question", "answer"))  # fmt: skip
GAPS = ("n/a", "#n/a", "nan", "null")  # what programs write where a value is missing, in any case
MOST_LABELS = 200
FEW_NUMBERS = 10  # so many different whole numbers may be labels as well as scores
SURE_SHARE = 0.2  # more different values than that share of the rows are hardly labels

WORDS = ("form", "tokens", "words", "token", "word", "text", "sentence")
WORD_LABELS = ("upos", "ner_tags", "tags", "labels", "ner", "label", "tag", "pos_tags", "chunk_tags", "xpos", "deprel")
TAGGED = next(name for name, kind in KINDS.items() if kind.listed)
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
SPLIT_COLUMNS = ("split", "part", "set", "subset", "partition", "fold", "data_split", "dataset")
GROUPS = ("group", "author", "author_id", "user", "user_id", "speaker", "customer", "customer_id", "patient",
          "patient_id", "conversation", "conversation_id", "thread", "thread_id", "doc_id", "document_id", "session",
          "session_id")  # fmt: skip
LABELLED, RANGED = (next(n for n in OF_TEXTS if getattr(KINDS[n], trait)) for trait in ("labelled", "ranged"))


@dataclass(frozen=True)
class Guess:
    """The roles of columns, the kind of task, and its range and decimal mark; `unsure` is what could be otherwise."""

    text: str
    label: str
    kind: str
    text_pair: str = ""
    range: tuple[float, float] | None = None
    decimal: str = ""
    metrics: tuple[str, ...] = ()  # where they are not those that are usual for the kind
    split_column: str = ""  # and by split the values that stand in it
    split_values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: str = ""
    weight: str = ""
    drop: bool = False  # rows lack a value, and are left out
    missing: tuple[str, ...] = ()  # what stands there besides nothing
    normalise: bool = False  # labels are written in several ways
    told: tuple[str, ...] = ()  # what is certain, and worth a word
    unsure: tuple[str, ...] = ()


def guess(table: Sniffed, told: Mapping[str, str]) -> Guess:
    """Roles and kind for a table; `told` are those that the user named (text, text_pair, label, kind).

    Raises UserError where a column that is named is not there, or none can be for texts or labels.
    """
    for role in ("text", "text_pair", "label", GROUP, WEIGHT):
        if role in told and told[role] not in table.columns:
            fix = f"{near_names(told[role], table.columns)}Columns: {', '.join(table.columns)}."
            raise UserError(f"there is no column `{told[role]}` for the {role.replace('_', ' ')}", str(table.path), fix)
    if sum(_listed(table, name) for name in table.columns) > 1:
        return _guess_words(table, told)
    unsure = list(table.notes)
    text, pair = _texts(table, told, unsure)
    label = told.get("label") or _label(table, {text, pair}, unsure)
    lacking, missing = _gaps(table, [name for name in (text, pair, label) if name], unsure)
    values = [value for value in table.values(label) if not _is_gap(value)]
    if not values:
        raise UserError(f"the column `{label}` is empty", str(table.path), "Name another one with --label.")
    if any(isinstance(value, list | dict) for value in values):
        what = f"the column `{label}` holds lists or objects, not one label a row"
        raise UserError(what, str(table.path), "Name another one with --label.")
    decimal = _decimal(values)
    numbers = [number(value, decimal) for value in values]
    kind = told.get("kind") or _kind(label, values, numbers, unsure)
    if kind == LABELLED:
        _check_labels(table, label, values, unsure)
        return Guess(text, label, kind, pair, drop=lacking, missing=missing, unsure=tuple(unsure))
    known = [one for one in numbers if one is not None]
    if not known:
        raise UserError(f"the column `{label}` holds no numbers", str(table.path), f"Leave --kind {kind} out.")
    low, high = math.floor(min(known)), math.ceil(max(known))
    bounds = (float(low), float(high if high > low else low + 1))
    unsure.append(f"scores lie between {bounds[0]:g} and {bounds[1]:g} in the rows that were looked at: their range?")
    return Guess(text, label, kind, pair, bounds, decimal, drop=lacking, missing=missing, unsure=tuple(unsure))


def split_column(table: Sniffed, values: Callable[[str], Mapping[str, int]]) -> tuple[str, dict[str, list[str]]]:
    """The column that says of which split a row is, and its values by split; "" where there is none.

    `values` gives all values of a column: those of the first rows may be of one split only.
    """
    for name in table.columns:
        found = {str(value).strip() for value in table.values(name) if isinstance(value, str)}
        if not found or not all(value.lower() in SPLIT_WORDS for value in found):
            continue
        if len(found) == 1 and name.strip().lower() not in SPLIT_COLUMNS:
            continue
        by_split: dict[str, list[str]] = {}
        for value in sorted(values(name)):
            by_split.setdefault(SPLIT_WORDS.get(value.lower(), ""), []).append(value)
        if "" not in by_split and "train" in by_split and len(by_split) > 1:
            return name, by_split
    return "", {}


def likely_group(table: Sniffed) -> str:
    """A column that looks like a group of rows: it is called so, and its values repeat; "" where there is none."""
    by_lower = {name.strip().lower(): name for name in table.columns}
    for name in (by_lower[word] for word in GROUPS if word in by_lower):
        values = [value for value in table.values(name) if value not in (None, "")]
        if 1 < len(set(map(str, values))) < len(values):
            return name
    return ""


def _none(what: str, table: Sniffed, fix: str) -> UserError:
    """The error that no column is as it should be, with those that there are and what is odd of them."""
    odd = "".join(f" {text[0].upper()}{text[1:]}." for text in table.told)
    return UserError(what, str(table.path), f"{fix} Columns: {', '.join(table.columns)}.{odd}")


def _is_gap(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and value.strip().lower() in ("", *GAPS))


def _gaps(table: Sniffed, columns: Sequence[str], unsure: list[str]) -> tuple[bool, tuple[str, ...]]:
    """Whether rows lack a value in one of the columns, and what stands there besides nothing."""
    found = [value for name in columns for value in table.values(name) if _is_gap(value)]
    words = sorted({value.strip() for value in found if isinstance(value, str) and value.strip()})
    if found:
        shown = ", ".join(map(repr, words)) or "nothing stands there"
        unsure.append(f"{len(found)} values are missing in the rows that were looked at ({shown}): are they left out?")
    return bool(found), tuple(words)


def _texts(table: Sniffed, told: Mapping[str, str], unsure: list[str]) -> tuple[str, str]:
    """The column of texts, and that of second texts ("" if there is none)."""
    by_lower = {name.strip().lower(): name for name in table.columns}
    if "text" not in told and "text_pair" not in told:
        for first, second in PAIRS:
            if first in by_lower and second in by_lower and _wordy(table, by_lower[second]) > 1.5:
                return by_lower[first], by_lower[second]
    pair = told.get("text_pair", "")
    if "text" in told:
        return told["text"], pair
    free = [name for name in table.columns if name not in (pair, told.get("label"))]
    named = [by_lower[name] for name in TEXTS if name in by_lower and by_lower[name] in free]
    wordy = sorted(free, key=lambda name: -_wordy(table, name))
    if not wordy or not _wordy(table, wordy[0]):
        raise _none("no column holds texts", table, "Name it with --text.")
    best = named[0] if named else wordy[0]
    others = [name for name in dict.fromkeys((*named, *wordy)) if name != best and _wordy(table, name) > 3]
    if others and (not named or _wordy(table, others[0]) > _wordy(table, best)):
        unsure.append(f"`{best}` is taken for the text; `{'`, `'.join(others[:3])}` could be, too")
    return best, pair


def _label(table: Sniffed, texts: set[str], unsure: list[str]) -> str:
    """The column of labels."""
    by_lower = {name.strip().lower(): name for name in table.columns if name not in texts}
    named = [by_lower[name] for name in LABELS if name in by_lower]
    likely = [name for name in by_lower.values() if _like_labels(table.values(name))]
    candidates = list(dict.fromkeys([*named, *reversed(likely)]))  # labels often stand last
    if not candidates:
        candidates = [name for name in by_lower.values() if _numeric(table.values(name)) and not _index(table, name)]
    if not candidates:
        raise _none("no column looks like labels", table, "Name it with --label.")
    if len(candidates) > 1 and (len(named) != 1 or named[0].strip().lower() not in SURE_LABELS):
        others = "`, `".join(candidates[1:4])
        unsure.append(f"`{candidates[0]}` is taken for the label; `{others}` could be, too")
    return candidates[0]


def _kind(label: str, values: Sequence[Any], numbers: Sequence[float | None], unsure: list[str]) -> str:
    if any(one is None for one in numbers):
        return LABELLED
    different = {one for one in numbers if one is not None}
    whole = all(one == int(one) for one in different)
    if not whole or len(different) > FEW_NUMBERS:
        return RANGED
    if len(different) > 2:
        unsure.append(f"`{label}` holds {len(different)} different numbers: labels (as is taken), or scores?")
    return LABELLED


def _check_labels(table: Sniffed, label: str, values: Sequence[Any], unsure: list[str]) -> None:
    counts = Counter(str(value).strip() for value in values)
    if len(counts) < 2:
        what = f"the column `{label}` holds one label only: {next(iter(counts))!r}"
        raise UserError(what, str(table.path), "Name another one with --label.")
    if len(counts) > SURE_SHARE * len(values) and len(counts) > FEW_NUMBERS:
        unsure.append(f"`{label}` has {len(counts)} different labels in {len(values)} rows: is it the right column?")


def _decimal(values: Sequence[Any]) -> str:
    """ "," where numbers are written with a decimal comma."""
    texts = [value for value in values if isinstance(value, str)]
    commas = [text for text in texts if "," in text]
    return "," if commas and all(number(text, ",") is not None for text in texts) else ""


def _wordy(table: Sniffed, column: str) -> float:
    """Words a value, the mean over the rows; 0 for a column that holds no texts."""
    values = [value for value in table.values(column) if isinstance(value, str) and number(value) is None]
    if not values or len(values) < len(table.rows) / 2:
        return 0.0
    return sum(len(value.split()) for value in values) / len(values)


def _like_labels(values: Sequence[Any]) -> bool:
    texts = [str(value).strip() for value in values if value not in (None, "")]
    different = set(texts)
    most = min(MOST_LABELS, max(2, SURE_SHARE * len(texts)))
    return 2 <= len(different) <= most and max(map(len, different)) <= 60


def _numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value not in (None, "")]
    decimal = _decimal(known)
    return bool(known) and all(number(value, decimal) is not None for value in known)


def _index(table: Sniffed, column: str) -> bool:
    """Whether a column only numbers the rows."""
    found = [number(value) for value in table.values(column)]
    steps = {b - a for a, b in zip(found, found[1:], strict=False) if a is not None and b is not None}
    return steps == {1.0}


def _listed(table: Sniffed, column: str) -> bool:
    """Whether a column holds a list of texts in each row."""
    values = table.values(column)
    return bool(values) and all(
        isinstance(value, list) and all(isinstance(one, str) for one in value) for value in values
    )


def _guess_words(table: Sniffed, told: Mapping[str, str]) -> Guess:
    """Roles of columns of lists: words, and a label for each of them."""
    if told.get("kind", TAGGED) != TAGGED:
        fix = f"Leave --kind {told['kind']} out."
        raise UserError("the file holds words with labels, so its kind is tagging", str(table.path), fix)
    listed = [name for name in table.columns if _listed(table, name)]
    different = {name: {one for value in table.values(name) for one in value} for name in listed}
    by_lower = {name.strip().lower(): name for name in listed}
    widest = max(listed, key=lambda name: (len(different[name] - _numbers(different[name])), -listed.index(name)))
    text = told.get("text") or next((by_lower[name] for name in WORDS if name in by_lower), widest)
    sizes = [len(value) for value in table.values(text)]
    few = [
        name
        for name in listed
        if name != text
        and 2 <= len(different[name]) <= MOST_LABELS
        and len(different[name]) < len(different[text])
        and not _numbers(different[name]) == different[name]
        and [len(value) for value in table.values(name)] == sizes
    ]
    spans = [name for name in few if all(map(is_span_label, different[name]))]
    named = [by_lower[name] for name in WORD_LABELS if by_lower.get(name) in few]
    candidates = list(dict.fromkeys([*reversed(spans), *named, *reversed(few)]))
    label = told.get("label") or next(iter(candidates), "")
    if not label:
        raise UserError("no column looks like labels of words", str(table.path), "Name it with --label.")
    others = [name for name in candidates if name != label]
    unsure = list(table.notes)
    if "label" not in told and (len(spans) > 1 or (not spans and not named and others)):
        unsure.append(f"the column `{label}` is taken for the label; `{'`, `'.join(others[:3])}` could be, too")
    said = [f"another task of the same words: --label {name} --name NAME" for name in others[:3]]
    metrics = ("span_f1", "accuracy") if label in spans else ("accuracy", "macro_f1")
    return Guess(text, label, TAGGED, metrics=metrics, told=tuple(said), unsure=tuple(unsure))


def _numbers(values: Set[str]) -> set[str]:
    return {value for value in values if number(value) is not None}
