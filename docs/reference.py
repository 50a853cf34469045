"""Pages of the reference, made from the program itself whenever the site is built, so that they cannot drift."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import typer.main

from adaptershare_cli import schemas
from adaptershare_cli.cli.app import app
from adaptershare_cli.measures import MEASURES
from adaptershare_cli.methods import METHODS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_OPTIONS = ("| option | meaning | default |", "|---|---|---|")
ROOT = Path(__file__).parent.parent
_TABLE = (
    r"((?:^#[^\n]*\n)*)^{name} = pa\.schema\((.*?)^(?=\S)(?!\))"  # the comment above, and all up to what comes next
)
_COLUMN = r"((?:^\s*#.*\n)*)^.*\"{name}\".*?(?:  # (.*))?$"  # the comments above, and the one beside


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Hook of mkdocs: add the pages."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def pages() -> dict[str, str]:
    """The text of each page, by its name."""
    return {
        "commands": _page("Commands", _commands()),
        "methods": _page("Methods and their options", _specs(METHODS)),
        "measures": _page("Measures and their options", _specs(MEASURES)),
        "tables": _page("Tables of artefacts", _tables()),
        "definitions": _page("Keys of a task's definition", _definitions()),
    }


def commands() -> dict[str, Any]:
    """The program's commands, by name."""
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def _page(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"# {title}", "", *lines, ""])


def _plain(text: str | None) -> str:
    """Help as Markdown: Rich's marks become Markdown's, and a bar ends no cell."""
    text = re.sub(r"\[bold\](.*?)\[/bold\]", r"`\1`", text or "")
    return re.sub(r"\[/?\w+\]", "", text).replace("|", "\\|").replace("\n", " ")


def _commands() -> Iterator[str]:
    for name, command in commands().items():
        yield f"## {name}"
        yield ""
        yield from (_plain(part) + "\n" for part in (command.help or "").replace("\f", "").split("\n\n"))
        yield from _OPTIONS
        for option in command.params:
            if option.name == "help" or getattr(option, "hidden", False) and not option.help:
                continue
            said = ", ".join(f"`{opt}`" for opt in [*option.opts, *option.secondary_opts])
            shown = "" if option.default in (None, False, "") or callable(option.default) else f"`{option.default}`"
            yield f"| {said} | {_plain(getattr(option, 'help', ''))} | {shown} |"
        yield ""


def _settings(settings: type | None) -> Iterator[str]:
    """A row for each field of a dataclass of settings that has a help text."""
    found = [] if settings is None else [item for item in fields(settings) if item.metadata.get("help")]
    if not found:
        return
    yield from _OPTIONS
    for item in found:
        yield f"| `--{item.name.replace('_', '-')}` | {_plain(item.metadata['help'])} | `{item.default}` |"
    yield ""


def _specs(specs: Mapping[str, Any]) -> Iterator[str]:
    """Methods or measures: what each is, where a publication stands behind it that too, and its options."""
    for name, spec in specs.items():
        summary = _plain(spec.summary)
        yield f"## {name}"
        yield ""
        yield f"{summary[:1].upper()}{summary[1:]}. {_plain(getattr(spec, 'citation', ''))}".rstrip()
        yield ""
        yield from _settings(spec.settings)


def _tables() -> Iterator[str]:
    """Every schema with its columns; what they mean stands in the comments beside them."""
    source = Path(schemas.__file__).read_text(encoding="utf-8")
    for name, schema in vars(schemas).items():
        if not isinstance(schema, pa.Schema):
            continue
        found = re.search(_TABLE.format(name=name), source, re.DOTALL | re.MULTILINE)
        above, body = found.groups() if found else ("", "")
        yield f"## {name.lower()}"
        yield ""
        yield from (line.removeprefix("# ") for line in above.splitlines())
        yield ""
        yield "| column | type | meaning and unit |"
        yield "|---|---|---|"
        for column in schema:
            beside = re.search(_COLUMN.format(name=column.name), body, re.MULTILINE)
            comments, own = beside.groups() if beside else ("", "")
            said = " ".join([*(line.strip().removeprefix("# ") for line in comments.splitlines()), own or ""])
            yield f"| `{column.name}` | {_plain(str(column.type))} | {_plain(said.strip())} |"
        yield ""


def _definitions() -> Iterator[str]:
    """The JSON schema's keys, object by object."""
    schema = json.loads((ROOT / "tasks" / "schema.json").read_text(encoding="utf-8"))
    for name, part in {"A definition": schema, **schema.get("$defs", {})}.items():
        keys = part.get("properties", {})
        if not keys:
            continue
        yield f"## {name}"
        yield ""
        yield "| key | meaning |"
        yield "|---|---|"
        for key, value in keys.items():
            yield f"| `{key}` | {_plain(value.get('description', ''))} |"
        yield ""
