"""The HTTP API in the program's own event loop, over HTTPS unless only this machine reaches it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from village_collector.api.guard import MAX_HEAD_BYTES
from village_collector.connections import Connections, GuardedProtocol

#: Whoever waits for a command's result is cut off after this when the collector stops.
STOP_SECONDS = 2
#: Between two requests of a connection.
KEEP_ALIVE_SECONDS = 5


class ListenFailed(Exception):
    """The API's address can't be used; the text says what to do."""


class ApiServer(uvicorn.Server):
    """Serves until `stop`. The program's signal handlers stay as they are."""

    def __init__(self, app: FastAPI, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """`listener` is closed at the end. Without `context` the API speaks HTTP, to this machine only."""
        plain = context is None
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                http=GuardedProtocol,
                # A proxy on this machine may say for whom it asks; nobody else is believed.
                proxy_headers=plain,
                forwarded_allow_ips=["127.0.0.1", "::1"],
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        self._listener = listener
        self._connections = Connections(self.config, self.server_state)
        self._connections.context = context
        self._accepting: asyncio.Task[None] | None = None
        self.serving = asyncio.Event()

    async def run_here(self) -> None:
        """Serve requests until `stop`. Raises what keeps it from accepting connections: better no program than a deaf one."""
        try:
            await self.serve(sockets=[self._listener])
        finally:
            await self._accept_no_more()
        if self._accepting is not None and not self._accepting.cancelled():
            self._accepting.result()

    def stop(self) -> None:
        """Let `run_here` end: requests under way may finish for `STOP_SECONDS`."""
        self.should_exit = True

    def use(self, context: ssl.SSLContext) -> None:
        """Serve connections that come from now on with another certificate."""
        self._connections.context = context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn, whose own way of accepting knows no limits; `serving` is set at the end."""
        del sockets
        await self.lifespan.startup()
        self.servers = []
        self._accepting = asyncio.create_task(self._connections.accept(self._listener), name="API connections")
        self._accepting.add_done_callback(self._accepts_no_more)
        self.started = True
        self.serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        await self._accept_no_more()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def _accept_no_more(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])

    def _accepts_no_more(self, accepting: asyncio.Task[None]) -> None:
        if not accepting.cancelled():
            self.should_exit = True


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


def url_of(listener: socket.socket, *, tls: bool, name: str = "") -> str:
    """Return the URL of a listening socket, under `name` instead of its address if there is one."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    host = name or host
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
