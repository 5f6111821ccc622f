"""A link in this process: a TCP proxy that can be cut and slowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self

#: A poor link: 64 kbit/s and a quarter of a second each way.
_BYTES_PER_SECOND = 8000
_DELAY = 0.25
_CHUNK = 2048


class ProxyLink:
    """See `network.Link`. While it is cut, bytes wait and new connections hang, as if packets got lost."""

    launcher: Sequence[str] = ()
    host = listen = "127.0.0.1"

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._slow = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._on_connection, self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cut(self, on: bool) -> None:
        """See `Link`."""
        if on:
            self._open.clear()
        else:
            self._open.set()

    async def slow(self, on: bool) -> None:
        """See `Link`."""
        self._slow = on

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            pumps = {
                asyncio.create_task(self._pump(reader, far_writer)),
                asyncio.create_task(self._pump(far_reader, writer)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                far_writer.close()
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if self._slow:
                    await asyncio.sleep(_DELAY + len(data) / _BYTES_PER_SECOND)
                await self._open.wait()
                target.write(data)
                await target.drain()
