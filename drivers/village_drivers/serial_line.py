"""A serial line for asyncio, on pyserial and without a thread. The only module that imports `serial`."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Callable
from types import TracebackType
from typing import Self

import serial

from village_drivers.kit import Misconfigured, NotConnected

#: A UART at 115200 baud fills this in half a second; what a driver leaves unread beyond it is a sender gone mad.
MAX_READ = 4096
#: The kernel holds 64 KiB of a line's input at most; who is not empty after this much keeps on sending.
_MAX_DISCARDED_READS = 32


class SerialLine:
    """An open line, 8N1. Close it with `close()` or by leaving its `with` block.

    One task reads and one task writes at a time.
    """

    def __init__(self, port: serial.Serial, path: str) -> None:
        self._port = port
        self._fd: int = port.fileno()
        self._waiting: dict[asyncio.Event, Callable[[int], bool]] = {}
        self.path = path
        # pyserial sets VMIN to 0, with which an idle line and a line that is gone both read as nothing.
        attributes = termios.tcgetattr(self._fd)
        attributes[6][termios.VMIN] = 1
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    @classmethod
    def open(cls, path: str, baudrate: int) -> Self:
        """Open and lock the line.

        Raises:
            NotConnected: there is no such device now (`line_missing`) or another program holds it (`line_busy`).
            Misconfigured: no permission, not a serial device, or an impossible baud rate.
        """
        port: serial.Serial | None = None
        try:
            port = serial.Serial(path, baudrate=baudrate, timeout=0, write_timeout=0, exclusive=True)
            return cls(port, path)
        except (OSError, termios.error) as error:
            if port is not None:
                port.close()
            raise _explain(path, _number(error), str(error)) from None
        except (ValueError, OverflowError) as error:
            raise Misconfigured("misconfigured", f"{path}: {error}") from None

    async def read(self, limit: int = MAX_READ) -> bytes:
        """Wait for at least one byte and return what is there; raises `NotConnected` when the line is gone."""
        while True:
            try:
                data = os.read(self._fd, limit)
            except BlockingIOError:
                await self._ready(reading=True)
                continue
            except OSError as error:
                raise NotConnected("line_closed", f"{self.path}: {error.strerror}") from None
            if data:
                return data
            # A pty reports a closed far end as EIO, a USB adapter that was pulled out as readable with nothing to read.
            raise NotConnected("line_closed", f"{self.path}: the line was closed")

    def read_now(self, limit: int = MAX_READ) -> bytes:
        """Return what is there without waiting, or nothing; raises `NotConnected` when the line is gone."""
        try:
            data = os.read(self._fd, limit)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise NotConnected("line_closed", f"{self.path}: {error.strerror}") from None
        if not data:
            raise NotConnected("line_closed", f"{self.path}: the line was closed")
        return data

    async def write(self, data: bytes) -> None:
        """Write all of `data`; raises `NotConnected` when the line is gone."""
        rest = memoryview(data)
        while rest:
            written = self.write_now(rest)
            rest = rest[written:]
            if rest:
                await self._ready(reading=False)

    def write_now(self, data: bytes | memoryview) -> int:
        """Write what the line takes without waiting; return how many bytes; raises `NotConnected` when the line is gone."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise NotConnected("line_closed", f"{self.path}: {error.strerror}") from None

    def discard_input(self) -> None:
        """Forget bytes that came in before now; raises `NotConnected` when the line is gone."""
        for _ in range(_MAX_DISCARDED_READS):
            if not self.read_now():
                return

    def close(self) -> None:
        """Close the line; a task that waits in `read` or `write` gets `NotConnected`. Closing twice is harmless."""
        # The number may be given to another file at once, so nothing may go on using it.
        for ready, forget in self._waiting.items():
            forget(self._fd)
            ready.set()
        self._waiting.clear()
        self._fd = -1
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _ready(self, *, reading: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
        add(self._fd, ready.set)
        self._waiting[ready] = remove
        try:
            await ready.wait()
        finally:
            if self._waiting.pop(ready, None) is not None:
                remove(self._fd)


def _number(error: OSError | termios.error) -> int | None:
    """Return the system's error number, also where pyserial leaves it in the error that it caught."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    cause = error if isinstance(error, termios.error) else error.__context__
    number = cause.args[0] if isinstance(cause, termios.error) and cause.args else None
    return number if isinstance(number, int) else None


def _explain(path: str, number: int | None, text: str) -> NotConnected | Misconfigured:
    if number in {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO}:
        return NotConnected("line_missing", f"{path} does not exist")
    if number in {errno.EACCES, errno.EPERM}:
        return Misconfigured("no_permission", f"{path}: permission denied")
    if number in {errno.EAGAIN, errno.EBUSY}:
        return NotConnected("line_busy", f"{path} is in use by another program")
    if number in {errno.EISDIR, errno.ENOTTY, errno.EINVAL}:
        return Misconfigured("misconfigured", f"{path} is not a serial device")
    return NotConnected("line_closed", f"{path}: {text[:200]}")
