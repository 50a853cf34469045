"""What a task's YAML file may say: models whose fields explain themselves, and the definition that is made of them.

`data/schema.py` writes these models as a JSON schema, for editors. Whatever pydantic finds wrong, and whatever keys do
not fit each other, is a `KeyFault`, which becomes an error with file and key in `parse_definition` alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema
from pydantic_core.core_schema import no_info_after_validator_function

from adaptershare_cli.data.definition import SourceSpec, SplitSpec, TaskDefinition
from adaptershare_cli.data.names import is_hub_id, name_fault, near_names, path_fault, shortened
from adaptershare_cli.data.readers import READERS, Reader
from adaptershare_cli.data.yaml_files import load_yaml
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, check_metrics
from adaptershare_cli.kinds.base import Kind
from adaptershare_cli.kinds.rows.texts import label_fault

_RESERVED_SPLITS = ("heldout", "select", "rejected")  # the stages write files of these names


class KeyFault(ValueError):
    """What is wrong with one key of a definition, and what to do about it.

    `keys` lead to that key from the value that was looked at.
    """

    def __init__(self, what: str, fix: str = "Correct the definition.", keys: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what, self.fix, self.keys = what, fix, tuple(keys)

    def sentence(self, key: str) -> str:
        """What is wrong, with the key's full name ("" for the definition as a whole)."""
        return f"`{key}` {self.what}" if key else self.what


class UnknownKey(KeyFault):
    """A key that is none of those `known` where it stands."""

    def __init__(self, key: str, known: Collection[str]) -> None:
        super().__init__("", f"{near_names(key, known)}Known: {', '.join(known)}.", [key])

    def sentence(self, key: str) -> str:
        return f"unknown key `{key}`"


@contextmanager
def _inside(*keys: str) -> Iterator[None]:
    """Faults that are found in here are of keys below `keys`."""
    try:
        yield
    except KeyFault as fault:
        fault.keys = (*keys, *fault.keys)
        raise


# ---- values: of YAML everything is text, a list or a mapping ----

Scalar = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"], "pattern": r"\S"})]
Scalars = Annotated[list[Scalar], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


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


def _labels(written: Any, info: ValidationInfo) -> tuple[str, ...] | str:
    if written == "from-train":
        return written
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
        with _inside(value):
            pairs.append((value.strip(), _text(label).strip()))
    if not all(value for value, _ in pairs) or len({value for value, _ in pairs}) < len(pairs):
        raise KeyFault("has an empty value, or one twice", "White space at the ends does not count.")
    _check_labels(label for _, label in pairs)
    return tuple(sorted(pairs))


def _hub_id(written: str) -> str:
    if not is_hub_id(written):
        raise KeyFault(f"cannot be a hub id: `{written}`", "Write it so: path: OWNER/NAME.")
    return written


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


def _path_alone(written: Any) -> Any:
    return {"path": _text(written)} if isinstance(written, str) else written


Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=Scalar)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=Scalars)]
Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool)]
Labels = Annotated[
    tuple[str, ...] | Literal["from-train"],
    BeforeValidator(_labels, json_schema_input_type=Literal["from-train"] | Annotated[Scalars, Field(min_length=2)]),
]
Range = Annotated[tuple[float, float], BeforeValidator(_range, json_schema_input_type=tuple[float, float])]


class OneOf:
    """Of a text: it must be one of the names `known`, which the JSON schema lists."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)

    def check(self, written: str) -> str:
        """The text itself. Raises KeyFault if it is none of the names."""
        if written not in self.known:
            fix = f"{near_names(written, self.known)}Known: {', '.join(self.known)}."
            raise KeyFault(f"cannot be `{written}`", fix)
        return written

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return no_info_after_validator_function(self.check, handler(source))

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


class WrittenSplit(TextByRole):
    """Where one split lies. Its path alone may stand instead of this mapping; roles only with the reader `lines`."""

    path: Text | None = Field(
        None,
        description="The file, from the source's folder down; with the reader `lines` the folder of the split's "
        "files; on the hub the name that the split has there.",
    )
    key: Text | None = Field(
        None, description="Reader `clinc`: the key of the split's list in the file; the split's name if left out."
    )
    optional: Flag = Field(False, description="true: the split may be absent.")


Splits = Annotated[
    dict[str, Annotated[WrittenSplit, BeforeValidator(_path_alone, json_schema_input_type=Scalar | WrittenSplit)]],
    BeforeValidator(_named_splits),
    Field(
        description="Where each split lies, by name: train, and those of report_on.",
        json_schema_extra={"required": ["train"]},
    ),
]
Columns = Annotated[
    TextByRole | None,
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
        description="The files' layout. " + ". ".join(f"{name}: {known.summary}" for name, known in READERS.items())
    )
    splits: Splits
    columns: Columns = None
    quoting: Annotated[Text, OneOf(["none", "standard"])] | None = Field(
        None,
        description="standard (of csv if left out): fields may be quoted, as in RFC 4180. none (of tsv): a quote is "
        "a character like any other.",
    )
    header: Flag = Field(True, description="false: the first line is a row like the others, and columns have numbers.")
    label_map: LabelMap = ()


class TaskFile(Written):
    """A task: what its labels are, how it is scored, and where its rows come from."""

    kind: Annotated[Text, OneOf(KINDS)] = Field(
        description="classification: a label for each row; regression: a number; tagging: a label for each word."
    )
    description: Text = Field("", description="What the task asks, in one sentence.")
    aliases: Texts = Field((), description="Other names that --tasks takes for it.")
    labels: Labels | None = Field(
        None,
        description="All labels in their order (of `f1` the second is the positive one), or from-train: those that "
        "train has, sorted.",
    )
    range: Range | None = Field(None, description="Of a regression: the lowest and the highest number.")
    metrics: Texts = Field(description="How predictions are scored; the first is the main one.")
    report_on: Texts = Field(description="The splits that are scored and used for nothing else.")
    hub: HubBlock | None = Field(None, description="The data on the Hugging Face hub.")
    files: FilesBlock | None = Field(None, description="The data in the folder of --from, or beside this file.")
    embedded: FilesBlock | None = Field(None, description="Data that always come with this file, in its folder.")


# ---- from what is written to a definition ----


def parse_definition(file: Path, suite: str = "") -> TaskDefinition:
    """Read one YAML file. Raises UserError that names the file and the key at fault."""
    if fault := name_fault(file.stem):
        raise UserError(f"`{file.stem}` cannot be a task's name: {fault}", str(file), "Rename the file.")
    content = load_yaml(file, list(TaskFile.model_fields))
    try:
        return _definition(TaskFile.model_validate(content), file, suite)
    except ValidationError as error:
        first = error.errors()[0]
        wrong = first["ctx"]["error"] if "ctx" in first else _missing(str(first["loc"][-1]))
        keys = (*map(str, first["loc"]), *wrong.keys)
    except KeyFault as error:
        wrong, keys = error, error.keys
    raise UserError(shortened(wrong.sentence(".".join(keys))), str(file), wrong.fix)


def _missing(key: str) -> KeyFault:
    fix = "Write it so: splits: {train: PATH, dev: PATH}." if key == "splits" else "Correct the definition."
    return KeyFault("is missing", fix)


def _definition(task: TaskFile, file: Path, suite: str) -> TaskDefinition:
    kind = KINDS[task.kind]
    _check_answers(task, kind)
    with _inside("metrics"):
        for metric in task.metrics:
            OneOf(kind.metric_names).check(metric)
    labels = task.labels if isinstance(task.labels, tuple) else ()
    if labels:
        check_metrics(task.metrics, labels, str(file))
    sources: dict[str, SourceSpec | None] = {}
    for name in ("hub", "files", "embedded"):
        block: HubBlock | FilesBlock | None = getattr(task, name)
        with _inside(name):
            sources[name] = None if block is None else _source(name, block, kind, labels)
    _check_splits(task.report_on, [source for source in sources.values() if source])
    return TaskDefinition(
        name=file.stem,
        suite=suite or file.resolve().parent.name,
        kind=task.kind,
        description=task.description,
        aliases=task.aliases,
        labels=labels,
        labels_from_train=task.labels == "from-train",
        range=task.range,
        metrics=task.metrics,
        report_on=task.report_on,
        folder=file.parent,
        path=file,
        **sources,
    )


def _check_answers(task: TaskFile, kind: Kind) -> None:
    """A kind has labels or a range; it needs the one and cannot have the other."""
    for key, needed in (("labels", kind.labelled), ("range", not kind.labelled)):
        if getattr(task, key) is None and needed:
            raise KeyFault("is missing", keys=[key])
        if getattr(task, key) is not None and not needed:
            others = [name for name, other in KINDS.items() if other.labelled != kind.labelled]
            fix = f"Take it out, or write kind: {others[0]}."
            raise KeyFault(f"belongs to a {' or '.join(others)}", fix, [key])


def _source(name: str, block: HubBlock | FilesBlock, kind: Kind, labels: tuple[str, ...]) -> SourceSpec:
    """One source with its defaults filled in. Raises KeyFault where its keys do not fit each other or the task."""
    own: dict[str, Any]
    if isinstance(block, HubBlock):
        header, split_form = True, "file"
        own = {"path": block.path, "name": block.name, "revision": block.revision}
    else:
        reader = READERS[block.reader]
        _check_reader(block, reader, kind)
        header, split_form = block.header and not reader.numbered_columns, reader.splits
        own = {"reader": reader.name, "quoting": block.quoting or reader.quoting, "header": header}
    _check_label_map(block, kind, labels)
    with _inside("columns"):
        written = block.columns.only(kind.roles) if block.columns else {}
        columns = _columns(written, kind, header)
    splits = []
    for split in sorted(block.splits):
        with _inside("splits", split):
            splits.append(_split(split, block.splits[split], split_form, written, kind))
            if name != "hub":
                _check_paths(splits[-1])
    return SourceSpec(
        kind=name,
        splits=tuple(splits),
        columns=tuple(columns.items()),
        pair_if_present=header and "text_pair" in kind.roles and "text_pair" not in written,
        label_map=block.label_map,
        listed=kind.listed,
        **own,
    )


def _check_reader(block: FilesBlock, reader: Reader, kind: Kind) -> None:
    if ("words" if "text" in kind.listed else "texts") not in reader.rows:
        what = f"cannot be `{reader.name}` in a task of kind {kind.name}"
        raise KeyFault(what, "Choose another reader.", ["reader"])
    for key in ("columns", "quoting", "header"):
        if key in block.model_fields_set and key not in reader.options:
            raise KeyFault(f"means nothing to the reader `{reader.name}`", "Take it out.", [key])


def _check_label_map(block: HubBlock | FilesBlock, kind: Kind, labels: tuple[str, ...]) -> None:
    if "label_map" in block.model_fields_set and not kind.labelled:
        raise KeyFault("belongs to a classification", "Take it out.", ["label_map"])
    for value, label in block.label_map:
        if labels and label not in labels:
            fix = f"{near_names(label, labels)}Labels: {', '.join(labels)}."
            raise KeyFault(f"gives `{label}`, which is not among the labels", fix, ["label_map", value])


def _columns(written: Mapping[str, str], kind: Kind, header: bool) -> dict[str, str | int]:
    """The column of each role that is read: as written, or of the role's name; a number where there is no header."""
    columns: dict[str, str | int] = {role: written.get(role, role) for role in kind.roles if header or role in written}
    if not header:
        for role, number in written.items():
            if not number.isascii() or not number.isdigit():
                raise KeyFault("must be a column number, counted from 0, as there is no header", keys=[role])
            columns[role] = int(number)
        for role in kind.roles:
            if role != "text_pair" and role not in written:
                raise KeyFault("is missing", "Without a header each column needs its number, from 0.", [role])
    if len(set(columns.values())) < len(columns):
        raise KeyFault("names one column for two things")
    return columns


def _split(name: str, split: WrittenSplit, form: str, columns: Mapping[str, str], kind: Kind) -> SplitSpec:
    """One split in the reader's form (`Reader.splits`); `columns` are those written, which may name its files.

    Shorter forms: with a file per role a path is the folder of files that the columns name; the key of a list in a
    file is the split's name unless written.
    """
    by_role = form == "file per role" and split.path is None
    needed = [role for role in kind.roles if role != "text_pair"] if by_role else ["path"]
    keys = [*(kind.roles if by_role else needed), *(["key"] if form == "key in file" else []), "optional"]
    written = split.only(keys)
    if split.optional and name == "train":
        raise KeyFault("cannot be optional")
    if by_role and columns:
        raise KeyFault("names its files, and columns names them too", "Take columns out.")
    for key in needed:
        if key not in written:
            raise KeyFault("is missing", keys=[key])
    if by_role:
        paths = {role: written[role] for role in kind.roles if role in written}
    elif form == "file per role":
        roles = [role for role in kind.roles if role != "text_pair" or role in columns]
        paths = {role: f"{split.path}/{columns.get(role, role)}" for role in roles}
    else:
        paths = {"": split.path}
    files = tuple((role, str(PurePosixPath(path))) for role, path in paths.items())
    return SplitSpec(name, files, (split.key or name) if form == "key in file" else "", split.optional)


def _check_paths(split: SplitSpec) -> None:
    for _, path in split.files:
        if fault := path_fault(path):
            fix = "Write it from the folder down, with /, and give the folder with --from."
            raise KeyFault(f"has the path `{path}`, which cannot be inside the source's folder: {fault}", fix)


def _check_splits(report_on: Sequence[str], sources: Sequence[SourceSpec]) -> None:
    """Every source gives something to score, every scored split has a source, and no split goes unused."""
    if not sources:
        raise KeyFault("the task has no source", "Give one of hub, files and embedded.")
    if "train" in report_on:
        raise KeyFault("cannot hold train", keys=["report_on"])
    for source in sources:
        listed = {split.name for split in source.splits} - {"train"}
        with _inside(source.kind, "splits"):
            if not listed & set(report_on):
                raise KeyFault("has none of the splits in report_on", f"({', '.join(report_on)})")
            for name in sorted(listed - set(report_on)):
                raise KeyFault("would never be used", "Put it into report_on or take it out.", [name])
    for name in report_on:
        if not any(source.split(name) for source in sources):
            fix = "Correct the name, or add it to splits."
            raise KeyFault(f"names `{name}`, which no source has", fix, ["report_on"])
