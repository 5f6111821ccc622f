"""The control connection to a snapserver: JSON-RPC 2.0, one object a line, over TCP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from village_drivers.kit import NotConnected

#: A status takes half a kilobyte a client.
_MAX_LINE_BYTES = 1024 * 1024
_ANSWER_SECONDS = 5.0


class Control:
    """An open connection. `listen` runs as a task; `told` is called for whatever the server says unasked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Callable[[], None]) -> None:
        self._reader = reader
        self._writer = writer
        self._told = told
        self._waiting: dict[int, asyncio.Future[object]] = {}
        self._number = 0

    @classmethod
    async def open(cls, host: str, port: int, told: Callable[[], None], seconds: float) -> Control:
        """Connect; raises `NotConnected`."""
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(host, port, limit=_MAX_LINE_BYTES)
        except TimeoutError:
            raise NotConnected("unreachable", f"{host}:{port} does not answer in {seconds:g} s") from None
        except OSError as error:
            raise NotConnected("unreachable", f"{host}:{port}: {error.strerror or error}") from error
        return cls(reader, writer, told)

    async def listen(self) -> None:
        """Take in what the server says until the connection ends; raises `NotConnected` then."""
        try:
            while line := await self._reader.readline():
                self._take(line)
        except (OSError, ValueError, RecursionError) as error:
            raise NotConnected("unreachable", f"the snapserver's answers can't be read: {error}"[:200]) from error
        raise NotConnected("unreachable", "the snapserver closed the control connection")

    async def call(self, method: str, parameters: dict[str, object] | None = None) -> object:
        """Return the result of a call.

        Raises `NotConnected`: the server did not answer in time, or answered with an error.
        """
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters or {}}
        self._writer.write(json.dumps(request).encode() + b"\r\n")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise NotConnected(
                "no_answer", f"the snapserver did not answer {method} in {_ANSWER_SECONDS:g} s"
            ) from None
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Close without waiting; calls that are under way end by their time-out."""
        self._writer.transport.abort()

    def _take(self, line: bytes) -> None:
        said = json.loads(line)
        if not isinstance(said, dict):
            raise ValueError("no JSON-RPC")  # noqa: TRY004  # it is the value that is wrong
        answer = self._waiting.get(said["id"]) if isinstance(said.get("id"), int) else None
        if answer is None or answer.done():
            self._told()
        elif "result" in said:
            answer.set_result(said["result"])
        else:
            answer.set_exception(NotConnected("rejected", f"the snapserver answers: {str(said.get('error'))[:150]}"))
