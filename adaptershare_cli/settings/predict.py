"""The settings of `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class PredictSettings:
    """How rows are answered, and where."""

    top_k: int | None = option(
        None, "Give the best so many labels with their probabilities, instead of each label's.", 1, basic=True
    )
    max_rejected: int = option(0, "Leave up to this many rows out that cannot be used; each is told.", 0, basic=True)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where to compute.", basic=True)
    threads: int | None = option(None, "CPU threads (all cores of this process if not given).", 1)
    per_device_eval_batch_size: int | None = option(None, "Rows of a batch; by default as the run was scored.", 1)
