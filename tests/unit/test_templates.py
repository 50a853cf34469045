"""Templates: what they lack is an error, and pages escape what they are given."""

from __future__ import annotations

import html

import jinja2
import pytest

from adaptershare_cli.model.families import FAMILIES
from adaptershare_cli.reporting.page import PageFacts, html_page
from adaptershare_cli.templates import render

README = "model/templates/task_readme.md.j2"
LINES = {"adapter_lines": "model/templates/load_adapter.j2", "use_lines": "model/templates/use_rows.j2"}


def test_a_value_that_is_lacking_is_an_error() -> None:
    values = {
        "task": "rte",
        "name": "rte",
        "tokenizer_call": "",
        "family": FAMILIES["bert"],
        "pooling": "mean",
        "output_note": "",
        "tokenizer_options": {},
        "layer_norms": False,
        **LINES,
    }
    assert render(README, **values).startswith("# Adapter of task `rte`\n")
    for name in values:
        with pytest.raises(jinja2.UndefinedError):
            render(README, **{key: value for key, value in values.items() if key != name})


def test_a_kind_of_task_or_adapter_brings_its_own_lines() -> None:
    values = {
        "task": "rte",
        "name": "rte",
        "tokenizer_call": "",
        "family": FAMILIES["bert"],
        "pooling": "cls",
        "output_note": "of scores",
        "tokenizer_options": {"add_prefix_space": True},
        "layer_norms": True,
    }
    texts = {
        (load, use): render(README, **values, sources=["a", "b"],
                            adapter_lines=f"model/templates/{load}.j2", use_lines=f"model/templates/{use}.j2")
        for load in ("load_adapter", "load_fusion", "load_encoder") for use in ("use_rows", "use_words")
    }  # fmt: skip
    assert len(set(texts.values())) == 6
    for (load, use), text in texts.items():
        assert ("load_adapter_fusion" in text) == (load == "load_fusion")
        assert ("encoder.safetensors" in text) == (load == "load_encoder")
        assert ("is_split_into_words" in text) == (use == "use_words") != ("hidden[:, 0]" in text)
        assert "labels; of scores." in text and "from_pretrained(ENCODER, add_prefix_space=True)" in text
        assert "layer_norms.safetensors" in text
        assert "{" not in text.replace("{FOLDER}/adapters/{name}", "") and text.endswith("\n```\n")


def test_pages_are_escaped_and_texts_are_not() -> None:
    odd = '<b title="x">&\'</b>'
    page = html_page(PageFacts(odd, [], {}, [odd]))
    assert odd not in page and page.count(html.escape(odd)) == 3
    values = {
        "name": "odd",
        "tokenizer_call": "",
        "family": FAMILIES["bert"],
        "pooling": "mean",
        "output_note": "",
        "tokenizer_options": {},
        "layer_norms": False,
        **LINES,
    }
    assert odd in render(README, task=odd, **values)
