"""The documentation says what the program does: names, options, links and examples, and nothing is left out."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
import yaml

from adaptershare_cli import schemas
from adaptershare_cli.data.task_file import TaskFile
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
WRITTEN_WHEN_BUILT = "reference/"


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = reference()
COMMANDS = REFERENCE.commands()


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^[ ]*```{language}\n(.*?)^[ ]*```", text, re.DOTALL | re.MULTILINE)


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """Every `adaptershare` line of a block of shell, with the file that shows it."""
    for file in TEXTS:
        for block in fenced(file.read_text(encoding="utf-8"), "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                ends = [place for place, word in enumerate(words) if word in ("|", "&&", ";", "&", ">")]
                for begin, end in zip([0, *(end + 1 for end in ends)], [*ends, len(words)], strict=True):
                    if words[begin:end][:1] == ["adaptershare"]:
                        yield str(file.relative_to(ROOT)), words[begin + 1 : end]


def test_shown_commands_and_their_options_exist() -> None:
    shown = list(shown_commands())
    assert len(shown) > 30
    for file, words in shown:
        if words[:1] == ["--version"]:
            continue
        assert words and words[0] in COMMANDS, f"{file}: adaptershare {' '.join(words)}"
        known = {name for option in COMMANDS[words[0]].params for name in [*option.opts, *option.secondary_opts]}
        for word in words[1:]:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in known, f"{file}: {words[0]} has no {word}"


def test_shown_methods_and_measures_exist() -> None:
    for file, words in shown_commands():
        for option, there in (("--method", METHODS), ("--measure", MEASURES)):
            if option in words:
                named = words[words.index(option) + 1].split(",")
                unknown = [name for name in named if not fnmatch.filter(there, name)]
                assert not unknown, f"{file}: {unknown}"


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if target.startswith("http") or path.startswith(WRITTEN_WHEN_BUILT):
            continue
        there = (file.parent / path) if path else file
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{target}: {sorted(slugs)}"


def test_every_command_method_measure_is_told_by_hand() -> None:
    for name, names in (("use.md", COMMANDS), ("methods.md", METHODS), ("measures.md", MEASURES)):
        text = (DOCS / name).read_text(encoding="utf-8")
        missing = [found for found in names if f"`{found}" not in text]
        assert not missing, f"docs/{name} does not name {missing}"


def test_every_option_has_a_meaning_in_the_reference() -> None:
    rows = re.findall(r"^\| (`-.*?) \| (.*?) \|", REFERENCE.pages()["commands"], re.MULTILINE)
    assert len(rows) > 200
    assert not [options for options, meaning in rows if not meaning.strip()]


def test_every_table_and_column_is_in_the_reference() -> None:
    text = REFERENCE.pages()["tables"]
    tables = {name: found for name, found in vars(schemas).items() if isinstance(found, pa.Schema)}
    assert len(tables) > 10
    for name, schema in tables.items():
        _, begun, rest = text.partition(f"## {name.lower()}\n")
        assert begun, name
        of_table = rest.partition("\n## ")[0]
        missing = [column for column in schema.names if f"| `{column}` |" not in of_table]
        assert not missing, f"{name}: {missing}"
    assert "| `grad_norm` | double | before clipping |" in text  # a comment beside a column


def test_every_key_of_a_definition_is_in_the_reference_with_its_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|$", REFERENCE.pages()["definitions"], re.MULTILINE)
    assert {*TaskFile.model_fields} <= {key for key, _ in rows}
    assert not [key for key, meaning in rows if not meaning.strip()]


def test_shown_definitions_are_valid() -> None:
    shown = 0
    for file in TEXTS:
        for block in fenced(file.read_text(encoding="utf-8"), "yaml"):
            value = yaml.safe_load(block)
            if isinstance(value, dict) and {"kind", "files"} <= value.keys():
                TaskFile.model_validate(value)
                shown += 1
    assert shown >= 2


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = {*re.findall(r"- ([\w/-]+\.md)$", text, re.MULTILINE)}
    there = {str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")}
    assert {name for name in named if not name.startswith(WRITTEN_WHEN_BUILT)} == there
    built = {name.removeprefix(WRITTEN_WHEN_BUILT).removesuffix(".md") for name in named - there}
    assert built == {*REFERENCE.pages()}
