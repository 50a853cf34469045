"""A Parquet file lies where its path says, whatever signs that has."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptershare_cli.parquet_files import open_parquet, read_parquet, write_parquet
from tests.unit.test_rooms import modules

ODD_NAMES = (
    "run:1", "data:v1", "file:", "s3:", "hf:", "C:", "a=1", "a%20b", "a b", "#x", "?y", "[z]", "*", "-w", "~", "~root",
    "$HOME", "é", "e\u0301", "new\nline", "'", '"', "\\", ".partial-x",
)  # fmt: skip
TABLE = pa.table({"x": [1, 2]})


def goes_round(path: Path) -> None:
    write_parquet(TABLE, path)
    assert read_parquet(path).equals(TABLE)
    assert read_parquet(path, ["x"]).equals(TABLE)
    with open_parquet(path) as opened:
        assert opened.schema_arrow.names == ["x"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    goes_round(Path(name) / "t.parquet")
    goes_round(tmp_path / name / "u.parquet")
    assert sorted(file.name for file in (tmp_path / name).iterdir()) == ["t.parquet", "u.parquet"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20))
def test_a_file_of_any_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        goes_round(Path(f"{name}:1"))
    assert [file.name for file in folder.iterdir()] == [f"{name}:1"]


def test_nobody_else_opens_parquet_files() -> None:
    direct = re.compile(r"\b(pq|pd)\.(read_|write_|ParquetFile|ParquetWriter)|to_parquet\(")
    users = {name for name, path in modules().items() if direct.search(path.read_text(encoding="utf-8"))}
    assert users == {"parquet_files"}
