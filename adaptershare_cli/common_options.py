"""The options that several commands have, as annotations of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

LARGEST_SEED = 2**32 - 1
# Optional[...] rather than X | None: Typer evaluates these annotations.
Workspace = Annotated[
    Path, typer.Option("--workspace", "-w", envvar="ADAPTERSHARE_WORKSPACE", help="Folder of all artefacts.")
]
Tasks = Annotated[
    str, typer.Option("--tasks", "-t", help="Task names, suites and globs, comma-separated.", show_default=False)
]
TaskDir = Annotated[
    Optional[str], typer.Option(help="Folders with your own task definitions, comma-separated.")  # noqa: UP045
]
FromFolder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--from", help="Read the tasks' files from this folder (remembered by the workspace)."),
]
Model = Annotated[str, typer.Option(help="Encoder: `embedded`, a folder, or a hub id.")]
Seed = Annotated[int, typer.Option(help="Random seed of a run.", min=0, max=LARGEST_SEED)]
Seeds = Annotated[Optional[str], typer.Option(help="Several seeds, comma-separated: one run each.")]  # noqa: UP045
Force = Annotated[bool, typer.Option("--force", help="Make this stage's artefacts again.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Fail at once where another process is making what is needed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on stdout.")]
Config = Annotated[
    Optional[Path], typer.Option(help="TOML file of option names and values; the command line wins.")  # noqa: UP045
]
RunSpec = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--run", help="Runs by name, method, key prefix, glob or path, comma-separated."),
]
