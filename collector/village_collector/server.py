"""The HTTP API in the program's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

#: Whoever waits for a command's result is cut off after this when the collector stops.
STOP_SECONDS = 2
#: Far more than an operator's tools open; the rest is told to come later.
MAX_CONCURRENT = 500


class ListenFailed(Exception):
    """The API's address can't be used; the text says what to do."""


class ApiServer(uvicorn.Server):
    """Serves until `stop`. The program's signal handlers stay as they are."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        """`listener` is closed at the end."""
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                limit_concurrency=MAX_CONCURRENT,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._listener = listener
        self.serving = asyncio.Event()

    async def run_here(self) -> None:
        """Serve requests until `stop`."""
        await self.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Let `run_here` end: requests under way may finish for `STOP_SECONDS`."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn; `serving` is set at the end."""
        await super().startup(sockets)
        self.serving.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises `ListenFailed`."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(200)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ListenFailed(
            f"the API can't listen on {host} port {port}: {error.strerror}. Stop the program that has the port,"
            " or set another [api] port in the configuration"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
