"""Of stage `correlate`: artefacts with pictures, which may come later than the tables that they show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.context import StageContext, ensure, full_request
from adaptershare_cli.store.workspace import Artefact, digest, hash_files, request_key


def ensure_drawn(
    context: StageContext,
    name: str,
    request: dict[str, Any],
    build: Callable[[Path], dict[str, Any]],
    draw: Callable[[Path], list[Path]],
    inputs: list[Artefact],
    plot: bool,
) -> Artefact:
    """`ensure` for an artefact of `correlate` that has pictures if `plot`, named in its info as `plots`.

    `build(folder)` writes the tables and returns the info, `draw(folder)` draws from the tables in it. Pictures change
    nothing for what is made from the tables: `content` is theirs alone, and where nothing but pictures is missing they
    are drawn beside the tables that stand. --force without `plot` keeps an artefact's pictures, drawn anew.
    """
    plot = plot or _has_pictures(context, name, request)

    def published(folder: Path, info: dict[str, Any]) -> dict[str, Any]:
        content = digest(hash_files(folder))
        return {"content": content, "info": {**info, "plots": [path.name for path in draw(folder)] if plot else []}}

    def complete(folder: Path, found: Artefact) -> dict[str, Any]:
        context.reporter.line(f"{found.label} is there; its pictures are drawn")
        for file in found.meta["files"]:
            shutil.copyfile(found.file(file), folder / file)
        return published(folder, found.info)

    return ensure(
        context, "correlate", name, request, lambda folder: published(folder, build(folder)), inputs,
        lacks=lambda found: plot and not found.info["plots"], complete=complete,
    )  # fmt: skip


def _has_pictures(context: StageContext, name: str, request: dict[str, Any]) -> bool:
    """Whether the artefact that stands has pictures. A damaged one has none."""
    try:
        found = context.workspace.find("correlate", name, request_key(full_request("correlate", request)))
    except UserError:
        return False
    return found is not None and bool(found.info["plots"])
