"""An HTTP proxy on the loopback that lets a real server seem slow, overloaded, or gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_MAX_HEAD = 64 * 1024


@dataclass
class FaultProxy:
    """What it does to the requests that begin with `method`; all others pass. Change it at will."""

    url: str = ""
    method: str = "POST"
    #: Seconds before the request is passed on.
    delay: float = 0.0
    #: An answer instead of the server's: status and headers.
    answer: tuple[int, Mapping[str, str]] | None = None
    #: Pass the request on, and close instead of giving the answer back.
    swallow: bool = False
    #: Bodies of requests that were answered by `answer`.
    refused: int = 0
    passed: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(
        self, upstream: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            length = next(
                (int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0
            )
            body = await reader.readexactly(length)
            chosen = head.startswith(self.method.encode())
            if chosen and self.answer is not None:
                self.refused += 1
                status, headers = self.answer
                told = b'{"code":"unavailable","message":"the test says so"}'
                extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}"
                    f"Content-Length: {len(told)}\r\nConnection: close\r\n\r\n".encode()
                    + told
                )
            else:
                if chosen and self.delay:
                    await asyncio.sleep(self.delay)
                kept = [line for line in lines[:-2] if not line.lower().startswith(b"connection:")]
                server_reader, server = await asyncio.open_connection(*upstream)
                with contextlib.closing(server):
                    server.write(b"\r\n".join([*kept, b"Connection: close", b"", b""]) + body)
                    answer = await server_reader.read(-1)
                self.passed += 1
                if not (chosen and self.swallow):
                    writer.write(answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def track(self, upstream: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(upstream, reader, writer), name="fault proxy")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    """Stand before the HTTP server at `upstream`."""
    parts = urlsplit(upstream)
    target = (parts.hostname or "", parts.port or 80)
    proxy = FaultProxy()
    server = await asyncio.start_server(
        lambda reader, writer: proxy.track(target, reader, writer), "127.0.0.1", 0, limit=_MAX_HEAD
    )
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
        await server.wait_closed()
