"""Sentences as words: the inputs that a long sentence takes, and words as token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.tokens import token_columns

OVERLAP = 4  # neighbouring inputs of a long sentence have at most 1/4 of an input in common


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


def tokenise_words(table: pa.Table, tokenizer: Any, max_length: int) -> tuple[dict[str, Any], list[tuple[int, Window]]]:
    """Downloaded sentences as inputs of at most `max_length` tokens: columns, and of each input sentence and window.

    Columns are those of `schemas.TOKENISED` without `content`, and of each input the words that are labelled there:
    the place of the first (`first_word`), `words`, and the token of each one's first sub-word (`starts`). A word that
    the tokenizer makes nothing of becomes its unknown token. Raises UserError for such a word if there is none.
    """
    sentences = table["text"].to_pylist()
    sizes = _sizes(sentences, table["row"].to_pylist(), tokenizer)
    capacity = max_length - tokenizer.num_special_tokens_to_add()
    inputs = [(at, window) for at in range(len(sentences)) for window in windows(sizes[at], capacity)]
    encoded = tokenizer(
        [sentences[at][window.start : window.end] for at, window in inputs],
        is_split_into_words=True,
        truncation=True,
        max_length=max_length,
    )
    columns = {
        "row": table["row"].take(pa.array([at for at, _ in inputs])),
        **token_columns(encoded),
        "first_word": [window.first for _, window in inputs],
        "words": [table["text"][at].as_py()[window.first : window.last] for at, window in inputs],
        "starts": [_starts(item, window) for item, (_, window) in zip(encoded.encodings, inputs, strict=True)],
    }
    return columns, inputs


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
