"""Sound into the source of a snapserver's stream: its TCP server or its pipe."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from village_drivers.kit import NotConnected, Refused
from village_drivers.snapcast.status import Stream
from village_drivers.sound.pcm import Form

#: So much lies ready for the server, which loses its place when it finds nothing.
LEAD_SECONDS = 0.1
#: A server that takes nothing for so long hangs.
_MAX_BACKLOG_SECONDS = 2.0
_LATE_SECONDS = 0.1
#: The server dates a chunk by its beginning when it has it whole.
_CHUNK_SECONDS = 0.02


@contextmanager
def hold(stream: Stream) -> Iterator[None]:
    """Keep a stream's pipe open: a snapserver that finds no writer closes it and looks again only after a second.

    Raises `NotConnected`.
    """
    if stream.scheme != "pipe":
        yield
        return
    try:
        handle = os.open(stream.path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise NotConnected("unreachable", f"the stream's source {stream.path}: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(handle)


async def open_source(stream: Stream, server: str) -> asyncio.WriteTransport:
    """Open the way in. Raises `NotConnected`, or `Refused` for a source that no one can write to."""
    loop = asyncio.get_running_loop()
    try:
        if stream.scheme == "tcp" and stream.mode != "client":
            host = server if stream.host in ("0.0.0.0", "::", "") else stream.host  # noqa: S104  # where it listens
            transport, _ = await loop.create_connection(asyncio.Protocol, host, stream.port)
            return transport
        if stream.scheme == "pipe":
            handle = os.open(stream.path, os.O_WRONLY | os.O_NONBLOCK)
            pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(handle, "wb", buffering=0))
            return pipe
    except OSError as error:
        reason = error.strerror or str(error)
        where = stream.path if stream.scheme == "pipe" else f"{stream.host}:{stream.port}"
        raise NotConnected("unreachable", f"the stream's source {where}: {reason}") from error
    raise Refused("misconfigured", f"the stream's source is {stream.scheme}, not a pipe or a TCP server")


class SnapcastSink:
    """Gives sound to the server at its pace. It is heard `delay` seconds after it was given."""

    def __init__(self, transport: asyncio.WriteTransport, form: Form, buffer_seconds: float) -> None:
        self._transport = transport
        self._form = form
        self._delay_bytes = int((buffer_seconds + LEAD_SECONDS) * form.bytes_per_second)
        self._delay = buffer_seconds + LEAD_SECONDS
        self._buffer_seconds = buffer_seconds
        self._written = 0
        self._due: float | None = None
        self.finished = False

    @property
    def heard_bytes(self) -> int:
        """See `sound.sinks.Sink`."""
        return self._written if self.finished else max(0, self._written - self._delay_bytes)

    async def align(self, at: float) -> float:
        """See `sound.sinks.TimedSink`."""
        delay = self._buffer_seconds - _CHUNK_SECONDS
        await asyncio.sleep(at - delay - time.monotonic())
        now = time.monotonic()
        self._due = now - LEAD_SECONDS
        return now + delay

    async def write(self, block: bytes) -> None:
        """See `sound.sinks.Sink`."""
        now = time.monotonic()
        if self._due is None or now - self._due > LEAD_SECONDS + _LATE_SECONDS:
            self._due = now - LEAD_SECONDS
        await asyncio.sleep(self._due - now)
        backlog = self._form.seconds(self._transport.get_write_buffer_size())
        if self._transport.is_closing() or backlog > _MAX_BACKLOG_SECONDS:
            raise NotConnected("program_failed", "the snapserver takes no sound any more")
        self._transport.write(block)
        self._written += len(block)
        self._due += self._form.seconds(len(block))

    async def finish(self) -> None:
        """See `sound.sinks.Sink`."""
        if self._due is not None:
            await asyncio.sleep(self._due + self._delay - time.monotonic())
        self.finished = True
