"""The report as one HTML page: no script, no font and no style from elsewhere; pictures lie beside the page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path, PurePath
from urllib.parse import quote

from adaptershare_cli.reporting.tables import ComparisonGroup, shown

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f21; --faint: #66696d; --line: #d9dbdd;
  --paper: #ffffff; --best: #e6f0fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --faint: #a0a4a8; --line: #3a3d41; --paper: #17181a; --best: #1f3347; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 75rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--faint); vertical-align: bottom; font-weight: 600; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
tbody th { font-weight: 500; }
thead small { display: block; font-weight: 400; color: var(--faint); }
td.best { font-weight: 700; background: var(--best); }
.notes { color: var(--faint); font-size: .9rem; padding-left: 1.2rem; }
figure { margin: 1.5rem 0; }
figcaption { color: var(--faint); font-size: .85rem; margin-top: .4rem; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; border: 1px solid var(--line); }
""".strip()


def html_page(groups: list[ComparisonGroup], pictures: list[Path], title: str, notes: Iterable[str] = ()) -> str:
    """The page's text: title, notes, one table a group, the pictures.

    `pictures` are paths relative to the page; of a picture that is there as SVG and PNG, the SVG is shown and the PNG
    linked. Raises ValueError for an absolute path, which would name a place on this machine.
    """
    parts = [f"<h1>{escape(title)}</h1>", _notes(notes)]
    parts += [_group(group) for group in groups]
    figures = _figures(pictures)
    parts += ["<h2>Pictures</h2>", *figures] if figures else []
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _group(group: ComparisonGroup) -> str:
    headers, rows = shown(group)
    head = "".join(
        f'<th scope="col">{escape(name)}{f"<small>{escape(unit)}</small>" if unit else ""}</th>'
        for name, unit in headers
    )
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0].text)}</th>'
        + "".join(f"<td{' class=best' if cell.best else ''}>{escape(cell.text)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    table = f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
    return "\n".join(part for part in (f"<h2>{escape(group.comparison)}</h2>", table, _notes(group.notes)) if part)


def _figures(pictures: list[Path]) -> list[str]:
    formats: dict[PurePath, list[PurePath]] = {}
    for picture in map(PurePath, pictures):
        if picture.is_absolute():
            raise ValueError(f"a picture's path must be relative to the page: {picture}")
        formats.setdefault(picture.with_suffix(""), []).append(picture)
    return [_figure(stem, sorted(files, key=lambda file: file.suffix != ".svg")) for stem, files in formats.items()]


def _figure(stem: PurePath, files: list[PurePath]) -> str:
    shown_file, *others = (quote(file.as_posix()) for file in files)
    kinds = [escape(file.suffix[1:].upper()) for file in files[1:]]
    links = "".join(f' · <a href="{link}">{kind}</a>' for link, kind in zip(others, kinds, strict=True))
    name = escape(stem.name)
    return f'<figure><img src="{shown_file}" alt="{name}"><figcaption>{name}{links}</figcaption></figure>'
