"""Files as programs export them, from `init` to prepared rows: each becomes a task, or is one clear message."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.studies.pairing import Prepared
from tests.cli.conftest import QUICK, call, good, only, refused
from tests.conftest import WORDS

ROWS = [
    (f"{WORDS[n % len(WORDS)]} größer {WORDS[n * 7 % len(WORDS)]} {n}", "gut" if n % 3 else "schlecht")
    for n in range(60)
]


@dataclass(frozen=True)
class Export:
    """A file that is called `name`, what it holds, options of `init` beside --yes, and what its definition says."""

    name: str
    content: bytes
    options: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    rows: int = 60
    kind: str = "classification"


def table(delimiter: str = ",", rows: list[tuple[str, str]] = ROWS, head: str = "text,label") -> str:
    lines = [head.replace(",", delimiter), *(f"{text}{delimiter}{label}" for text, label in rows)]
    return "".join(line + "\r\n" for line in lines)


def workbook(**sheets: list[Any]) -> bytes:
    made, sink = Workbook(), io.BytesIO()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    made.save(sink)
    return sink.getvalue()


def conllu() -> bytes:
    blocks = []
    for text, _ in ROWS:
        lines = [f"# text = {text}", "1-2\tab" + "\t_" * 8]
        for at, word in enumerate(text.split(), 1):
            lines.append(f"{at}\t{word}\t{word}\t{'NUM' if word.isdecimal() else 'NOUN'}" + "\t_" * 6)
        blocks.append("\n".join([*lines, "9.1\tx" + "\t_" * 8]) + "\n")
    return "\n".join(blocks).encode()


def objects() -> list[dict[str, Any]]:
    return [{"id": n, "review": {"body": text}, "label": label} for n, (text, label) in enumerate(ROWS)]


VARIANTS = [(text, (label, label.upper(), f"{label} ")[n % 3]) for n, (text, label) in enumerate(ROWS)]
GAPS = [(text if n % 20 else "", label if n % 15 else "n/a") for n, (text, label) in enumerate(ROWS)]
INDEXED = [(f"{n},{text}", label) for n, (text, label) in enumerate(ROWS)]
QUOTED = [(f'"{text},\n""zwei"" Zeilen"', label) for text, label in ROWS]
COMMAS = [(text, f"{n % 50 / 10:.1f}".replace(".", ",")) for n, (text, _) in enumerate(ROWS)]
EXPORTS = [
    Export("european.csv", table(";").encode("cp1252"), says=('encoding: "cp1252"', 'delimiter: ";"')),
    Export("unicode.txt", table("\t").encode("utf-16"), says=("reader: tsv", "utf-16")),
    Export("mark.csv", table().encode("utf-8-sig")),
    Export("list.json", json.dumps(objects(), indent=1).encode(), ("--text", "review.body"), ("reader: json",)),
    Export("lines.jsonl", "".join(json.dumps(one) + "\n" for one in objects()).encode(), says=("review.body",)),
    Export(
        "book.xlsx", workbook(notes=[["x"]], data=[["Stand: heute"], [], ["text", "label"], *ROWS]),
        ("--sheet", "data"), ("skip_rows: 2", 'sheet: "data"'),
    ),
    Export("packed.csv.gz", gzip.compress(table().encode())),
    Export("index.csv", table(rows=INDEXED, head=",text,label").encode()),
    Export("quoted.csv", table(rows=QUOTED).encode()),
    Export(
        "commas.csv", table(";", COMMAS).encode(), ("--kind", "regression"), ('decimal: ","', "range: [0, 5]"),
        kind="regression",
    ),
    Export("variants.csv", table(rows=VARIANTS).encode(), says=("normalise: true",)),
    Export("gaps.csv", table(rows=GAPS).encode(), says=('missing: ["n/a"]', "drop: missing"), rows=54),
    Export("some-ud-train.conllu", conllu(), says=("reader: conllu", 'label: "upos"'), kind="tagging"),
]  # fmt: skip


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_an_export_becomes_prepared_rows(export: Export, tmp_path: Path, encoder: Path) -> None:
    (tmp_path / export.name).write_bytes(export.content)
    good("init", tmp_path / export.name, "--yes", *export.options)
    definition = only(tmp_path, "*.yaml")
    text = definition.read_text(encoding="utf-8")
    assert f"kind: {export.kind}" in text and all(words in text for words in export.says), text
    place = ("--task-dir", tmp_path, "-w", tmp_path / "w", "--max-seq-length", "64", "--model", encoder)
    good("prepro", "--tasks", definition.stem, *place)
    folder = only(tmp_path / "w", "download/*")
    counts = [pq.read_metadata(folder / f"{split}.parquet").num_rows for split in ("train", "dev")]
    assert sum(counts) == export.rows and counts[1] == round(export.rows / 5)


def test_exports_train_together(tmp_path: Path, encoder: Path) -> None:
    """One with weights, groups and ids, and one of words."""
    rows = [(text, f"{label},{n % 9},{n % 2 + 0.5},m{n}") for n, (text, label) in enumerate(ROWS)]
    (tmp_path / "mails.csv").write_text(table(rows=rows, head="text,label,author,trust,nr"), encoding="utf-8")
    (tmp_path / "words.conllu").write_bytes(conllu())
    columns = ("--label", "label", "--group", "author", "--weight", "trust")
    good("init", tmp_path / "mails.csv", "--yes", *columns)
    good("init", tmp_path / "words.conllu", "--yes")
    place = ("--task-dir", tmp_path, "-w", tmp_path / "w", "--model", encoder)
    mine = (tmp_path / "mails.yaml").read_text(encoding="utf-8")
    (tmp_path / "mails.yaml").write_text(mine.replace("  columns:\n", "  columns:\n    id: nr\n"), encoding="utf-8")
    good("train-share", "--method", "shared", "--tasks", "mails,words", *place, *QUICK, "--max-steps", "3")
    workspace = Workspace(tmp_path / "w")
    (run,) = workspace.artefacts("train-share")
    content, prepared = RunRecord.of(run).prepro, Prepared(workspace)
    ids = prepared.ids(content["mails"], "dev")
    assert len(ids) > 5 and all(own == f"m{row}" for row, own in ids.items())
    assert prepared.ids(content["words"], "dev") == {}
    mails = only(tmp_path / "w", "prepro/mails-*")
    weights = pq.read_table(mails / "train.parquet")["weight"].to_pylist()
    assert sum(weights) / len(weights) == pytest.approx(1, abs=1e-5) and len(set(weights)) == 2
    assert "weight" not in pq.read_schema(mails / "dev.parquet").names
    parts = [
        pq.read_table(mails / f"{part}.parquet")["row"].to_pylist() for part in ("train", "heldout", "select", "dev")
    ]
    authors = [{row % 9 for row in part} for part in parts]
    assert sum(map(len, authors)) == len(set.union(*authors))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("two.xlsx", lambda: workbook(a=[("text", "label"), *ROWS], b=[("text", "label"), *ROWS]), "--sheet"),
        ("old.xls", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel file"),
        ("one.csv", lambda: b"text\na\nb\n", "no delimiter"),
    ],
)
def test_what_cannot_become_one_is_one_message(
    tmp_path: Path, name: str, content: Callable[[], bytes], told: str
) -> None:
    (tmp_path / name).write_bytes(content())
    assert told in refused("init", tmp_path / name, "--yes")
    assert not list(tmp_path.glob("*.yaml"))


def test_one_flag_is_enough_where_yes_may_not_be_said(tmp_path: Path) -> None:
    (tmp_path / "commas.csv").write_text(table(";", COMMAS), encoding="utf-8")
    assert call("init", tmp_path / "commas.csv").exit_code == 2
