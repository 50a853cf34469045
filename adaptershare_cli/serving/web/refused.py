"""Why a request gets no answer: told as errors of commands are, with a status of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Refused(Exception):
    """A request that is answered with an error: what is wrong, where in the request, and what to do."""

    status: int
    what: str
    where: str = ""
    fix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The body of the response."""
        return {"error": {"what": self.what, "where": self.where, "fix": self.fix}}
