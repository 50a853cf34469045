"""Sentences as words: how a text becomes words, the inputs that a long sentence takes, and words as token ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from adaptershare_cli import schemas
from adaptershare_cli.data.spans import OUTSIDE
from adaptershare_cli.errors import UserError

OVERLAP = 4  # neighbouring inputs of a long sentence have at most 1/4 of an input in common

_BLANKS = re.compile(r"[ \t\r\n]+")


def split_words(text: str) -> list[str]:
    """The words of a text in which blanks, tabs or line ends part them (other white space belongs to words)."""
    return [word for word in _BLANKS.split(text) if word]


@dataclass(frozen=True)
class Window:
    """One input of a sentence: words `start` to `end`; `first` to `last` are labelled there (ends excluded)."""

    start: int
    first: int
    last: int
    end: int


def windows(sizes: Sequence[int], capacity: int) -> list[Window]:
    """The inputs of a sentence whose words have these numbers of tokens, where `capacity` of them fill an input.

    Every word is labelled in exactly one input, in order. Neighbouring inputs overlap where there is room, so that a
    word sees what stands before and after it; of the words that both hold, each labels the half further from its edge.
    A word of more tokens than `capacity` has an input of its own (in which it will be cut).
    """
    found: list[Window] = []
    start = first = 0
    while True:
        end, used = start + 1, sizes[start]
        while end < len(sizes) and used + sizes[end] <= capacity:
            used += sizes[end]
            end += 1
        if end == len(sizes):
            return [*found, Window(start, first, end, end)]
        room = min(capacity // OVERLAP, capacity - sizes[end])
        begin = end
        while begin > first + 1 and sizes[begin - 1] <= room:
            begin -= 1
            room -= sizes[begin]
        last = (begin + end + 1) // 2
        found.append(Window(start, first, last, end))
        start, first = begin, last


def stratum(labels: Sequence[str]) -> int:
    """1 if a sentence has a label other than O, else 0: parts of train have both in train's proportions."""
    return int(any(label != OUTSIDE for label in labels))


def tokenise_words(
    table: pa.Table, keys: Sequence[str], labels: Sequence[str], tokenizer: Any, max_length: int
) -> pa.Table:
    """Sentences (`schemas.downloaded`) with their `keys` as inputs (`schemas.prepared`) of at most `max_length` tokens.

    A word is labelled at its first sub-word; one that the tokenizer makes nothing of becomes its unknown token.
    `labels` gives labels their numbers. Raises UserError for such a word if there is no unknown token.
    """
    number_of = {label: number for number, label in enumerate(labels)}
    sentences, given = table["text"].to_pylist(), table["label"].to_pylist()
    sizes = _sizes(sentences, table["row"].to_pylist(), tokenizer)
    capacity = max_length - tokenizer.num_special_tokens_to_add()
    inputs = [(at, window) for at in range(len(sentences)) for window in windows(sizes[at], capacity)]
    encoded = tokenizer(
        [sentences[at][window.start : window.end] for at, window in inputs],
        is_split_into_words=True,
        truncation=True,
        max_length=max_length,
    )
    at = [at for at, _ in inputs]
    ids = encoded["input_ids"]
    columns = {
        "row": table["row"].take(pa.array(at)),
        "content": [keys[place] for place in at],
        "input_ids": ids,
        "token_type_ids": encoded.get("token_type_ids", [None] * len(ids)),
        "length": [len(row) for row in ids],
        "truncated": [bool(item.overflowing) for item in encoded.encodings],
        "stratum": [stratum(given[place]) for place in at],
        "first_word": [window.first for _, window in inputs],
        "words": [table["text"][place].as_py()[window.first : window.last] for place, window in inputs],
        "starts": [_starts(item, window) for item, (_, window) in zip(encoded.encodings, inputs, strict=True)],
        "label": [[number_of[label] for label in given[place][window.first : window.last]] for place, window in inputs],
    }
    return pa.table(columns, schema=schemas.prepared("tagging"))


def _sizes(sentences: list[list[str]], rows: list[int], tokenizer: Any) -> list[list[int]]:
    """The number of tokens of each word; words that have none are replaced, in place."""
    sizes = _counts(sentences, tokenizer)
    lacking = [at for at, counts in enumerate(sizes) if 0 in counts]
    for at in lacking:
        for place, count in enumerate(sizes[at]):
            if not count:
                if tokenizer.unk_token is None:
                    what = f"the tokenizer makes no token of the word {sentences[at][place]!r}, and has none for others"
                    raise UserError(what, f"row {rows[at]} (counted from 0)", "Take the word out.")
                sentences[at][place] = tokenizer.unk_token
    for at, counts in zip(lacking, _counts([sentences[at] for at in lacking], tokenizer), strict=True):
        sizes[at] = counts
    return sizes


def _counts(sentences: list[list[str]], tokenizer: Any) -> list[list[int]]:
    if not sentences:
        return []
    encoded = tokenizer(sentences, is_split_into_words=True, add_special_tokens=False, truncation=False, verbose=False)
    found = [Counter(item.word_ids) for item in encoded.encodings]
    return [[counts[place] for place in range(len(words))] for words, counts in zip(sentences, found, strict=True)]


def _starts(encoding: Any, window: Window) -> list[int]:
    """The token of the first sub-word of each labelled word."""
    first: dict[int, int] = {}
    for token, word in enumerate(encoding.word_ids):
        if word is not None:
            first.setdefault(word, token)
    return [first[place - window.start] for place in range(window.first, window.last)]
