"""Tables of results for elsewhere: LaTeX and CSV."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest

from adaptershare_cli.reporting.formats import CSV_COLUMNS, FORMATS, latex_text, to_csv, to_latex
from tests.pages import facts_of, made_up


def test_latex_has_a_booktabs_table_a_comparison_with_the_best_in_bold() -> None:
    groups = facts_of(made_up(2, ("private", "shared"), gains={"shared": 0.2})).groups
    text = to_latex(groups)
    for word in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(word) == 1
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 2 and all(line.endswith(r"\\") for line in body)
    assert len({line.count("&") for line in [*body, text.splitlines()[5]]}) == 1
    assert r"\textbf{" in body[1] and r"\textbf{" not in body[0] and r"$\pm$" in body[1]


def test_names_are_escaped() -> None:
    odd = r"a_b & 50% $x^2$ {y} \z ~ #1 <i>"
    text = latex_text(odd)
    assert not re.search(r"(?<!\\)[&%#_]", text) and r"\textbackslash{}z" in text and latex_text("a\n b") == "a b"
    found = to_latex(facts_of([row | {"task": odd} for row in made_up(1)]).groups)
    assert r"a\_b \& 50\%" in found


def test_csv_is_read_back() -> None:
    facts = facts_of(made_up(3, ("private", "shared"), 2))
    table = pd.read_csv(io.StringIO(to_csv(facts.groups)))
    assert tuple(table.columns) == CSV_COLUMNS and len(table) == 2 * (3 + 1)
    row, cell = facts.groups[0].rows[0], facts.groups[0].rows[0].cells[1]
    found = table[(table.method == row.label) & (table.task == "task-1")].iloc[0]
    assert (found["mean"], found["deviation"], found["seeds"]) == pytest.approx((cell.mean, cell.deviation, 2))
    assert table[table.metric == "average"].task.isna().all()


def test_every_form_takes_nothing_and_nulls() -> None:
    rows = [row | {"value": None, "seconds": None} for row in made_up(1, ("shared",))]
    for form in FORMATS.values():
        assert "n/a" in form(facts_of(rows).groups) or ",,," in form(facts_of(rows).groups)
        assert "shared" not in form([])
