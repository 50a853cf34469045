"""Stage `download`: a task's rows from the hub, a folder or the embedded data, checked and written as Parquet."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.reading import read_task
from adaptershare_cli.data.sources import Source, check_files, resolve_source, source_request
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS, of_one_label
from adaptershare_cli.kinds.rows.texts import told
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.settings import non_default
from adaptershare_cli.store.artefact import verify
from adaptershare_cli.store.records import DownloadRecord
from adaptershare_cli.store.workspace import Artefact, canonical

_BATCH = 10_000  # rows that are text at once
_TOLD = 8  # labels that a line names


def download_task(context: StageContext, definition: TaskDefinition) -> Artefact:
    """The download artefact of one task; the source is --from, the remembered folder, or the definition's own."""
    source = _source(context, definition)
    settings = non_default(context.download)
    if source is None:
        return _earlier(context, definition, settings)
    request = {
        "definition": definition.fingerprint,
        "source": source_request(definition, source),
        "settings": settings,
    }

    labels: list[str] = []
    suspicious: list[str] = []

    def build(folder: Path) -> dict[str, Any]:
        kind = KINDS[definition.kind]
        read = read_task(definition, source, context.download.max_rejected)
        suspicious.extend(read.suspicious)
        labels.extend(read.labels)
        if source_request(definition, source) != request["source"]:
            fix = "Run the command again when nothing writes to it."
            raise UserError(
                f"the data of the task `{definition.name}` changed while it was read", str(source.root), fix
            )
        digest = hashlib.sha256(canonical([definition.fingerprint, read.labels]).encode())
        for name, table in read.splits.items():
            write_parquet(table, folder / f"{name}.parquet")
            for text in _json_texts(name, table):
                digest.update(text.encode())
        write_parquet(read.rejected, folder / "rejected.parquet")
        rows = {name: table.num_rows for name, table in read.splits.items()}
        missing = f"; not there: {', '.join(read.missing)}" if read.missing else ""
        beside = left_out(read.left_out)
        missing += _unseen(read.unseen, kind.counted) + (f"; {beside}" if beside else "")
        rejected = f"; {read.rejected.num_rows} rows rejected" if read.rejected.num_rows else ""
        record = DownloadRecord(
            task=definition.name,
            definition=definition.fingerprint,
            kind=definition.kind,
            labels=list(read.labels),
            range=list(definition.range) if definition.range else None,
            metrics=list(definition.metrics),
            positive=definition.positive if of_one_label(definition.metrics) else None,
            rows=rows,
            rejected=read.rejected.num_rows,
            missing=list(read.missing),
            unseen=read.unseen if kind.keeps_new_labels else None,
            left_out=read.left_out or None,
            suspicious=read.suspicious or None,
            source=source.kind,
            summary=", ".join(f"{name} {count}" for name, count in rows.items()) + missing + rejected,
        )
        return {"content": digest.hexdigest(), "info": record.to_json()}

    def tell(made: bool) -> None:
        if made and definition.labels_from_train:
            context.reporter.taken(f"labels of {definition.name}: {told(labels)}", "as train has them: from-train")
        for text in suspicious if made else ():
            context.reporter.line(f"{definition.name}: {text}")

    artefact = ensure(context, "download", definition.name, request, build, [], settle=tell)
    if context.from_folder is not None and source.kind == "folder":
        context.workspace.remember_sources([definition.name], context.from_folder)
    return artefact


def left_out(splits: Mapping[str, Mapping[str, int]]) -> str:
    """What is said of what files hold beside rows, over all splits; "" where it is nothing."""
    total = sum((Counter(found) for found in splits.values()), Counter[str]())
    return f"left out: {', '.join(f'{count} {what}' for what, count in total.items())}" if total else ""


def _unseen(splits: dict[str, dict[str, int]], counted: str) -> str:
    """What is said of the words (or whatever has labels) whose labels train never has."""
    return "".join(
        f"; {counted} of {name} with labels that train never has, which count as wrong: {sum(labels.values())} "
        f"({', '.join(list(labels)[:_TOLD])}{', …' if len(labels) > _TOLD else ''})"
        for name, labels in splits.items()
    )


def _json_texts(name: str, table: pa.Table) -> Iterator[str]:
    """The JSON text of `[name, {column: values, …}]` in pieces, as the whole would take many times a table's memory."""
    yield f"[{canonical(name)},{{"
    for number, column in enumerate(sorted(table.column_names)):
        yield f"{',' if number else ''}{canonical(column)}:["
        batches = filter(len, table.select([column]).to_batches(max_chunksize=_BATCH))
        for at, batch in enumerate(batches):
            yield ("," if at else "") + canonical(batch.column(0).to_pylist())[1:-1]
        yield "]"
    yield "}]"


def _source(context: StageContext, definition: TaskDefinition) -> Source | None:
    """Where to read from; None where the remembered folder is gone but an earlier download may stand."""
    if context.from_folder is not None:
        return resolve_source(definition, context.from_folder)
    remembered = context.workspace.sources().get(definition.name)
    if remembered is not None:
        folder = Path(remembered)
        if context.force != "download" and not folder.is_dir() and _whole_downloads(context, definition):
            return None
        context.reporter.taken(f"data from {folder}", "remembered from an earlier --from; --from names another folder")
        return resolve_source(definition, folder)
    return resolve_source(definition, None)


def check_source(context: StageContext, definition: TaskDefinition) -> None:
    """Raise UserError where a task's source, or a file of it, is not there. None is read."""
    source = _source(context, definition)
    if source is not None:
        check_files(definition, source)


def _whole_downloads(context: StageContext, definition: TaskDefinition) -> list[Artefact]:
    wanted = definition.name, definition.fingerprint
    downloads = [(artefact, DownloadRecord.of(artefact)) for artefact in context.workspace.artefacts("download")]
    return [artefact for artefact, record in downloads if (record.task, record.definition) == wanted]


def _earlier(context: StageContext, definition: TaskDefinition, settings: dict[str, Any]) -> Artefact:
    """The newest download of this very definition, used when its folder is not there any more."""
    found = _whole_downloads(context, definition)
    same = [artefact for artefact in found if artefact.meta["request"]["settings"] == settings] or found
    verify(same[-1])
    context.reporter.kept_artefact(same[-1].label, "its source folder is not there now")
    return same[-1]
