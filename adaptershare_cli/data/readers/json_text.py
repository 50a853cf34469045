"""JSON values of texts, in which no key may stand twice, and what is wrong where there is none."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from adaptershare_cli.data.files import DataFile, read_whole
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_EXCERPT


def json_value(text: str) -> Any:
    """The value that a text holds. Raises ValueError or RecursionError (see `json_fault`)."""
    return _DECODER.decode(text)


def json_fault(error: Exception, in_lines: bool = False) -> str:
    """What `json_value` found wrong; with `in_lines` the text had several, and the place names one of them."""
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, character {error.colno}" if in_lines else f"character {error.colno}"
        return f"is not JSON: {error.msg.removesuffix(' at')} at {place}"
    return f"is not JSON that can be read: {'too deeply nested' if isinstance(error, RecursionError) else error}"


def whole_json(file: DataFile, largest: int, fix: str) -> Any:
    """The value that a file of at most `largest` bytes holds. Raises UserError with this `fix` where it is no JSON."""
    try:
        return json_value(read_whole(file, largest))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the file {json_fault(error, in_lines=True)}", str(file.path), fix) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key `{key[:LONGEST_EXCERPT]}` stands there twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats)
