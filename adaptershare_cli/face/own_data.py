"""Rows in memory as tasks: written into the workspace once as Parquet files with a definition, then as any other task.

They lie in `own/NAME-KEY/`, where the key is that of their content and of what was said of them, so that the same rows
are the same task, and nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.commands.init import init_tasks
from adaptershare_cli.data.names import name_fault
from adaptershare_cli.data.tasks import load_tasks
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import OF_TEXTS
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.store.artefact import OWN, PARTIAL, request_key
from adaptershare_cli.store.disk import begin_folder, discard, publish_failure, swap_in, sync_tree

if TYPE_CHECKING:
    import pyarrow as pa

    from adaptershare_cli.store.workspace import Workspace

TRAIN = "train"
SAY = "Data(rows, text=…, text_pair=…, label=…, kind=…) says what is meant; yes=True takes what was assumed."
SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class Data:
    """Rows of a task: a frame, a `datasets.Dataset`, or a mapping of splits (train, dev or validation, test) to them.

    `text`, `text_pair` and `label` are columns, `kind` what labels are, as `adaptershare init` takes them; what is not
    said is found, and what is not certain is refused unless `yes`. Without a split to score a fifth of train is scored.
    """

    rows: Any
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    kind: str | None = None
    yes: bool = False
    said: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in OF_TEXTS:
            fix = f"Take {' or '.join(OF_TEXTS)}; lists of words are a tagging untold. Others need a definition."
            raise UserError(f"{self.kind!r} is no kind of task that is found from rows alone", "kind", fix)
        roles = {role: getattr(self, role) for role in ("text", "text_pair", "label", "kind")}
        object.__setattr__(self, "said", {role: value for role, value in roles.items() if value is not None})


def own_tasks(workspace: Workspace, tasks: Mapping[str, Any], screen: Terminal) -> tuple[list[str], list[Path]]:
    """The names of the tasks, and the folders of the definitions of those that have rows; a None is a known task.

    Raises UserError for a name that no task can have, for what are no rows, and for what `init` refuses.
    """
    known = load_tasks(()).tasks
    for name in (name for name, rows in tasks.items() if rows is not None and name in known):
        raise UserError(f"There is a task {name} already", f"the rows of {name}", "Give them another name.")
    folders = [_written(workspace, name, rows, screen) for name, rows in tasks.items() if rows is not None]
    return list(tasks), folders


def _written(workspace: Workspace, name: str, rows: Any, screen: Terminal) -> Path:
    if not isinstance(name, str) or (fault := name_fault(name)):
        raise UserError(f"{name!r} cannot be a task's name: {fault if isinstance(name, str) else 'it is no text'}")
    data = rows if isinstance(rows, Data) else Data(rows)
    tables = _splits(name, data.rows)
    key = request_key({"said": dict(data.said), "rows": {split: _digest(table) for split, table in tables.items()}})
    final = workspace.path(OWN, name, key)
    if (final / f"{name}.yaml").is_file():
        return final
    if not (workspace.writable or not workspace.root.exists()):
        raise workspace.unwritable()
    with workspace.lock(OWN, name, key, screen.line):
        if not (final / f"{name}.yaml").is_file():  # another process may have written it
            _write(final, name, data, tables, screen)
    return final


def _write(final: Path, name: str, data: Data, tables: Mapping[str, pa.Table], screen: Terminal) -> None:
    """The files and their definition, which appear at once."""
    partial = final.with_name(PARTIAL + final.name)
    try:
        begin_folder(partial)
        for split, table in tables.items():
            write_parquet(table, partial / f"{name}-{split}.parquet")
        files = [partial / f"{name}-{split}.parquet" for split in tables]
        init_tasks(files, None, {**data.said, "name": name}, _Doubts(screen), None, yes=data.yes)
        definition = partial / f"{name}.yaml"
        # Rows that come with their definition are read from nowhere else, whatever --from says.
        text = definition.read_text(encoding="utf-8").replace("\nfiles:\n", "\nembedded:\n")
        definition.write_text(text, encoding="utf-8")
        sync_tree(partial)
        swap_in(partial, final)
    except OSError as error:
        raise publish_failure(error, final, partial) from error
    except UserError as error:
        raise _refused(error, name, partial) from error
    finally:
        discard(partial)


def _refused(error: UserError, name: str, partial: Path) -> UserError:
    """What `init` says of files, for someone who gave rows."""
    is_doubt = "see the lines above" in error.where
    what, fix = (text.replace(f"{partial}/", "") for text in (error.what, error.fix))
    what = what.removesuffix(" (the definition is written)")
    if "--max-rejected" in fix:
        fix = "Correct them, or drop them from the frame."
    faults = error.where if str(partial) not in error.where and not is_doubt else ""
    return UserError(what, "; ".join(filter(None, (f"the rows of {name}", faults))), SAY if is_doubt else fix)


def _splits(name: str, rows: Any) -> dict[str, pa.Table]:
    """Each split's rows as a table. Raises UserError for what are no rows."""
    if not isinstance(rows, Mapping):
        return {TRAIN: _table(name, rows)}
    found: dict[str, Any] = {}
    for word, part in rows.items():
        split = SPLITS.get(str(word).lower())
        if split is None or split in found:
            fix = "Name them train, dev (or validation) and test, each once."
            raise UserError(f"the task {name} has the split {word!r}", f"the rows of {name}", fix)
        found[split] = _table(name, part)
    if TRAIN not in found:
        raise UserError(f"the task {name} has no split to train on", f"the rows of {name}", "Name it train.")
    return {split: found[split] for split in dict.fromkeys(SPLITS.values()) if split in found}


def _table(name: str, rows: Any) -> pa.Table:
    """A frame, an Arrow table, a `datasets.Dataset` or a list of objects as a table without the library's notes."""
    import pandas as pd
    import pyarrow as pa

    try:
        if isinstance(rows, pd.DataFrame):
            table = pa.Table.from_pandas(rows, preserve_index=False)
        elif isinstance(rows, pa.Table):
            table = rows
        elif hasattr(rows, "features") and hasattr(rows, "with_format"):
            table = _of_dataset(rows)
        elif isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
            table = pa.Table.from_pylist([dict(row) for row in rows])
        else:
            raise UserError(
                f"the rows of the task {name} are of the type {type(rows).__name__}",
                fix="Give a pandas frame, a datasets.Dataset, a list of dicts, or a dict of splits to them.",
            )
    except (pa.ArrowException, TypeError, ValueError) as error:
        what = f"they cannot be written as a table: {str(error).splitlines()[0]}"
        fix = "Give columns of plain values of one type, with names that differ."
        raise UserError(what, f"the rows of {name}", fix) from error
    return table.replace_schema_metadata(None).combine_chunks()


def _of_dataset(rows: Any) -> pa.Table:
    """The rows that it stands for, in its order; numbers of a `ClassLabel` become the labels' names."""
    import pyarrow as pa

    table = rows.with_format("arrow")[:]
    for column, feature in rows.features.items():
        feature_of_items = getattr(feature, "feature", feature)
        names = getattr(feature_of_items, "names", None)
        if names is None:
            continue
        values = [_named(value, names) for value in table[column].to_pylist()]
        table = table.set_column(table.column_names.index(column), column, pa.array(values))
    return table


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if value is not None and value >= 0 else None


def _digest(table: pa.Table) -> str:
    """A hash of a table's rows, the same whatever wrote them."""
    import hashlib

    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


class _Doubts(Terminal):
    """Of all that `init` tells only what is not certain is shown."""

    def __init__(self, screen: Terminal) -> None:
        super().__init__(quiet=True)
        self.shown = screen

    def line(self, text: str) -> None:
        """One plain line."""
        if "not certain" in text:
            self.shown.line(text)
