"""A run of the workspace as methods see it (`methods.start.PastRun`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord


@dataclass(frozen=True)
class StoredRun:
    """A run's artefact, and what it says."""

    artefact: Artefact

    @property
    def label(self) -> str:
        """`stage/name-key`."""
        return self.artefact.label

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.artefact.path.name

    @property
    def stage(self) -> str:
        """`train-single` or `train-share`."""
        return self.artefact.meta["stage"]

    @property
    def content(self) -> str:
        """The fingerprint of what it holds."""
        return self.artefact.content

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.artefact.path

    @property
    def files(self) -> Collection[str]:
        """The files that it holds, by their path in the folder."""
        return self.artefact.meta["files"]

    @property
    def request(self) -> Mapping[str, Any]:
        """All that decided its result."""
        return self.artefact.meta["request"]

    @property
    def record(self) -> RunRecord:
        """What it says of itself."""
        return RunRecord.of(self.artefact)

    @property
    def training_seconds(self) -> float:
        """How long its training took."""
        return self.artefact.timing()["training_seconds"]

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One of its tables, or some columns of it."""
        return self.artefact.table(f"{name}.parquet", columns)
