"""The exchange of frames and replies with a speech chip over an open line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from village_drivers.serial_line import SerialLine
from village_drivers.speech.replies import Reply, read_replies

#: An exchange waits for one or two replies; what a chip or a noisy line adds pushes the oldest out.
_MAX_REPLIES = 64
#: One exchange at a time sends; more come together only when the line takes nothing any more.
_MAX_WAITING = 16


def transmission_s(length: int, baudrate: int) -> float:
    """Return how long `length` bytes are on a line: ten bits each, 8N1."""
    return length * 10 / baudrate


@dataclass(slots=True)
class _Outgoing:
    frame: bytes
    #: Set when the frame has left; cancelled by a sender that no longer wants it.
    left: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ChipLink:
    """Sends frames one after the other with the gap that the chip needs, and keeps its replies.

    A frame that has begun is always sent to its end, whoever is cancelled: the chip would take the next one for its rest.
    `read` and `write` run as tasks while the link is used; one exchange at a time uses `ask`.
    """

    def __init__(self, line: SerialLine, baudrate: int, gap_s: float, noise: Callable[[int], None]) -> None:
        self._line = line
        self._baudrate = baudrate
        self._gap_s = gap_s
        self._noise = noise
        self._outgoing: asyncio.Queue[_Outgoing] = asyncio.Queue(_MAX_WAITING)
        self._replies: deque[Reply] = deque(maxlen=_MAX_REPLIES)
        self._heard = asyncio.Event()

    async def read(self) -> None:
        """Take in replies until the line is gone; raises `NotConnected` then."""
        while True:
            replies, strangers = read_replies(await self._line.read())
            if strangers:
                self._noise(strangers)
            if replies:
                self._replies.extend(replies)
                self._heard.set()

    async def write(self) -> None:
        """Send what is asked for until the line is gone; raises `NotConnected` then."""
        while True:
            outgoing = await self._outgoing.get()
            if outgoing.left.done():
                continue
            # Replies to earlier frames must not pass for one to this frame.
            self._replies.clear()
            await self._line.write(outgoing.frame)
            await asyncio.sleep(transmission_s(len(outgoing.frame), self._baudrate) + self._gap_s)
            if not outgoing.left.done():
                outgoing.left.set_result(None)

    async def ask(self, frame: bytes, wanted: Container[Reply], seconds: float) -> Reply | None:
        """Send a frame and return the first wanted reply to it, or None if none came within `seconds` after it left."""
        outgoing = _Outgoing(frame)
        try:
            async with asyncio.timeout(transmission_s(len(frame), self._baudrate) + self._gap_s + seconds):
                await self._outgoing.put(outgoing)
                await outgoing.left
                return await self._first(wanted)
        except TimeoutError:
            return None
        finally:
            outgoing.left.cancel()

    async def hear(self, wanted: Container[Reply], seconds: float) -> Reply | None:
        """Return the next wanted reply, or None if none comes within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._first(wanted)
        except TimeoutError:
            return None

    def post(self, frame: bytes) -> None:
        """Send a frame as soon as the line is free, without waiting for its reply."""
        try:
            self._outgoing.put_nowait(_Outgoing(frame))
        except asyncio.QueueFull:
            # The line takes nothing; the driver is about to find that out.
            return

    async def _first(self, wanted: Container[Reply]) -> Reply:
        while True:
            while self._replies:
                reply = self._replies.popleft()
                if reply in wanted:
                    return reply
            self._heard.clear()
            await self._heard.wait()
