"""What emulators at the far end of a serial line share: their life on the line, and their life as a program."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from types import TracebackType
from typing import Self

from village_drivers.kit import DriverError, NotConnected
from village_drivers.serial_line import SerialLine


class SerialDevice(ABC):
    """A device on a line. `hear` and `next_at` know neither line nor clock; the asynchronous context runs them on one."""

    def __init__(self, path: str, baudrate: int) -> None:
        self._path = path
        self._baudrate = baudrate
        self._line: SerialLine
        #: Ends when the line closes.
        self.task: asyncio.Task[None]

    @abstractmethod
    def greeting(self) -> bytes:
        """Return what it says when it is switched on."""

    @abstractmethod
    def hear(self, data: bytes, now: float) -> bytes:
        """Take in what came on the line by `now` (seconds of any clock); return what it answers."""

    @abstractmethod
    def next_at(self) -> float | None:
        """Return when `hear` must be called even if nothing comes."""

    async def say(self, answer: bytes) -> None:
        """Write to the line."""
        if answer:
            await self._line.write(answer)

    async def __aenter__(self) -> Self:
        """Open the line and start; raises as `SerialLine.open`."""
        self._line = SerialLine.open(self._path, self._baudrate)
        self.task = asyncio.create_task(self._serve(), name=f"{type(self).__name__} {self._path}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        self._line.close()
        if not self.task.cancelled():
            failure = self.task.exception()
            if failure is not None and not isinstance(failure, NotConnected):
                raise failure

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        await self.say(self.greeting())
        while True:
            data = b""
            try:
                async with asyncio.timeout_at(self.next_at()):
                    data = await self._line.read()
            except TimeoutError:
                pass
            await self.say(self.hear(data, loop.time()))


def run_as_program(device: SerialDevice, path: str, steering: Awaitable[None] | None = None) -> None:
    """Emulate until a signal comes or the line closes; `steering` takes commands meanwhile. Exits with 1 when the line fails."""
    try:
        asyncio.run(_until_stopped(device, path, steering))
    except DriverError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


async def _until_stopped(device: SerialDevice, path: str, steering: Awaitable[None] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with device:
        print(json.dumps({"event": "ready", "port": path}), flush=True)
        stopping = asyncio.create_task(stop.wait(), name="wait for a signal")
        helpers = [stopping] if steering is None else [stopping, asyncio.ensure_future(steering)]
        await asyncio.wait({stopping, device.task}, return_when=asyncio.FIRST_COMPLETED)
        stopped = stopping.done()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        if not stopped:
            device.task.result()
