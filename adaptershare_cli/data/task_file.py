"""What a task's YAML file may say: models whose fields explain themselves.

`data/definition.py` makes a definition of them, `data/schema.py` a JSON schema for editors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.json_schema import WithJsonSchema
from pydantic_core.core_schema import no_info_after_validator_function

from adaptershare_cli.data.key_faults import KeyFault, UnknownKey, check_one_of, inside
from adaptershare_cli.data.names import is_hub_id, name_fault
from adaptershare_cli.data.readers import READERS
from adaptershare_cli.data.unpacking import is_encoding
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.rows.texts import label_fault

_RESERVED_SPLITS = ("heldout", "select", "rejected")  # the stages write files of these names

# ---- values: of YAML everything is text, a list or a mapping ----

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


def _mapping(written: Any) -> dict[str, Any]:
    if not isinstance(written, dict):
        raise KeyFault("must be a mapping of keys to values")
    return written


def _labels(written: Any, info: ValidationInfo) -> tuple[str, ...]:
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


def _label_map(written: Any) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value, label in _mapping(written).items():
        with inside(value):
            pairs.append((value.strip(), _text(label).strip()))
    if not all(value for value, _ in pairs) or len({value for value, _ in pairs}) < len(pairs):
        raise KeyFault("has an empty value, or one twice", "White space at the ends does not count.")
    _check_labels(label for _, label in pairs)
    return tuple(sorted(pairs))


def _hub_id(written: str) -> str:
    if not is_hub_id(written):
        raise KeyFault(f"cannot be a hub id: `{written}`", "Write it so: path: OWNER/NAME.")
    return written


def _encoding(written: str) -> str:
    if not is_encoding(written):
        raise KeyFault(f"is no encoding that is known here: `{written}`", "For example cp1252, latin-1 or utf-16.")
    return written


def _delimiter(written: Any) -> str:
    if not isinstance(written, str) or len(written) != 1 or written in '"\r\n':
        raise KeyFault("must be one character, and neither a quote nor a line end", 'Write it so: delimiter: ";".')
    return written


def _count(written: Any) -> int:
    if not isinstance(written, str) or not re.fullmatch(r"[0-9]{1,6}", written):
        raise KeyFault("must be a whole number, 0 or more", "Write it so: skip_rows: 3.")
    return int(written)


def _missing(written: Any) -> tuple[str, ...]:
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        raise KeyFault("must be a list of texts", 'Write it so: missing: ["n/a", "NaN"].')
    return tuple(dict.fromkeys(one.strip() for one in written))


def _share(written: str) -> float | None:
    """The share that is meant by, say, `20%`; None for a path."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", written)
    return float(found[1]) / 100 if found else None


def _named_splits(written: Any) -> dict[str, Any]:
    if "train" not in _mapping(written):
        raise KeyFault("is missing", keys=["train"])
    for name in written:
        fault = "the stages write a file of that name" if name.lower() in _RESERVED_SPLITS else name_fault(name)
        if fault:
            raise KeyFault(f"cannot be a split's name: {fault}", "Give the split another name.", [name])
    if len({name.lower() for name in written}) < len(written):
        raise KeyFault("has names that differ only in case", "Some file systems take their files for one.")
    return written


def _values_of_splits(written: Any) -> dict[str, tuple[str, ...]]:
    found = {}
    for split, values in _mapping(written).items():
        with inside(split):
            texts = values if isinstance(values, list) and values else [values]
            found[split] = tuple(_text(one).strip() for one in texts)
    _named_splits(found)
    every = [value for values in found.values() for value in values]
    if len(set(every)) < len(every):
        raise KeyFault("names a value twice", "Each stands for one split.")
    return found


def _name_alone(written: Any) -> Any:
    return {"name": written} if isinstance(written, str) else written


def _paths(written: Any) -> tuple[str, ...]:
    if isinstance(written, list) and written:
        paths = tuple(_text(one) for one in written)
        if len(set(paths)) < len(paths):
            raise KeyFault("names a file twice")
        return paths
    return (_text(written),)


def _path_alone(written: Any) -> Any:
    if isinstance(written, list):
        return {"path": written}
    if not isinstance(written, str):
        return written
    return {"path": _text(written)} if _share(written) is None else {"share": written}


def _share_of_train(written: Any) -> float:
    share = _share(_text(written))
    if share is None or not 0 < share < 1:
        raise KeyFault("must lie between 0% and 100%", "Write it so: dev: 20%.")
    return share


Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=Scalar)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=Scalars)]
Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool)]
Labels = Annotated[
    tuple[str, ...],
    BeforeValidator(_labels, json_schema_input_type=Literal["from-train"] | Annotated[Scalars, Field(min_length=2)]),
]
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


# ---- models: what may be written ----


class Written(BaseModel):
    """A mapping of a definition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, written: Any) -> Any:
        """Refuse unknown keys before any value is looked at."""
        for key in _mapping(written):
            if key not in cls.model_fields and cls.model_config["extra"] == "forbid":
                raise UnknownKey(key, cls.model_fields)
        return written


class TextByRole(Written):
    """A text for each thing that a row consists of.

    Which keys there are depends on the task's kind and on the reader, so that others are refused later on.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})

    text: Text | None = Field(None, description="For the text; of a tagging for its words.")
    text_pair: Text | None = Field(None, description="For the second text, where a row is a pair of texts.")
    label: Text | None = Field(None, description="For the label or number; of a tagging for the words' labels.")

    def only(self, known: Sequence[str]) -> dict[str, Any]:
        """What is written, by key. Raises KeyFault for a key that is none of those `known`."""
        written = {key: value for key, value in self if key in self.model_fields_set}
        for key in written:
            if key not in known:
                raise UnknownKey(key, known)
        return written


class ColumnsBlock(TextByRole):
    """Columns by what they are for."""

    group: Text | None = Field(
        None,
        description="Whom (or what) a row belongs to, such as its author: rows of one group stand on one side of every "
        "cut. Rows without one stand alone.",
    )
    weight: Text | None = Field(
        None,
        description="How much a row's loss counts in training: a number, 0 or more. Scores count all rows alike.",
    )


class SplitColumn(Written):
    """The column that says of which split a row is. Its name alone may stand instead of this mapping."""

    name: Text = Field(description="The column's name, or its number where there is no header.")
    values: Annotated[
        dict[str, tuple[str, ...]],
        BeforeValidator(_values_of_splits, json_schema_input_type=dict[str, Scalar | Scalars]),
    ] = Field(
        {},
        description="What stands in it, by split, such as {train: train, dev: [val, valid]}; left out where splits "
        "are called as there.",
    )
    leave_out: Texts = Field((), description="What stands in it in rows of no split; these are counted.")


class SplitBlock(TextByRole):
    """Where one split lies. Its path alone may stand instead of this mapping; roles only with the reader `lines`."""

    path: Annotated[tuple[str, ...], BeforeValidator(_paths, json_schema_input_type=Scalar | Scalars)] = Field(
        (),
        description="The file, from the source's folder down, or a list of files of one layout; `*` and `?` stand for "
        "any signs of a name, `**` for any folders; with the reader `lines` the folder of the split's "
        "files; on the hub the name that the split has there.",
    )
    key: Text | None = Field(
        None, description="Reader `clinc`: the key of the split's list in the file; the split's name if left out."
    )
    sheet: Text | None = Field(None, description="Reader `xlsx`: the sheet's name, or its number from 1.")
    optional: Flag = Field(False, description="true: the split may be absent.")
    share: Annotated[float, BeforeValidator(_share_of_train, json_schema_input_type=str)] | None = Field(
        None,
        description="The split is this share of train's rows, such as 20%: of each label as many, and all rows of one "
        "text on one side.",
    )


Splits = Annotated[
    dict[
        str, Annotated[SplitBlock, BeforeValidator(_path_alone, json_schema_input_type=Scalar | Scalars | SplitBlock)]
    ],
    BeforeValidator(_named_splits),
    Field(
        description="Where each split lies, by name: train, and those of report_on; or how much of train it is, as in "
        "dev: 20%.",
        json_schema_extra={"required": ["train"]},
    ),
]
Columns = Annotated[
    ColumnsBlock | None,
    Field(
        description="The columns' names, where they are not text, text_pair and label; their numbers, counted from 0, "
        "where there is no header (`header: false`, reader `conll`); the files' names with the reader `lines`.",
    ),
]
LabelMap = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_label_map, json_schema_input_type=dict[str, Scalar]),
    Field(description="Values that stand in the data, and the labels that they mean."),
]


class HubBlock(Written):
    """A data set on the Hugging Face hub."""

    path: Annotated[Text, AfterValidator(_hub_id)] = Field(description="Its id, OWNER/NAME.")
    name: Text | None = Field(None, description="The configuration.")
    revision: Text | None = Field(None, description="A commit, branch or tag; the newest if left out.")
    splits: Splits
    columns: Columns = None
    label_map: LabelMap = ()


class FilesBlock(Written):
    """Files of one layout."""

    reader: Annotated[Text, OneOf(READERS)] = Field(
        description="The files' layout. "
        + ". ".join(f"{name}: {known.summary}" for name, known in READERS.items())
        + "."
    )
    splits: Splits
    columns: Columns = None
    quoting: Annotated[Text, OneOf(["none", "standard"])] | None = Field(
        None,
        description="standard (of csv if left out): fields may be quoted, as in RFC 4180. none (of tsv): a quote is "
        "a character like any other.",
    )
    comment: Text | None = Field(
        None,
        description='How a line begins that is a comment, such as "# ": it is left out (reader `conll`: before the '
        "first word of a sentence). none: no line is a comment.",
    )
    header: Flag = Field(True, description="false: the first line is a row like the others, and columns have numbers.")
    skip_rows: Annotated[int, BeforeValidator(_count, json_schema_input_type=int)] = Field(
        0, description="Lines (of a sheet: rows) at the beginning of a file, above the header, that are left out."
    )
    sheet: Text | None = Field(
        None,
        description="Reader `xlsx`: the sheet's name, or its number from 1, where splits name none; left out where "
        "only one sheet holds anything.",
    )
    encoding: Annotated[Text, AfterValidator(_encoding)] | None = Field(
        None, description="The encoding of the files, such as cp1252 (Windows) or utf-16; UTF-8 if left out."
    )
    delimiter: Annotated[str, BeforeValidator(_delimiter, json_schema_input_type=str)] | None = Field(
        None, description='Readers `csv` and `tsv`: what parts the fields, such as ";".'
    )
    decimal: Annotated[Text, OneOf([",", "."])] | None = Field(
        None, description='Of a regression: the mark before the fraction; with "," points part thousands.'
    )
    split_column: (
        Annotated[SplitColumn, BeforeValidator(_name_alone, json_schema_input_type=Scalar | SplitColumn)] | None
    ) = Field(None, description="The column that says of which split a row is, where all stand in train's files.")
    records: Text | None = Field(
        None,
        description="Reader `json`: the keys, parted by points, under which the list stands; left out where the file "
        "is the list, or holds one only.",
    )
    missing: Annotated[tuple[str, ...], BeforeValidator(_missing, json_schema_input_type=list[str])] = Field(
        (), description='What stands, besides nothing at all, where a value is missing, such as ["n/a", "NaN"].'
    )
    drop: Annotated[Text, OneOf(["missing"])] | None = Field(
        None,
        description="missing: rows that lack a text or a label are left out, counted, and kept in rejected.parquet; "
        "they do not count for --max-rejected.",
    )
    label_map: LabelMap = ()


class TaskKeys(Written):
    """What a definition says besides its sources."""

    kind: Annotated[Text, OneOf(KINDS)] = Field(
        description="classification: a label for each row; regression: a number; tagging: a label for each word."
    )
    description: Text = Field("", description="What the task asks, in one sentence.")
    aliases: Texts = Field((), description="Other names that --tasks takes for it.")
    labels: Labels = Field(
        (),
        description="All labels in their order, or from-train: those that train has, sorted.",
    )
    positive: Label = Field(
        "", description="The label that f1 is of, against all others; left out: the mean over all labels (macro)."
    )
    range: Range | None = Field(None, description="Of a regression: the lowest and the highest number.")
    metrics: Texts = Field(description="How predictions are scored; the first is the main one.")
    report_on: Texts = Field(description="The splits that are scored and used for nothing else.")


class TaskFile(TaskKeys):
    """A task: what its labels are, how it is scored, and where its rows come from."""

    hub: HubBlock | None = Field(None, description="The data on the Hugging Face hub.")
    files: FilesBlock | None = Field(None, description="The data in the folder of --from, or beside this file.")
    embedded: FilesBlock | None = Field(None, description="Data that always come with this file, in its folder.")
