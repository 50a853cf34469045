"""Artefacts of `correlate` that have pictures, which may be asked for later than the tables that they show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.context import StageContext, ensure, full_request
from adaptershare_cli.store.artefact import Artefact, digest, hash_files, request_key
from adaptershare_cli.store.records import StudyRecord


def ensure_drawn(
    context: StageContext,
    name: str,
    request: dict[str, Any],
    build: Callable[[Path], dict[str, Any]],
    draw: Callable[[Path], list[Path]],
    inputs: list[Artefact],
    plot: bool,
    picture: str = "",
) -> Artefact:
    """`ensure` for an artefact that has pictures if `plot` is true; its record names them (`plots`).

    `build(folder)` writes the tables and returns the record, `draw(folder)` draws the tables in the folder. Pictures
    have no effect on what is made from the tables: the artefact's `content` is that of the tables alone, and where
    nothing but pictures is missing they are drawn beside the tables that are there. An artefact that has pictures
    keeps them when --force makes it again without `plot`: they are drawn anew. Where pictures are there but not the one
    called `picture` (if named), they are drawn anew too.
    """
    asked = plot
    plot = plot or _has_pictures(context, name, request)

    def published(folder: Path, info: dict[str, Any]) -> dict[str, Any]:
        content = digest(hash_files(folder))
        return {"content": content, "info": {**info, "plots": [path.name for path in draw(folder)] if plot else []}}

    def lacks(artefact: Artefact) -> bool:
        plots = StudyRecord.of(artefact).plots
        return plot and not plots or asked and bool(picture) and f"{picture}.png" not in plots

    def complete(folder: Path, undrawn: Artefact) -> dict[str, Any]:
        context.reporter.line(f"{undrawn.label} is there; its pictures are drawn")
        for file in set(undrawn.meta["files"]) - set(StudyRecord.of(undrawn).plots):
            shutil.copyfile(undrawn.file(file), folder / file)
        return published(folder, undrawn.info)

    return ensure(
        context, "correlate", name, request, lambda folder: published(folder, build(folder)), inputs,
        lacks=lacks, complete=complete,
    )  # fmt: skip


def _has_pictures(context: StageContext, name: str, request: dict[str, Any]) -> bool:
    """Whether the artefact that is there has pictures. A damaged one has none."""
    try:
        artefact = context.workspace.find("correlate", name, request_key(full_request("correlate", request)))
    except UserError:
        return False
    return artefact is not None and bool(StudyRecord.of(artefact).plots)
