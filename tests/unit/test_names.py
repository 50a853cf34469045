"""Names and paths that stay where they belong on every system, and what people can see of a text."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adaptershare_cli.data.names import name_fault, path_fault
from adaptershare_cli.kinds.rows.texts import folded, is_visible, label_fault

PARTS = st.sampled_from(
    ["a", "ü", ".", "..", "/", "\\", ":", "C:", "~", " ", "\0", "\u2215", "\uff0f", "\uff0e", "\u2025", "con"]
)


@given(st.text(max_size=12) | st.lists(PARTS, max_size=8).map("".join))
@example("a/../b")
@example("C:a")
@example("\u2025/a")
@example("\ufe52\ufe52/a")
def test_a_path_without_a_fault_stays_inside(path: str) -> None:
    if path_fault(path):
        return
    for form in (path, unicodedata.normalize("NFKC", path)):
        for pure in (PurePosixPath(form), PureWindowsPath(form)):
            assert not pure.is_absolute() and not pure.drive and not pure.root
            assert ".." not in [part.strip() for part in pure.parts]
        assert form.count("/") == path.count("/") and "\\" not in form
    assert path.isprintable() or any(unicodedata.category(sign) in ("Zs", "Cf", "Co", "Cn") for sign in path)


@given(st.text(max_size=8) | st.lists(PARTS, max_size=4).map("".join))
def test_a_name_without_a_fault_is_one_part_of_a_path(name: str) -> None:
    if not name_fault(name):
        assert not path_fault(name) and PureWindowsPath(name).parts == PurePosixPath(name).parts == (name,)
        assert name.isascii() and name.isprintable()


@pytest.mark.parametrize("name", ["a", "mnli-2", "A.b_c-d", "0", "common", "auxiliary", "com10", "a..b"])
def test_good_names(name: str) -> None:
    assert name_fault(name) == ""


@pytest.mark.parametrize(
    "path", ["a", "a/b.csv", "./a", "a//b", "Übung/Größe 2.csv", "日本/語.tsv", "2024-01-01T10:00.csv", "..a"]
)
def test_good_paths(path: str) -> None:
    assert path_fault(path) == ""


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a", True), ("?", True), ("👍", True), ("🏳️‍🌈", True), ("\ue000", True), ("\u0301", False), ("e\u0301", True),
        ("", False), (" \t\u00a0\u3000", False), ("\u200b\u200d\u2060\ufeff", False), ("\ufe0f", False),
        ("\u3164\u2800", False),        ("\x00\x07\x1b", False), ("\u202e\u2066", False), (" \u200b.", True),
    ],
)  # fmt: skip
def test_what_can_be_seen(text: str, seen: bool) -> None:
    assert is_visible(text) == seen
    assert bool(label_fault(text)) == (not seen)


@given(st.text(max_size=20))
def test_folding_drops_white_space_at_the_ends(text: str) -> None:
    assert folded(f" {text}\n") == folded(text)
    assert folded(text) == folded(text).strip()
