"""Unknown files with a word a line: which layout it is, and the words of the first sentences."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.data.readers import READERS
from adaptershare_cli.kinds.rows.texts import split_words

_CONLLU = READERS["conllu"].columns
_WORD_OF_CONLLU = re.compile(r"\d+\t")
_NO_WORD_OF_CONLLU = re.compile(r"\d+[-.]\d+\t")
_DOCUMENT = "-DOCSTART-"
_SIGN = "#"
_FEWEST = 2  # sentences that show the layout
_WORDS_A_SENTENCE = 2  # at least, the mean


@dataclass(frozen=True)
class WordLines:
    """A file's layout as a definition writes it, and of each sentence the list of values in each column."""

    reader: str
    columns: tuple[str, ...]
    rows: list[list[Any]]
    comment: str = ""


def word_lines(text: str, most: int) -> WordLines | None:
    """What a text with a word a line holds in its first `most` sentences; None for one of another layout."""
    blocks = [block for part in re.split(r"\r?\n[ \t]*\r?\n", text) if (block := part.strip("\r\n").splitlines())]
    blocks = blocks[:most]
    return _conllu(blocks) or _conll(blocks)


def _conllu(blocks: list[list[str]]) -> WordLines | None:
    rows = []
    for block in blocks:
        lines = [line for line in block if not line.startswith(_SIGN) and not _NO_WORD_OF_CONLLU.match(line)]
        words = [line.split("\t") for line in lines if _WORD_OF_CONLLU.match(line)]
        if len(words) < len(lines) or any(len(word) != len(_CONLLU) for word in words):
            return None
        rows += [[list(column) for column in zip(*words, strict=True)]] if words else []
    return WordLines("conllu", _CONLLU, rows) if rows else None


def _conll(blocks: list[list[str]]) -> WordLines | None:
    """Columns that blanks or tabs part, the same number in nearly all lines."""
    lines = [[fields for line in block if (fields := split_words(line)) and fields[0] != _DOCUMENT] for block in blocks]
    widths = Counter(len(fields) for block in lines for fields in block)
    width = widths.most_common(1)[0][0] if widths else 0
    begins = [block[0] for block in lines if block and block[0][0] == _SIGN]
    always = 2 * len(begins) > len(blocks)  # a mere word would not begin most sentences
    comments = sum(always or len(fields) != width for fields in begins)
    words = [
        [fields for at, fields in enumerate(block) if len(fields) == width and not (always and not at)]
        for block in lines
    ]
    words = [block for block in words if block]
    count = sum(map(len, words))
    if width < 2 or len(words) < _FEWEST or count < _WORDS_A_SENTENCE * len(words):
        return None
    if count + comments < 0.98 * widths.total():
        return None
    rows = [[list(column) for column in zip(*block, strict=True)] for block in words]
    return WordLines("conll", tuple(map(str, range(width))), rows, f"{_SIGN} " if comments else "")
