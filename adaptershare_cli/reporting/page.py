"""The report as one HTML page: no script, no font and no style from elsewhere; pictures lie beside the page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from adaptershare_cli.reporting.tables import ComparisonGroup, shown
from adaptershare_cli.templates import render


def html_page(groups: list[ComparisonGroup], pictures: list[Path], title: str, notes: Iterable[str] = ()) -> str:
    """The page's text: title, notes, one table a group, the pictures.

    `pictures` are paths relative to the page; of a picture that is there as SVG and PNG, the SVG is shown and the PNG
    linked. Raises ValueError for an absolute path, which would name a place on this machine.
    """
    tables = [_table(group) for group in groups]
    template = "reporting/templates/report.html.j2"
    return render(template, title=title, notes=list(notes), tables=tables, figures=_figures(pictures))


def _table(group: ComparisonGroup) -> dict[str, Any]:
    headers, rows = shown(group)
    return {"name": group.comparison, "headers": headers, "rows": rows, "notes": group.notes}


def _figures(pictures: list[Path]) -> list[dict[str, Any]]:
    """For each picture its name, the link to the file that is shown, and those to its other files by their format."""
    formats: dict[PurePath, list[PurePath]] = {}
    for picture in map(PurePath, pictures):
        if picture.is_absolute():
            raise ValueError(f"a picture's path must be relative to the page: {picture}")
        formats.setdefault(picture.with_suffix(""), []).append(picture)
    figures = []
    for stem, files in formats.items():
        first, *others = sorted(files, key=lambda file: file.suffix != ".svg")
        links = {file.suffix[1:].upper(): quote(file.as_posix()) for file in others}
        figures.append({"name": stem.name, "shown": quote(first.as_posix()), "others": links})
    return figures
