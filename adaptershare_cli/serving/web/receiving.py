"""The body of a request, as far as it may go; and whether who asked is still there."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from adaptershare_cli.serving.web.refused import Refused

GONE = 499  # what a request counts as whose sender has gone; nobody gets it
_DRAINED = 16  # times the limit that is read of a body that is refused
_CLOSE = {"Connection": "close"}


class Gone(Exception):
    """Who asked has gone."""


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """The body, of at most so many bytes, which must come within so many seconds.

    Raises Refused for one that is longer or late or not said to be JSON, and Gone.
    """
    refused = _head_fault(request, most)
    if refused is not None and not _will_come(request, most):
        raise refused
    body, length = bytearray(), 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                length += len(part)
                if refused is None and length <= most:
                    body += part
                elif length > _DRAINED * most:
                    break
    except TimeoutError:
        raise Refused(408, f"The request did not come within {seconds:g} seconds", headers=_CLOSE) from None
    except ClientDisconnect:
        raise Gone from None
    # What is refused has been read to its end, within reason: many clients look for a response only then.
    if refused is not None or length > most:
        raise refused or _too_long(most)
    return bytes(body)


async def left(request: Request) -> None:
    """Wait until who asked has gone; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _head_fault(request: Request, most: int) -> Refused | None:
    """Why the body need not be read at all."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        fix = "Send the header Content-Type: application/json (curl --json does)."
        return Refused(415, f"A request must say that it is JSON; this one says {kind[:100] or 'nothing'}",
                       "Content-Type", fix, _CLOSE)  # fmt: skip
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return Refused(415, "A request must not be packed", "Content-Encoding", "Send it as it is.", _CLOSE)
    return _too_long(most) if _announced(request) > most else None


def _will_come(request: Request, most: int) -> bool:
    """Whether the body is under way, and not endless: it does not wait for a word of ours."""
    return "100-continue" not in request.headers.get("expect", "").lower() and _announced(request) <= _DRAINED * most


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _too_long(most: int) -> Refused:
    fix = "Ask for fewer rows at once, or let the server take more with --max-body-kib."
    return Refused(413, f"A request may have {most // 1024} KiB", "body", fix, _CLOSE)
