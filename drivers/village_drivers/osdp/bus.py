"""The line that the readers share: one frame and its answer at a time (RS-485 is half duplex)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from village_drivers.osdp.frames import Frame, FrameSplitter
from village_drivers.osdp.reader import Reader
from village_drivers.serial_line import SerialLine

#: A reader answers within 200 ms (IEC 60839-11-5); libosdp must see that more than this have passed.
REPLY_SECONDS = 0.203
_BITS_PER_BYTE = 10
#: The line rests for two characters before each command, so that the reader's transmitter lets go of it.
_REST_BYTES = 2
#: Silence and noise are judged at least this often, even if no reader has a turn.
_LOOK_SECONDS = 0.5

#: Noise is judged over a window: an adapter that turns the line round may add a byte or two to each frame.
_WINDOW_SECONDS = 10.0
_HARMLESS_BYTES = 2
_NOISY_TURNS = 5


class Bus:
    """Gives the readers their turns, the one that is due first."""

    def __init__(self, line: SerialLine, baudrate: int, readers: Sequence[Reader]) -> None:
        self._line = line
        self._baudrate = baudrate
        self._readers = readers
        self._splitter = FrameSplitter()
        self._wanted = asyncio.Event()
        self._rests_until = -math.inf
        self._noise = ""
        self._window_ends = -math.inf
        self._turns = 0
        self._noisy = 0

    def wake(self) -> None:
        """A reader wants a turn at once."""
        self._wanted.set()

    async def serve(self) -> None:
        """Serve until cancelled; raises `NotConnected` when the line is gone."""
        while True:
            now = time.monotonic()
            reader = min(self._readers, key=lambda candidate: candidate.due)
            if reader.due > now:
                await self._pause(min(reader.due - now, _LOOK_SECONDS))
            else:
                await self._turn(reader, now)
            now = time.monotonic()
            self._judge_noise(now)
            for each in self._readers:
                each.publish(now, self._noise)

    async def _pause(self, seconds: float) -> None:
        self._wanted.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _turn(self, reader: Reader, now: float) -> None:
        frame = reader.transmit(now)
        if not frame:
            # Never a whole round without giving way to other tasks.
            await asyncio.sleep(0)
            return
        garbage = self._splitter.garbage
        if self._rests_until > now:
            await asyncio.sleep(self._rests_until - now)
        # What came in between: a late answer, or noise.
        self._splitter.feed(self._line.read_now())
        self._splitter.reset()
        await self._line.write(frame)
        answer: Frame | None = None
        try:
            async with asyncio.timeout(REPLY_SECONDS + len(frame) * _BITS_PER_BYTE / self._baudrate):
                answer = await self._answer(reader.config.address)
        except TimeoutError:
            reader.unanswered(time.monotonic())
        else:
            reader.answered(answer, time.monotonic())
        self._rests_until = time.monotonic() + _REST_BYTES * _BITS_PER_BYTE / self._baudrate
        self._turns += 1
        self._noisy += self._splitter.garbage - garbage > _HARMLESS_BYTES

    async def _answer(self, address: int) -> Frame:
        while True:
            for frame in self._splitter.feed(await self._line.read()):
                # A frame that is no reply is our own, echoed by the adapter; another address answers too late.
                if frame.reply and frame.address == address:
                    return frame

    def _judge_noise(self, now: float) -> None:
        if self._noisy >= _NOISY_TURNS:
            self._noise = f"{self._noisy} of the last {self._turns} exchanges were disturbed"
        if now >= self._window_ends:
            if self._noisy < _NOISY_TURNS:
                self._noise = ""
            self._turns = self._noisy = 0
            self._window_ends = now + _WINDOW_SECONDS
