"""A socket that listens, and the loop that serves an application on it until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from adaptershare_cli.errors import Interrupted, UserError
from adaptershare_cli.signals import on_signals

KEEP_ALIVE = 75  # seconds that a connection may do nothing; proxies keep theirs for a minute


def bound(host: str, port: int) -> socket.socket:
    """A socket with that address (port 0: a free one), where nobody is answered yet. UserError where none can be."""
    where = f"--host {host} --port {port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        what = f"The address {host!r} is not known: {getattr(error, 'strerror', None) or error}"
        raise UserError(what, where, "Give this machine's name or one of its addresses, such as 127.0.0.1.") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(0)  # two programs may bind a port that nobody listens on yet
    except (OSError, OverflowError) as error:
        listening.close()
        fix = "Give another port with --port, or 0 for a free one; or stop what listens there."
        raise UserError(f"Nothing can listen there: {getattr(error, 'strerror', None) or error}", where, fix) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """The address of a socket as clients write it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_private(listening: socket.socket) -> bool:
    """Whether this machine alone can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


class _Server(uvicorn.Server):
    """uvicorn's server, which is stopped by us alone; it calls `ready` once it answers, and `stopping` at its end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready, self.stopping = ready, stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stopping()
        await super().shutdown(sockets)


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether something went wrong: requests that are cut off at the end are no fault."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def serve(
    app: ASGIApp,
    listening: socket.socket,
    seconds: float,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT: what was asked by then is answered, for at most so many seconds.

    Raises Interrupted where a second signal ends it at once.
    """
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=round(seconds + 1),
    )  # fmt: skip
    # Of what clients send wrong they are told; here it would only fill the screen. Faults of the program are shown.
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_is_fault)
    server = _Server(config, ready, stopping)

    def stop(number: int, frame: Any) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    with on_signals(stop, signal.SIGTERM, signal.SIGINT):
        server.run([listening])
    if server.force_exit:
        raise Interrupted("Stopped at once; requests that were being answered got no response")
