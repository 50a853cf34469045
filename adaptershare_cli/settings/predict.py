"""The settings of what a loaded run is used for: `predict` and `serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adaptershare_cli.settings.fields import option


@dataclass(frozen=True)
class AnswerSettings:
    """Where rows are answered, and how many at once."""

    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where to compute.", basic=True)
    threads: int | None = option(None, "CPU threads (all cores of this process if not given).", 1)
    per_device_eval_batch_size: int | None = option(None, "Rows of a batch; by default as the run was scored.", 1)


@dataclass(frozen=True)
class PredictSettings(AnswerSettings):
    """How the rows of a file are answered."""

    top_k: int | None = option(
        None, "Give the best so many labels with their probabilities, instead of each label's.", 1, basic=True
    )
    max_rejected: int = option(0, "Leave up to this many rows out that cannot be used; each is told.", 0, basic=True)


@dataclass(frozen=True)
class ServeSettings(AnswerSettings):
    """Where a server listens, how requests are put together, and what is too much."""

    host: str = option("127.0.0.1", "Address to listen on; with 0.0.0.0 other machines can ask, too.", basic=True)
    port: int = option(8000, "Port to listen on; 0 takes a free one, which is printed.", 0, 65535, basic=True)
    max_batch_rows: int = option(64, "Answer requests together, in one pass, up to so many rows.", 1, basic=True)
    max_wait_ms: float = option(2.0, "Let a request wait so long for others to be answered with.", 0, 60000, basic=True)
    max_queue_rows: int = option(1024, "Rows that may wait; a request that finds no room is refused (429).", 1)
    max_request_rows: int = option(256, "Rows that a request may have (else 413).", 1)
    max_body_kib: int = option(1024, "KiB that a request may have (else 413).", 1)
    request_timeout: float = option(30.0, "Seconds after which a request is given up (504).", 0.1, 3600)
