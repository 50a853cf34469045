"""The hub as a source: one split of a dataset repository, read through `datasets` and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.names import first_line, is_hub_id
from adaptershare_cli.data.readers.parquet import rows_of_batches
from adaptershare_cli.data.readers.rows import RowFault, UncheckedRow, UncheckedRows, columns_by_name
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError

_BATCH = 1000  # rows that become Python values at once
_FIX = "Check the definition's hub block, or give the folder that holds the files with --from FOLDER."


def read_hub_split(spec: SourceSpec, split: SplitSpec, labels: tuple[str, ...]) -> UncheckedRows | None:
    """Rows of one split; None if it is optional and the repository does not have it.

    Class labels become their names (see `label_values`). Raises UserError, naming the repository, if it cannot be
    reached, is not there, or lacks the configuration, the split or a column.
    """
    dataset = _load(spec, split)
    if dataset is None:
        return None
    where = f"{_called(spec)}, split {split.files[0][1]}"
    names = [str(name) for name in dataset.column_names]
    columns = {role: names[index] for role, index in columns_by_name(names, spec, where).items()}
    table = dataset.select_columns(list(dict.fromkeys(columns.values()))).with_format("arrow")[:]
    if not table.num_rows:
        raise UserError("the split holds no rows", where, _FIX)
    repository = DataFile(spec.path, Path(spec.path))
    batches = table.to_batches(max_chunksize=_BATCH)
    unchecked = rows_of_batches(batches, table.schema, columns, repository, spec.listed)
    feature = dataset.features[columns["label"]]
    class_names = getattr(getattr(feature, "feature", feature), "names", None)  # of a list: those of its items
    text_of = _label_texts(class_names, labels, dict(spec.label_map))
    return replace(unchecked, rows=_with_label_texts(unchecked.rows, list(columns).index("label"), text_of))


def _with_label_texts(
    rows: Iterator[UncheckedRow | RowFault], label: int, text_of: Callable[[Any], Any]
) -> Iterator[UncheckedRow | RowFault]:
    """The rows with `text_of` each label, or each of a list of labels; `label` is its place among the values."""
    for row in rows:
        if isinstance(row, UncheckedRow):
            value = row.values[label]
            row.values[label] = [text_of(item) for item in value] if isinstance(value, list) else text_of(value)
        yield row


def label_values(
    values: list[Any], class_names: list[str] | None, labels: tuple[str, ...], label_map: dict[str, str]
) -> list[Any]:
    """Integer labels as the texts that stand for them: keys of `label_map`, class names, or indices into `labels`.

    Class names count if `labels` is empty or holds at least one of them; without any, the integer is an index
    into `labels`, unless those are numbers themselves. Values that are no integers stay as they are, and an
    integer that means nothing stays its digits, which no label list holds. -1, the mark of a class label without
    a value, becomes None.
    """
    return list(map(_label_texts(class_names, labels, label_map), values))


def _label_texts(
    class_names: list[str] | None, labels: tuple[str, ...], label_map: dict[str, str]
) -> Callable[[Any], Any]:
    """What `label_values` makes of one value."""
    named = class_names if class_names and (not labels or _overlap(class_names, labels, label_map)) else None
    indexed = bool(labels) and not any(label.lstrip("-").isdigit() for label in labels)

    def text_of(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or str(value) in label_map:
            return value
        if class_names and value == -1:
            return None
        texts = named or (labels if indexed else ())
        return texts[value] if 0 <= value < len(texts) else value

    return text_of


def _overlap(class_names: list[str], labels: tuple[str, ...], label_map: dict[str, str]) -> bool:
    return any(label_map.get(name, name) in labels for name in class_names)


def _load(spec: SourceSpec, split: SplitSpec) -> Any:
    if not is_hub_id(spec.path):
        raise UserError(f"`{spec.path}` is not a hub id", "the hub block's path", "Write it so: path: OWNER/NAME.")
    if Path(spec.path).exists():  # `datasets` would take it for a folder of data and never ask the hub
        raise UserError(f"`{spec.path}` is a file or folder here, not a hub id", "the hub block's path", _FIX)
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    name = split.files[0][1]
    try:
        return datasets.load_dataset(
            spec.path, spec.name, revision=spec.revision, split=name, cache_dir=_cache(datasets, spec.revision)
        )
    except DatasetNotFoundError as error:
        revision = f" with the revision {spec.revision}" if spec.revision else ""
        what = f"the hub has no dataset `{spec.path}`{revision}, or it needs a login"
        raise UserError(what, _called(spec), _FIX) from error
    except ConnectionError as error:
        what = f"the hub could not be reached for the dataset `{spec.path}`"
        raise UserError(what, first_line(error), "Try again, or give the files with --from FOLDER.") from error
    except (DatasetsError, OSError, RuntimeError, ValueError) as error:
        if split.optional and "Unknown split" in str(error):
            return None
        what = f"the dataset `{spec.path}` cannot be loaded: {first_line(error)}"
        raise UserError(what, f"{_called(spec)}, split {name}", _FIX) from error


def _cache(datasets: Any, revision: str | None) -> str | None:
    """A cache of its own for each revision that a definition pins.

    When the hub is out of reach or lacks a revision, `datasets` falls back to the newest copy in its cache,
    whatever revision that is of; so a pinned one must not share its cache with others.
    """
    if revision is None:
        return None
    digest = hashlib.sha256(revision.encode()).hexdigest()[:16]
    return str(Path(datasets.config.HF_DATASETS_CACHE) / "adaptershare-revisions" / digest)


def _called(spec: SourceSpec) -> str:
    parts = [f"hub dataset {spec.path}", spec.name, f"revision {spec.revision}" if spec.revision else None]
    return ", ".join(part for part in parts if part)
