"""Stage `prepro`: token ids; held-out and select rows cut from train; rows that would leak dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from adaptershare_cli.commands.download import download_task
from adaptershare_cli.data.cutting import LARGEST_SHARE, PARTS
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.encoding import Prepared, load_tokenizer, prepare_task
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.parquet_files import write_parquet
from adaptershare_cli.runs.context import StageContext, ensure
from adaptershare_cli.runs.rows import SHOWN_LABELS, info_of, lost_notes
from adaptershare_cli.settings import non_default
from adaptershare_cli.store.records import DownloadRecord, PreproRecord
from adaptershare_cli.store.workspace import Artefact

NATURAL = 20  # more than 1/20 of train in scored splits is worth a word


def prepare(context: StageContext, definition: TaskDefinition) -> Artefact:
    """The prepro artefact of one task; its download is made first where it is missing."""
    download = download_task(context, definition)
    settings = context.prepro
    if settings.leak_scope == "task":  # of one task's rows it drops as many as the default
        settings = replace(settings, leak_scope="run")
    request = {
        "task": download.content,
        "tokenizer": context.encoder.tokenizer,
        "settings": non_default(settings),
    }

    def build(folder: Path) -> dict[str, Any]:
        said = DownloadRecord.of(download)
        kind, unseen = KINDS[said.kind], _unseen_labels(said)
        tokenizer = load_tokenizer(context.encoder.folder, kind.name)
        limit = getattr(tokenizer, "model_max_length", None)
        if limit is not None and settings.max_seq_length > limit:
            raise UserError(
                f"--max-seq-length {settings.max_seq_length} is longer than the encoder can take ({limit})",
                where=f"--model {context.model}",
                fix=f"Use --max-seq-length {limit} or less.",
            )
        if tokenizer.pad_token_id is None:
            raise UserError(
                "The encoder's tokenizer has no padding token",
                where=f"--model {context.model}",
                fix="Name one in its tokenizer_config.json (pad_token), as the encoder was trained with.",
            )
        splits = {name: download.table(f"{name}.parquet") for name in said.rows}
        prepared = prepare_task(
            splits,
            info_of(said, unseen),
            tokenizer,
            settings.max_seq_length,
            settings.heldout_size,
            settings.select_size,
            settings.max_train_examples,
            settings.max_eval_examples,
            keep_leaks=settings.leak_scope == "none",
        )
        _check_parts(definition.name, said.rows["train"], prepared)
        for part, table in prepared.parts.items():
            write_parquet(table, folder / f"{part}.parquet")
        notes = _notes(definition.name, said.rows["train"], prepared)
        for note in notes:
            context.reporter.line(note)
        record = PreproRecord(
            task=said.task,
            definition=said.definition,
            kind=said.kind,
            labels=said.labels,
            range=said.range,
            metrics=said.metrics,
            positive=said.positive,
            unseen=unseen if kind.keeps_new_labels else None,
            pairs="text_pair" in kind.roles and not splits["train"]["text_pair"].null_count,
            scored=[part for part in prepared.parts if part not in PARTS],
            counts=prepared.counts,
            pad_token=tokenizer.pad_token_id,
            lost=prepared.lost or None,
            notes=notes or None,
            summary=_summary(prepared.counts, list(prepared.parts), kind.count_notes),
        )
        return {"info": record.to_json()}

    return ensure(context, "prepro", definition.name, request, build, [download])


def _unseen_labels(download: DownloadRecord) -> list[str]:
    """The labels in scored splits that train never has, sorted."""
    return sorted({label for found in (download.unseen or {}).values() for label in found})


def _check_parts(name: str, rows: int, prepared: Prepared) -> None:
    """Raise UserError for a part of train without rows, and for a row without any token (its mean would be none)."""
    leaked, contents = prepared.counts["leaked_rows"], prepared.counts["train_contents"]
    for part in PARTS:
        if not prepared.parts[part].num_rows:
            fix = "Held-out and select rows each take at most a fifth of train: give at least five rows."
            if rows - leaked >= 5:
                fix = "Rows of one text stay together, and each of the three parts needs a text of its own: "
                fix += "give more different texts."
            if "train_groups" in prepared.counts:
                fix = "Rows of one group stay together, and each of the three parts needs a group of its own: "
                fix += f"there are {prepared.counts['train_groups']}, so give more, or none."
            if not contents:
                fix = "Give train rows that do not stand in a scored split; --leak-scope none keeps those that do."
            raise UserError(
                f"Task {name} has too few train rows: none is left for {part}",
                where=f"{rows} rows, {leaked} of them leaks; the others hold {contents} different texts",
                fix=fix,
            )
    for part, table in prepared.parts.items():
        empty = table.filter(pc.equal(table["length"], 0))
        split = "train" if part in PARTS else part
        if empty.num_rows:
            raise UserError(
                f"Task {name}: the tokenizer makes no token of a text",
                where=f"row {empty['row'][0].as_py()} (counted from 0) of the split {split}",
                fix="Take the row out, or use an encoder whose tokenizer adds special tokens.",
            )


def _notes(name: str, rows: int, prepared: Prepared) -> list[str]:
    """What a user should know of the cut of so many train rows, and what can be done about it."""
    counts = prepared.counts
    leaked, repeated = counts["leaked_rows"], counts["repeated_leaks"]
    notes = lost_notes(name, prepared.lost)
    if leaked * NATURAL > rows and 2 * repeated >= leaked:
        notes.append(
            f"{name}: {leaked} of {rows} train rows stand in a scored split and are dropped, {repeated} of them with "
            "texts that repeat in train, too. If they do so by nature, as utterances do, --leak-scope none keeps them."
        )
    for part, labels in prepared.absent.items():
        if labels:
            word, names = {"heldout": "held-out"}.get(part, part), ", ".join(labels[:SHOWN_LABELS])
            notes.append(f"{name}: no {word} row has the label {names}: too few different texts have it.")
    taken = counts["heldout_rows"] + counts["select_rows"] + counts["aside_rows"]
    if taken * LARGEST_SHARE > rows - leaked:
        notes.append(
            f"{name}: held-out and select rows take {taken} of {rows - leaked} train rows; --heldout-size and "
            "--select-size change how many."
        )
    return notes


def _summary(counts: dict[str, int], parts: list[str], notes: Mapping[str, str]) -> str:
    text = ", ".join(f"{part} {counts[f'{part}_rows']}" for part in parts)
    truncated = sum(counts[f"{part}_truncated"] for part in parts)
    extra = [f"{truncated} truncated"] if truncated else []
    for name, note in notes.items():
        if count := sum(counts[f"{part}_{name}"] for part in parts):
            extra.append(f"{count} {note}")
    if blank := sum(counts[f"{part}_blank"] for part in parts):
        extra.append(f"{blank} without a token of their own")
    if counts["aside_rows"]:
        what = (
            "rows of groups in held-out and select"
            if "train_groups" in counts
            else "copies of held-out and select texts"
        )
        extra.append(f"{counts['aside_rows']} {what} left aside")
    if counts["leaked_rows"]:
        extra.append(f"{counts['leaked_rows']} train rows dropped: they stand in a scored split")
    return "; ".join([text, *extra])
