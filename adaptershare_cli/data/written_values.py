"""The values that a task's YAML file may hold: each is checked and becomes what it means. Raised is KeyFault."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic.json_schema import WithJsonSchema
from pydantic_core.core_schema import no_info_after_validator_function

from adaptershare_cli.data.key_faults import KeyFault, check_one_of, inside
from adaptershare_cli.data.names import is_hub_id, name_fault
from adaptershare_cli.data.unpacking import is_encoding
from adaptershare_cli.kinds.rows.texts import label_fault

_RESERVED_SPLITS = ("heldout", "select", "rejected")  # the stages write files of these names

# Of YAML everything is text, a list or a mapping.

Scalar = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"], "pattern": r"\S"})]
Scalars = Annotated[list[Scalar], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
TwoNumbers = Annotated[list[float], Field(min_length=2, max_length=2)]


def _text(written: Any) -> str:
    if not isinstance(written, str) or not written.strip():
        raise KeyFault("must be one piece of text")
    return written


def _texts(written: Any, info: ValidationInfo) -> tuple[str, ...]:
    if not isinstance(written, list) or not written or not all(isinstance(one, str) and one.strip() for one in written):
        raise KeyFault("must be a list of texts", f"Write it so: {info.field_name}: [first, second].")
    if len(set(written)) < len(written):
        raise KeyFault("names something twice")
    return tuple(written)


def _flag(written: Any) -> bool:
    if not isinstance(written, str) or written.lower() not in ("true", "false"):
        raise KeyFault("must be true or false")
    return written.lower() == "true"


def mapping(written: Any) -> dict[str, Any]:
    """A mapping."""
    if not isinstance(written, dict):
        raise KeyFault("must be a mapping of keys to values")
    return written


def read_labels(written: Any, info: ValidationInfo) -> tuple[str, ...]:
    """A list of labels; () for from-train."""
    if written == "from-train":
        return ()
    labels = tuple(label.strip() for label in _texts(written, info))
    if len(labels) < 2:
        raise KeyFault("needs at least two labels")
    if len(set(labels)) < len(labels):
        raise KeyFault("names something twice")
    _check_labels(labels)
    return labels


def _check_labels(labels: Iterable[str]) -> None:
    for label in labels:
        if fault := label_fault(label):
            raise KeyFault(f"has a label that {fault}: {label[:40]!r}")


def _label(written: Any) -> str:
    return _text(written).strip()


def _range(written: Any, info: ValidationInfo) -> tuple[float, float]:
    texts = _texts(written, info)
    try:
        low, high = map(float, texts)
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(high - low) and low < high):
        raise KeyFault("must be two numbers, the lower one first", "Write it so: range: [0, 5].")
    return low, high


def read_label_map(written: Any) -> tuple[tuple[str, str], ...]:
    """Pairs of a value and its label, sorted."""
    pairs = []
    for value, label in mapping(written).items():
        with inside(value):
            pairs.append((value.strip(), _text(label).strip()))
    if not all(value for value, _ in pairs) or len({value for value, _ in pairs}) < len(pairs):
        raise KeyFault("has an empty value, or one twice", "White space at the ends does not count.")
    _check_labels(label for _, label in pairs)
    return tuple(sorted(pairs))


def read_hub_id(written: str) -> str:
    """The id of a data set of the hub."""
    if not is_hub_id(written):
        raise KeyFault(f"cannot be a hub id: `{written}`", "Write it so: path: OWNER/NAME.")
    return written


def read_encoding(written: str) -> str:
    """The name of an encoding of texts."""
    if not is_encoding(written):
        raise KeyFault(f"is no encoding that is known here: `{written}`", "For example cp1252, latin-1 or utf-16.")
    return written


def read_delimiter(written: Any) -> str:
    """One character that can part fields."""
    if not isinstance(written, str) or len(written) != 1 or written in '"\r\n':
        raise KeyFault("must be one character, and neither a quote nor a line end", 'Write it so: delimiter: ";".')
    return written


def read_count(written: Any) -> int:
    """A whole number, 0 or more."""
    if not isinstance(written, str) or not re.fullmatch(r"[0-9]{1,6}", written):
        raise KeyFault("must be a whole number, 0 or more", "Write it so: skip_rows: 3.")
    return int(written)


def read_missing(written: Any) -> tuple[str, ...]:
    """Texts, of which one may be empty."""
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        raise KeyFault("must be a list of texts", 'Write it so: missing: ["n/a", "NaN"].')
    return tuple(dict.fromkeys(one.strip() for one in written))


def _share(written: str) -> float | None:
    """The share that is meant by, say, `20%`; None for a path."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", written)
    return float(found[1]) / 100 if found else None


def named_splits(written: Any) -> dict[str, Any]:
    """A mapping whose keys can name splits, train among them."""
    if "train" not in mapping(written):
        raise KeyFault("is missing", keys=["train"])
    for name in written:
        fault = "the stages write a file of that name" if name.lower() in _RESERVED_SPLITS else name_fault(name)
        if fault:
            raise KeyFault(f"cannot be a split's name: {fault}", "Give the split another name.", [name])
    if len({name.lower() for name in written}) < len(written):
        raise KeyFault("has names that differ only in case", "Some file systems take their files for one.")
    return written


def values_of_splits(written: Any) -> dict[str, tuple[str, ...]]:
    """By split the values that stand for it."""
    found = {}
    for split, values in mapping(written).items():
        with inside(split):
            texts = values if isinstance(values, list) and values else [values]
            found[split] = tuple(_text(one).strip() for one in texts)
    named_splits(found)
    every = [value for values in found.values() for value in values]
    if len(set(every)) < len(every):
        raise KeyFault("names a value twice", "Each stands for one split.")
    return found


def name_alone(written: Any) -> Any:
    """A name as the mapping that it stands for."""
    return {"name": written} if isinstance(written, str) else written


def read_paths(written: Any) -> tuple[str, ...]:
    """One path or several."""
    if isinstance(written, list) and written:
        paths = tuple(_text(one) for one in written)
        if len(set(paths)) < len(paths):
            raise KeyFault("names a file twice")
        return paths
    return (_text(written),)


def path_alone(written: Any) -> Any:
    """A path, paths or a share as the mapping that they stand for."""
    if isinstance(written, list):
        return {"path": written}
    if not isinstance(written, str):
        return written
    return {"path": _text(written)} if _share(written) is None else {"share": written}


def share_of_train(written: Any) -> float:
    """A share between 0 and 1."""
    share = _share(_text(written))
    if share is None or not 0 < share < 1:
        raise KeyFault("must lie between 0% and 100%", "Write it so: dev: 20%.")
    return share


Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=Scalar)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=Scalars)]
Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool)]
WRITTEN_LABELS = Literal["from-train"] | Annotated[Scalars, Field(min_length=2)]
Labels = Annotated[tuple[str, ...], BeforeValidator(read_labels, json_schema_input_type=WRITTEN_LABELS)]
Label = Annotated[str, BeforeValidator(_label, json_schema_input_type=Scalar)]
Range = Annotated[tuple[float, float], BeforeValidator(_range, json_schema_input_type=TwoNumbers)]


class OneOf:
    """Of a text: it must be one of the names `known`, which the JSON schema lists."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return no_info_after_validator_function(partial(check_one_of, self.known), handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {"enum": list(self.known)}
