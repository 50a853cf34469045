"""What a task's YAML file may say: models whose fields explain themselves.

`data/definition.py` makes a definition of them, `data/schema.py` a JSON schema for editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from adaptershare_cli.data.key_faults import UnknownKey
from adaptershare_cli.data.readers import READERS
from adaptershare_cli.data.written_values import (
    WRITTEN_LABELS,
    Flag,
    Label,
    Labels,
    OneOf,
    Range,
    Scalar,
    Scalars,
    Text,
    Texts,
    mapping,
    name_alone,
    named_splits,
    path_alone,
    read_count,
    read_delimiter,
    read_encoding,
    read_hub_id,
    read_label_map,
    read_labels,
    read_missing,
    read_paths,
    share_of_train,
    values_of_splits,
)
from adaptershare_cli.kinds import KINDS

_RESERVED_SPLITS = ("heldout", "select", "rejected")  # the stages write files of these names


# ---- models: what may be written ----


class Written(BaseModel):
    """A mapping of a definition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, written: Any) -> Any:
        """Refuse unknown keys before any value is looked at."""
        for key in mapping(written):
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

    id: Text | None = Field(
        None, description="What a row is called: `compare` shows it beside predictions. It changes nothing else."
    )
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
        BeforeValidator(values_of_splits, json_schema_input_type=dict[str, Scalar | Scalars]),
    ] = Field(
        {},
        description="What stands in it, by split, such as {train: train, dev: [val, valid]}; left out where splits "
        "are called as there.",
    )
    leave_out: Texts = Field((), description="What stands in it in rows of no split; these are counted.")


class SplitBlock(TextByRole):
    """Where one split lies. Its path alone may stand instead of this mapping; roles only with the reader `lines`."""

    path: Annotated[tuple[str, ...], BeforeValidator(read_paths, json_schema_input_type=Scalar | Scalars)] = Field(
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
    share: Annotated[float, BeforeValidator(share_of_train, json_schema_input_type=str)] | None = Field(
        None,
        description="The split is this share of train's rows, such as 20%: of each label as many, and all rows of one "
        "text on one side.",
    )


Splits = Annotated[
    dict[str, Annotated[SplitBlock, BeforeValidator(path_alone, json_schema_input_type=Scalar | Scalars | SplitBlock)]],
    BeforeValidator(named_splits),
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
    BeforeValidator(read_label_map, json_schema_input_type=dict[str, Scalar]),
    Field(description="Values that stand in the data, and the labels that they mean."),
]


class HubBlock(Written):
    """A data set on the Hugging Face hub."""

    path: Annotated[Text, AfterValidator(read_hub_id)] = Field(description="Its id, OWNER/NAME.")
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
    skip_rows: Annotated[int, BeforeValidator(read_count, json_schema_input_type=int)] = Field(
        0, description="Lines (of a sheet: rows) at the beginning of a file, above the header, that are left out."
    )
    sheet: Text | None = Field(
        None,
        description="Reader `xlsx`: the sheet's name, or its number from 1, where splits name none; left out where "
        "only one sheet holds anything.",
    )
    encoding: Annotated[Text, AfterValidator(read_encoding)] | None = Field(
        None, description="The encoding of the files, such as cp1252 (Windows) or utf-16; UTF-8 if left out."
    )
    delimiter: Annotated[str, BeforeValidator(read_delimiter, json_schema_input_type=str)] | None = Field(
        None, description='Readers `csv` and `tsv`: what parts the fields, such as ";".'
    )
    decimal: Annotated[Text, OneOf([",", "."])] | None = Field(
        None, description='Of a regression: the mark before the fraction; with "," points part thousands.'
    )
    split_column: (
        Annotated[SplitColumn, BeforeValidator(name_alone, json_schema_input_type=Scalar | SplitColumn)] | None
    ) = Field(None, description="The column that says of which split a row is, where all stand in train's files.")
    records: Text | None = Field(
        None,
        description="Reader `json`: the keys, parted by points, under which the list stands; left out where the file "
        "is the list, or holds one only.",
    )
    missing: Annotated[tuple[str, ...], BeforeValidator(read_missing, json_schema_input_type=list[str])] = Field(
        (), description='What stands, besides nothing at all, where a value is missing, such as ["n/a", "NaN"].'
    )
    drop: Annotated[Text, OneOf(["missing"])] | None = Field(
        None,
        description="missing: rows that lack a text or a label are left out, counted, and kept in rejected.parquet; "
        "they do not count for --max-rejected.",
    )
    label_map: LabelMap = ()


_LABELS = (
    "All labels in their order, or from-train: those that train has, sorted; or how they are written, as a mapping."
)


class TaskKeys(Written):
    """What a definition says besides its sources."""

    kind: Annotated[Text, OneOf(KINDS)] = Field(
        description=". ".join(f"{name}: {kind.summary}" for name, kind in KINDS.items()) + "."
    )
    description: Text = Field("", description="What the task asks, in one sentence.")
    aliases: Texts = Field((), description="Other names that --tasks takes for it.")
    positive: Label = Field(
        "",
        description="The label that f1, auroc and average_precision are of, against all others; left out: the mean "
        "over all labels (macro).",
    )
    range: Range | None = Field(None, description="Of a regression: the lowest and the highest number.")
    metrics: Texts = Field(
        description="How predictions are scored; the first is the main one. A function of your own is written as the "
        "file beside this one and its name: cost.py:cost."
    )
    report_on: Texts = Field(description="The splits that are scored and used for nothing else.")


class LabelsBlock(Written):
    """The labels, and how they may be written in the data."""

    names: Labels = Field((), description="All labels in their order, or from-train: those that train has, sorted.")
    normalise: Flag = Field(
        False,
        description="true: case, white space and Unicode form do not count: labels that differ only so are one, as it "
        "is listed, or written most often in train.",
    )


def _names_alone(written: Any, info: ValidationInfo) -> Any:
    if isinstance(written, dict):
        return written
    return LabelsBlock.model_construct(names=read_labels(written, info), normalise=False)


class TaskFile(TaskKeys):
    """A task: what its labels are, how it is scored, and where its rows come from."""

    labels: Annotated[
        LabelsBlock, BeforeValidator(_names_alone, json_schema_input_type=WRITTEN_LABELS | LabelsBlock)
    ] = Field(LabelsBlock.model_construct(names=(), normalise=False), description=_LABELS)

    hub: HubBlock | None = Field(None, description="The data on the Hugging Face hub.")
    files: FilesBlock | None = Field(None, description="The data in the folder of --from, or beside this file.")
    embedded: FilesBlock | None = Field(None, description="Data that always come with this file, in its folder.")
