"""Texts and pairs of texts as token ids."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

BEGINNING = 100  # characters a token that are more than enough of a text


def tokenise(table: pa.Table, tokenizer: Any, max_length: int) -> dict[str, Any]:
    """Downloaded rows as columns of `schemas.TOKENISED`, without `content`, of at most `max_length` tokens."""
    first, second = (
        [_beginning(text, tokenizer, max_length) for text in table[name].to_pylist()] for name in ("text", "text_pair")
    )
    arguments = (first,) if second[0] is None else (first, second)
    encoded = tokenizer(*arguments, truncation="longest_first", max_length=max_length, return_overflowing_tokens=False)
    return {"row": table["row"], **token_columns(encoded)}


def token_columns(encoded: Any) -> dict[str, Any]:
    """What a tokenizer gives for several inputs as columns of `schemas.TOKENISED`."""
    ids = encoded["input_ids"]
    return {
        "input_ids": ids,
        "token_type_ids": encoded.get("token_type_ids", [None] * len(ids)),
        "length": [len(tokens) for tokens in ids],
        "truncated": [bool(item.overflowing) for item in encoded.encodings],
    }


def _beginning(text: str | None, tokenizer: Any, max_length: int) -> str | None:
    """Of a very long text enough whole words to fill an input and more; the tokens of what follows would be cut off."""
    most = BEGINNING * max_length
    end = text.find(" ", most) if text is not None and len(text) > most else -1
    if text is None or end < 0 or tokenizer.truncation_side == "left":  # the end is kept of it
        return text
    found = tokenizer(text[:end], add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return text[:end] if len(found) > max_length else text
