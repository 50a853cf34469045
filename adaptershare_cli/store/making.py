"""What every artefact records of its making: request, inputs, versions of the libraries."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import version
from typing import Any

from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.workspace import CODE_VERSIONS

RECORDED_LIBRARIES = ("adapters", "datasets", "evaluate", "numpy", "pyarrow", "tokenizers", "torch", "transformers")


def full_request(stage: str, request: dict[str, Any]) -> dict[str, Any]:
    """A request as it is recorded and hashed: with the stage and its code version."""
    return {"stage": stage, "code_version": CODE_VERSIONS[stage], **request}


def recorded_inputs(inputs: list[Artefact]) -> list[dict[str, str]]:
    """What an artefact records of those that it was made from."""
    return [{"artefact": artefact.label, "content": artefact.content} for artefact in inputs]


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    return {"python": ".".join(map(str, sys.version_info[:3])), **_recorded_versions()}


@cache  # they cannot change while the program runs, and each artefact and checkpoint asks for them
def _recorded_versions() -> dict[str, str]:
    return {name: version(name) for name in RECORDED_LIBRARIES}
