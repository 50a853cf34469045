"""Files as people export them: encodings, delimiters, decimal commas, packed ones; splits that are a share of train."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adaptershare_cli.data.definition import TaskDefinition, parse_definition
from adaptershare_cli.data.reading import ReadTask, read_task
from adaptershare_cli.data.sources import Source, source_request
from adaptershare_cli.errors import UserError

TEXT = "text,label\nGr\u00fc\u00dfe aus K\u00f6ln,ja\nPreis: 5 \u20ac,nein\n\u201eSo\u201c,ja\n"
TEXTS = ["Gr\u00fc\u00dfe aus K\u00f6ln", "Preis: 5 \u20ac", "\u201eSo\u201c"]
LABELS: dict[str, Any] = {"kind": "classification", "labels": ["ja", "nein"], "metrics": ["accuracy"]}
SCORES: dict[str, Any] = {"kind": "regression", "range": [0, 5000], "metrics": ["pearson"]}


def define(folder: Path, about: dict[str, Any] = LABELS, splits: Any = None, **files: Any) -> TaskDefinition:
    splits = splits or {"train": "data", "dev": "data"}
    content = {**about, "report_on": ["dev"], "files": {"reader": "csv", "splits": splits, **files}}
    (folder / "mine.yaml").write_text(json.dumps(content), encoding="utf-8")
    return parse_definition(folder / "mine.yaml")


def read(folder: Path, data: bytes, *arguments: Any, **files: Any) -> ReadTask:
    (folder / "data").write_bytes(data)
    return read_task(define(folder, *arguments, **files), Source("folder", folder))


def refused(folder: Path, data: bytes, *arguments: Any, **files: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        read(folder, data, *arguments, **files)
    return caught.value


def texts(done: ReadTask, split: str = "train") -> list[str]:
    return done.splits[split]["text"].to_pylist()


# ---- encodings ----


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-8-sig", "utf-8", "utf-32"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    assert texts(read(tmp_path, TEXT.encode(encoding), encoding=encoding)) == TEXTS


def test_long_files_are_written_anew_piece_by_piece(tmp_path: Path) -> None:
    rows = [f"\u00e4{number}" * 20 for number in range(5000)]
    data = "text,label\n" + "".join(f"{row},{'ja' if at % 2 else 'nein'}\n" for at, row in enumerate(rows))
    assert texts(read(tmp_path, data.encode("utf-16"), encoding="utf-16")) == rows


@pytest.mark.parametrize(("encoding", "said"), [("cp1252", "cp1252"), ("utf-16", "utf-16")])
def test_another_encoding_is_recognised_and_the_advice_works(tmp_path: Path, encoding: str, said: str) -> None:
    error = refused(tmp_path, TEXT.encode(encoding))
    assert f"`encoding: {said}`" in error.fix and "--max-rejected" not in str(error)
    assert texts(read(tmp_path, TEXT.encode(encoding), encoding=said)) == TEXTS


def test_cyrillic_is_not_taken_for_western(tmp_path: Path) -> None:
    words = "\u0412\u0441\u0435 \u0441\u0447\u0430\u0441\u0442\u043b\u0438\u0432\u044b\u0435"
    data = "text,label\n" + "".join(f"{words} \u0441\u0435\u043c\u044c\u0438 {at},ja\n" for at in range(30))
    assert "`encoding: cp1251`" in refused(tmp_path, data.encode("cp1251")).fix


def test_one_damaged_row_of_a_utf8_file_is_no_other_encoding(tmp_path: Path) -> None:
    error = refused(tmp_path, TEXT.encode() + b"caf\xe9,ja\n")
    assert "2 rows of the task" in error.what and "encoding" not in error.fix  # it is train and dev


def test_a_wrong_encoding_is_told_once(tmp_path: Path) -> None:
    error = refused(tmp_path, b"text,label\n\x81 a,ja\nb,nein\n", encoding="cp1252")
    assert "not in the encoding cp1252" in error.what and "near byte 11" in error.what
    for wrong in ("klingon", "hex"):
        with pytest.raises(UserError, match="no encoding that is known here"):
            define(tmp_path, encoding=wrong)


# ---- delimiters and decimal marks ----


def test_semicolons(tmp_path: Path) -> None:
    data = TEXT.replace(",", ";").encode()
    assert texts(read(tmp_path, data, delimiter=";")) == TEXTS
    error = refused(tmp_path, data)
    assert "perhaps by semicolons" in error.what and 'delimiter: ";"' in error.fix
    for wrong in ("", ";;", '"', "\n"):
        with pytest.raises(UserError, match="one character"):
            define(tmp_path, delimiter=wrong)


def test_decimal_commas(tmp_path: Path) -> None:
    data = b"text;label\na;3,5\nb;1.234,25\nc;7\nd;-0,5e1\n"
    about = {**SCORES, "range": [-10, 5000]}
    done = read(tmp_path, data, about, delimiter=";", decimal=",")
    assert done.splits["train"]["label"].to_pylist() == [3.5, 1234.25, 7, -5]
    wrong = refused(tmp_path, b"text;label\na;3.5\nb;1,5\n", SCORES, delimiter=";", decimal=",")
    assert "is not a number with a decimal comma" in wrong.where  # and never 35
    with pytest.raises(UserError, match="belongs to a regression"):
        define(tmp_path, decimal=",")


def test_definitions_that_say_none_of_it_keep_their_keys(tmp_path: Path) -> None:
    plain, said = define(tmp_path), define(tmp_path, encoding="cp1252", delimiter=";")
    assert plain.fingerprint != said.fingerprint
    assert define(tmp_path, splits={"train": "data", "dev": "20%"}).fingerprint != plain.fingerprint


# ---- packed files ----


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: zipped(inside=data)])
def test_packed_files_are_read_as_what_is_in_them(tmp_path: Path, pack: Any) -> None:
    assert texts(read(tmp_path, pack(TEXT.encode()))) == TEXTS
    assert texts(read(tmp_path, pack(TEXT.encode("utf-16")), encoding="utf-16")) == TEXTS


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: zipped(inside=data)])
def test_damaged_ones_are_one_clear_error(tmp_path: Path, pack: Any) -> None:
    data = pack(("text,label\n" + "".join(f"text {n},ja\n" for n in range(20_000))).encode())
    assert "cannot be unpacked" in refused(tmp_path, data[: len(data) // 2]).what


def test_archives_of_several_files_and_of_offices(tmp_path: Path) -> None:
    assert "holds 2 files (a, b)" in refused(tmp_path, zipped(a=b"x", b=b"y")).what
    assert "Excel" in refused(tmp_path, zipped(**{"[Content_Types].xml": b"<>", "xl/workbook.xml": b"<>"})).what


# ---- a share of train ----


def rows(count: int) -> bytes:
    return ("text,label\n" + "".join(f"text {n},{'nein' if n % 4 else 'ja'}\n" for n in range(count))).encode()


def test_a_share_of_train_is_a_split(tmp_path: Path) -> None:
    done = read(tmp_path, rows(200), LABELS, {"train": "data", "dev": "20%"})
    assert {name: table.num_rows for name, table in done.splits.items()} == {"train": 160, "dev": 40}
    assert sorted(texts(done) + texts(done, "dev")) == sorted(f"text {n}" for n in range(200))
    assert Counter(done.splits["dev"]["label"].to_pylist()) == {"nein": 30, "ja": 10}
    places = done.splits["dev"]["row"].to_pylist()  # those of the file
    assert [f"text {place}" for place in places] == texts(done, "dev")


def test_a_share_needs_no_file_and_changes_no_request(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(rows(50))
    task = define(tmp_path, splits={"train": "data", "dev": "20%"})
    assert list(source_request(task, Source("folder", tmp_path))["files"]) == ["data"]


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"train": "20%", "dev": "data"}, "cannot be a share of itself"),
        ({"train": "data", "dev": "0%"}, "between 0% and 100%"),
        ({"train": "data", "dev": "120%"}, "between 0% and 100%"),
        ({"train": "data", "dev": {"share": "much"}}, "between 0% and 100%"),
        ({"train": "data", "dev": {"share": "20%", "path": "x"}}, "path"),
    ],
)
def test_shares_that_cannot_be(tmp_path: Path, splits: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        define(tmp_path, splits=splits)


def test_shares_that_take_all(tmp_path: Path) -> None:
    content = {**LABELS, "report_on": ["dev", "test"]}
    files = {"reader": "csv", "splits": {"train": "data", "dev": "60%", "test": "40%"}}
    (tmp_path / "mine.yaml").write_text(json.dumps({**content, "files": files}))
    with pytest.raises(UserError, match="none of it is left"):
        parse_definition(tmp_path / "mine.yaml")


def test_what_is_wrong_in_a_share_names_trains_file(tmp_path: Path) -> None:
    error = refused(tmp_path, b"text,label\na,ja\nb,nein\n", LABELS, {"train": "data", "dev": "20%"})
    assert "dev" in str(error) and "20% of data" in str(error)


# ---- JSON ----

ITEMS = [{"review": {"body": f"text {n}"}, "ok": "ja" if n % 2 else "nein"} for n in range(6)]
NESTED = {"text": "review.body", "label": "ok"}


@pytest.mark.parametrize(
    ("content", "records"),
    [(ITEMS, None), ({"count": 6, "items": ITEMS}, None), ({"data": {"items": ITEMS, "others": []}}, "data.items")],
)
def test_lists_of_objects_with_nested_keys(tmp_path: Path, content: Any, records: str | None) -> None:
    said = {"records": records} if records else {}
    done = read(tmp_path, json.dumps(content).encode(), reader="json", columns=NESTED, **said)
    assert texts(done) == [f"text {n}" for n in range(6)]


def test_lines_of_objects_with_nested_keys(tmp_path: Path) -> None:
    lines = "".join(
        json.dumps(item) + "\n" for item in [*ITEMS, {"review": {"body": "x"}, "ok": "ja", "review.body": "y"}]
    )
    assert texts(read(tmp_path, lines.encode(), reader="jsonl", columns=NESTED))[-1] == "y"  # the key itself goes first
    wrong = refused(tmp_path, (lines + '{"review": "text", "ok": "ja"}\n').encode(), reader="jsonl", columns=NESTED)
    assert "has no key `review.body`" in wrong.where and "row 8" in wrong.where


@pytest.mark.parametrize(
    ("content", "records", "told"),
    [
        ({"a": [], "b": []}, None, "which of its lists is meant"),
        ({"a": ITEMS}, "b", "there is no key `b`"),
        (3, None, "no list of objects"),
        ([], None, "holds no rows"),
        ([1, *ITEMS], None, "is not a JSON object"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, content: Any, records: str | None, told: str) -> None:
    said = {"records": records} if records else {}
    error = refused(tmp_path, json.dumps(content).encode(), reader="json", columns=NESTED, **said)
    assert told in str(error)


def test_a_list_for_the_reader_of_lines(tmp_path: Path) -> None:
    error = refused(tmp_path, json.dumps(ITEMS).encode(), reader="jsonl", columns=NESTED)
    assert "`reader: json`" in error.fix


# ---- missing values ----

GAPS = "text,label\na,ja\nb,n/a\n ,nein\nNaN,ja\nc,nein\nd,\n"


def test_rows_that_lack_a_value_are_left_out_and_counted(tmp_path: Path) -> None:
    done = read(tmp_path, GAPS.encode(), missing=["n/a", "NaN"], drop="missing")
    assert texts(done) == ["a", "c"]
    assert done.left_out == {name: {"rows that lack a value": 4} for name in ("train", "dev")}
    kept = [row for row in done.rejected.to_pylist() if row["split"] == "train"]
    assert [(row["row"], row["column"]) for row in kept] == [(3, "label"), (4, "text"), (5, "text"), (7, "label")]
    assert all("left out" in row["reason"] for row in kept)


def test_without_drop_they_are_faults(tmp_path: Path) -> None:
    error = refused(tmp_path, GAPS.encode(), missing=["n/a"])
    assert "is missing" in error.where and "--max-rejected" in error.fix
    assert "is not one of the labels" in refused(tmp_path, GAPS.encode()).where


def test_numbers_that_are_none(tmp_path: Path) -> None:
    lines = '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n{"text": "c", "label": null}\n'
    about = {**SCORES, "range": [0, 5]}
    done = read(tmp_path, lines.encode(), about, reader="jsonl", drop="missing")
    assert texts(done) == ["a"]


def test_what_missing_cannot_be(tmp_path: Path) -> None:
    for wrong in ("n/a", [["x"]], {"a": "b"}):
        with pytest.raises(UserError, match="must be a list of texts"):
            define(tmp_path, missing=wrong)
    with pytest.raises(UserError, match="drop"):
        define(tmp_path, drop="all")


# ---- labels that are written in several ways ----

WAYS = "text,label\na,Ja\nb,ja\nc,ja \nd,JA\ne,nein\nf,ne\uff49n\ng,ja\n"
FROM_TRAIN: dict[str, Any] = {**LABELS, "labels": {"normalise": "true"}}


def test_labels_become_the_commonest_writing(tmp_path: Path) -> None:
    done = read(tmp_path, WAYS.encode(), FROM_TRAIN)
    assert done.labels == ("ja", "nein") and done.splits["dev"]["label"].to_pylist().count("ja") == 5
    (line,) = (line for line in done.suspicious if "several ways" in line)
    assert "`ja` for 'JA' (2), 'Ja' (2); `nein` for 'ne\uff49n' (2)" in line  # train and dev


def test_labels_of_a_list_keep_their_writing_and_order(tmp_path: Path) -> None:
    about = {**LABELS, "labels": {"names": ["NEIN", "Ja"], "normalise": True}}
    done = read(tmp_path, WAYS.encode(), about)
    assert done.labels == ("NEIN", "Ja") and set(done.splits["train"]["label"].to_pylist()) == {"NEIN", "Ja"}
    mapped = read(tmp_path, b"text,label\na,YES\nb,no\n", about, label_map={"yes": "Ja", "no": "NEIN"})
    assert mapped.splits["train"]["label"].to_pylist() == ["Ja", "NEIN"]
    with pytest.raises(UserError, match="which are one with normalise"):
        define(tmp_path, {**LABELS, "labels": {"names": ["ja", "Ja"], "normalise": True}})


def test_without_it_all_are_named_at_once(tmp_path: Path) -> None:
    error = refused(tmp_path, WAYS.encode())
    assert all(f"{label!r} (2)" in error.fix for label in ("Ja", "JA", "ne\uff49n")) and "normalise: true" in error.fix
    error = refused(tmp_path, WAYS.encode(), {**LABELS, "labels": "from-train"})
    assert "'JA' and 'Ja' and 'ja'" in error.what and "`labels: {normalise: true}`" in error.fix
    assert "JA: ja, Ja: ja" in error.fix
    assert (
        define(tmp_path).fingerprint == define(tmp_path, {**LABELS, "labels": {"names": LABELS["labels"]}}).fingerprint
    )
