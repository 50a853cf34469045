"""Unknown files: what they are, what their columns are for, which belong together, and what definitions come of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.data.drafting import Place, draft, group_files
from adaptershare_cli.data.guessing import guess
from adaptershare_cli.data.reading import read_task
from adaptershare_cli.data.sniffing import is_header, number, sniff
from adaptershare_cli.data.sources import Source
from adaptershare_cli.errors import UserError

SCHEMA = Path("/somewhere/schema.json")
TEXTS = [f"ein längerer Satz, Nummer {number}" for number in range(60)]
KINDS = ["gut" if number % 3 else "schlecht" for number in range(60)]


def table(delimiter: str = ",", head: str = "text,label", quote: str = '"') -> str:
    lines = [head.replace(",", delimiter)]
    lines += [f"{quote}{text}{quote}{delimiter}{kind}" for text, kind in zip(TEXTS, KINDS, strict=True)]
    return "\n".join(lines) + "\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def made(folder: Path, *files: Path, **said: str) -> Any:
    """The task that comes of files, as it is read by the definition that was drafted for them."""
    (task,) = group_files(files, said.pop("name", ""))
    found = sniff(task.splits["train"].paths[0])
    text = draft(task, found, guess(found, said), folder, SCHEMA)
    definition = parse_definition(write(folder, f"{task.name}.yaml", text))
    return definition, read_task(definition, Source("folder", folder))


# ---- from file to task ----


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", table()),
        ("european.csv", table(";").encode("cp1252")),
        ("unicode.txt", table("\t", quote="").encode("utf-16")),
        ("bars.csv", table("|", quote="")),
        ("mark.csv", table().encode("utf-8-sig")),
        ("packed.csv.gz", gzip.compress(table().encode())),
        ("list.json", json.dumps([{"label": k, "text": t} for t, k in zip(TEXTS, KINDS, strict=True)], indent=1)),
        ("in.json", json.dumps({"n": 60, "data": [{"y": k, "body": t} for t, k in zip(TEXTS, KINDS, strict=True)]})),
        ("lines.jsonl", "".join(json.dumps({"label": k, "text": t}) + "\n" for t, k in zip(TEXTS, KINDS, strict=True))),
    ],
)
def test_an_export_becomes_a_task(tmp_path: Path, name: str, content: str | bytes) -> None:
    definition, read = made(tmp_path, write(tmp_path, name, content))
    assert definition.kind == "classification" and read.labels == ("gut", "schlecht")
    assert sorted(sum((t["text"].to_pylist() for t in read.splits.values()), [])) == sorted(TEXTS)
    assert {split: rows.num_rows for split, rows in read.splits.items()} == {"train": 48, "dev": 12}


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"nr": range(60), "body": TEXTS, "class": KINDS}), tmp_path / "stored.parquet")
    definition, read = made(tmp_path, tmp_path / "stored.parquet")
    assert read.labels == ("gut", "schlecht") and dict(definition.files.columns) == {
        "text": "body", "text_pair": "text_pair", "label": "class"
    }  # fmt: skip


def test_without_a_header(tmp_path: Path) -> None:
    file = write(tmp_path, "bare.csv", table().split("\n", 1)[1])
    assert any("first line looks like a row" in doubt for doubt in guess(sniff(file), {}).unsure)
    _, read = made(tmp_path, file)
    assert sum(rows.num_rows for rows in read.splits.values()) == 60


def test_an_index_a_title_and_quoted_line_ends(tmp_path: Path) -> None:
    rows = [f'{n},"Betreff {n % 5}","Hallo,\nich {n} bin ""da"" und frage",{KINDS[n]}' for n in range(60)]
    file = write(tmp_path, "mail.csv", "\n".join(["id,subject,message,category", *rows]) + "\n")
    found = guess(sniff(file), {})
    assert (found.text, found.label) == ("message", "category")
    _, read = made(tmp_path, file)
    assert 'bin "da"' in read.splits["train"]["text"][0].as_py()


def test_scores_with_decimal_commas(tmp_path: Path) -> None:
    rows = "".join(f"{text.replace(';', ' ')};{n % 50 / 10:.1f}\n".replace(".", ",") for n, text in enumerate(TEXTS))
    definition, read = made(tmp_path, write(tmp_path, "noten.csv", "kommentar;note\n" + rows))
    assert (definition.kind, definition.range, definition.files.decimal) == ("regression", (0, 5), ",")
    assert max(read.splits["train"]["label"].to_pylist()) <= 4.9


def test_pairs(tmp_path: Path) -> None:
    rows = "".join(f'"{t}","und {t}",{n % 2}\n' for n, t in enumerate(TEXTS))
    _, read = made(tmp_path, write(tmp_path, "pairs.csv", "sentence1,sentence2,label\n" + rows))
    assert read.splits["dev"]["text_pair"].null_count == 0 and read.labels == ("0", "1")


# ---- words ----

SENTENCES = [[f"w{n + k * k % 7}" for k in range(3 + n % 4)] for n in range(40)]
NER = [["O", "B-PER", *["O"] * (len(words) - 2)] for words in SENTENCES]
POS = [["NN" if len(word) > 2 else "VB" for word in words] for words in SENTENCES]


def words_a_line(*columns: list[list[str]], between: str = " ", before: str = "") -> str:
    blocks = (zip(*lists, strict=True) for lists in zip(SENTENCES, *columns, strict=True))
    return "\n".join(before + "".join(between.join(word) + "\n" for word in block) for block in blocks)


@pytest.mark.parametrize("content", [
    "-DOCSTART- -X- O\n\n" + words_a_line(POS, NER),
    words_a_line(POS, NER, between="\t", before="# id 5\n").replace("\n", "\r\n"),
    words_a_line(NER),
])  # fmt: skip
def test_a_word_a_line(tmp_path: Path, content: str) -> None:
    definition, read = made(tmp_path, write(tmp_path, "ner.txt", content))
    assert (definition.kind, definition.metrics[0]) == ("tagging", "span_f1")
    assert read.labels == ("B-PER", "O") and sum(rows.num_rows for rows in read.splits.values()) == 40
    assert (definition.files.comment == "# ") == ("# id" in content)


def test_the_other_column_of_words_is_another_task(tmp_path: Path) -> None:
    file = write(tmp_path, "ner.txt", words_a_line(POS, NER))
    assert guess(sniff(file), {}).told == ("another task of the same words: --label 1 --name NAME",)
    definition, read = made(tmp_path, file, label="1")
    assert definition.metrics[0] == "accuracy" and read.labels == ("NN", "VB")
    chunks = [[label.replace("PER", "NP") for label in labels] for labels in NER]
    assert "`2` is taken for the label" in guess(sniff(write(tmp_path, "x", words_a_line(chunks, NER))), {}).unsure[0]
    with pytest.raises(UserError, match="its kind is tagging"):
        guess(sniff(file), {"kind": "classification"})


def test_conllu_without_what_is_no_word(tmp_path: Path) -> None:
    blocks = []
    for words, labels in zip(SENTENCES, POS, strict=True):
        lines = [f"# text = {words}", "1-2\tab" + "\t_" * 8]
        lines += [
            f"{at}\t{w}\t{w}\t{of}\tX" + "\t_" * 5 for at, (w, of) in enumerate(zip(words, labels, strict=True), 1)
        ]
        blocks.append("\n".join([*lines, "5.1\tx" + "\t_" * 8]) + "\n")
    definition, read = made(tmp_path, write(tmp_path, "some-ud-train.conllu", "\n".join(blocks)))
    assert (definition.name, dict(definition.files.columns)) == ("some-ud", {"text": "form", "label": "upos"})
    assert read.left_out["train"] == {"comment lines": 40, "lines of several words": 40, "empty nodes": 40}
    assert read.labels == ("NN", "VB")


def test_lists_of_words(tmp_path: Path) -> None:
    rows = zip(SENTENCES, NER, strict=True)
    lines = (json.dumps({"id": at, "tokens": words, "ner_tags": of}) + "\n" for at, (words, of) in enumerate(rows))
    definition, read = made(tmp_path, write(tmp_path, "lists.jsonl", "".join(lines)))
    assert definition.kind == "tagging" and read.labels == ("B-PER", "O")


# ---- what columns are for ----


def test_what_the_user_says_goes(tmp_path: Path) -> None:
    rows = "".join(f'"{t}","wort {n % 4}",{n % 5}\n' for n, t in enumerate(TEXTS))
    found = sniff(write(tmp_path, "both.csv", "text,label,stars\n" + rows))
    assert guess(found, {"label": "stars", "kind": "regression"}).range == (0, 4)
    assert guess(found, {"text": "label", "label": "stars"}).text == "label"
    with pytest.raises(UserError, match="no column `star` for the label") as caught:
        guess(found, {"label": "star"})
    assert "`stars`" in caught.value.fix


def test_what_could_be_otherwise_is_told(tmp_path: Path) -> None:
    rows = "".join(f'"{t}","anderer {t}",{n % 5},{"ab"[n % 2]}\n' for n, t in enumerate(TEXTS))
    doubts = " ".join(guess(sniff(write(tmp_path, "many.csv", "links,rechts,zahl,art\n" + rows)), {}).unsure)
    assert "for the text; `" in doubts and "for the label; `" in doubts
    stars = "".join(f'"{t}",{n % 5}\n' for n, t in enumerate(TEXTS))
    assert (
        "labels (as is taken), or scores?"
        in guess(sniff(write(tmp_path, "s.csv", "text,stars\n" + stars)), {}).unsure[0]
    )
    sure = sniff(write(tmp_path, "sure.csv", table()))
    assert guess(sure, {}).unsure == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("only one column\nand rows\n", "no delimiter"),
        ("a,b\n1,2\n3,4\n", "no column holds texts"),
        ("[1, 2]", "holds no objects"),
        ('{"text": "a"\n', "neither JSON nor JSON Lines"),
        ('{"text": "a"}\n{"text"\n', "line 2 is no JSON object"),
        ("text,label\n" + "".join(f'"{t}",x\n' for t in TEXTS), "one label only"),
        ("", "empty"),
        ("\n\n", "holds no text"),
    ],
)
def test_what_is_no_task(tmp_path: Path, content: str, told: str) -> None:
    file = write(tmp_path, "odd.csv", content)
    with pytest.raises(UserError, match=told):
        guess(sniff(file), {})


@given(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))
def test_numbers_with_commas(value: float) -> None:
    written = f"{value:,.3f}".translate(str.maketrans(",.", ".,"))
    assert number(written, ",") == pytest.approx(value)
    assert number(f"{value}") == value and number("n/a") is None and number(True) is None


def test_headers() -> None:
    assert is_header(["text", "label"], [["a", "b"]])
    for first in (["a b", "1"], ["a", "a"], ["", "", "b"], ["x" * 61, "b"]):
        assert not is_header(first, [["c", "d"]])
    assert is_header(["", "text", "label"], [["0", "a", "b"]]) and is_header(["a", "b", "b"], [["1x", "2x", "3"]])
    assert not is_header(["good film", "pos"], [["bad film", "neg"], ["nice", "pos"]])


# ---- odd files ----

CELLS = [f"{text} words" for text in TEXTS]
PLAIN = "".join(f"{text},{kind}\n" for text, kind in zip(CELLS, KINDS, strict=True)).replace(", Nummer", " Nummer")


@pytest.mark.parametrize(
    "content",
    [
        "text,label\r\n" + PLAIN,  # mixed line ends
        " text , label\n" + PLAIN,
        "Unnamed: 0,label\n" + PLAIN,
        "sep=,\ntext,label\n" + PLAIN,
        "text,label\n" + PLAIN.replace("ein", "ein" + " Wort" * 60_000, 2),
    ],
)
def test_tables_that_are_a_little_odd(tmp_path: Path, content: str) -> None:
    _, read = made(tmp_path, write(tmp_path, "odd.csv", content))
    assert read.labels == ("gut", "schlecht") and sum(rows.num_rows for rows in read.splits.values()) == 60


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("cr.csv", ("text,label\n" + PLAIN).replace("\n", "\r"), "carriage return alone"),
        ("one.csv", "text,label\n", "one row only"),
        ("lists.jsonl", '{"text": "a b", "label": ["x"]}\n' * 9, "holds lists or objects"),
        ("twice.csv", "text,text,label\n" + PLAIN.replace(",", ",5,"), "`text` names several columns"),
    ],
)
def test_odd_files_that_are_no_tables_of_labels(tmp_path: Path, name: str, content: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        guess(sniff(write(tmp_path, name, content)), {})
    assert told in str(caught.value)


def test_labels_that_are_whole_numbers_with_a_point(tmp_path: Path) -> None:
    lines = (json.dumps({"text": text, "label": float(kind == "gut")}) for text, kind in zip(TEXTS, KINDS, strict=True))
    _, read = made(tmp_path, write(tmp_path, "floats.jsonl", "\n".join(lines)))
    assert read.labels == ("0", "1")


# ---- which files belong together ----


def test_sister_files(tmp_path: Path) -> None:
    names = ["a-train.csv", "a_dev.csv", "a.test.csv", "train_b.csv", "valid-b.csv", "Other Export.CSV.gz"]
    found = {files.name: files for files in group_files([tmp_path / name for name in names])}
    assert {name: [*files.splits] for name, files in found.items()} == {
        "a": ["train", "dev", "test"], "b": ["train", "dev"], "other-export": ["train"]
    }  # fmt: skip
    folder = [tmp_path / "mails" / name for name in ("dev.csv", "train.csv")]
    (files,) = group_files(folder)
    assert (files.name, [*files.splits], files.folder) == ("mails", ["train", "dev"], (tmp_path / "mails").resolve())
    assert group_files([tmp_path / "x-dev.csv"])[0].splits == {"train": Place((tmp_path / "x-dev.csv",))}
    for wrong, told in (
        (["a-train.csv", "a_train.tsv"], "two files are train"),
        (["a-dev.csv", "a-test.csv"], "no file"),
    ):
        with pytest.raises(UserError, match=told):
            group_files([tmp_path / name for name in wrong])
    with pytest.raises(UserError, match="cannot be a task's name"):
        group_files([tmp_path / "a.csv"], "con")


def test_splits_of_files_are_scored(tmp_path: Path) -> None:
    files = [write(tmp_path, f"r-{split}.csv", table()) for split in ("train", "dev", "test")]
    definition, read = made(tmp_path, *files)
    assert definition.report_on == ("dev", "test") and set(read.splits) == {"train", "dev", "test"}
