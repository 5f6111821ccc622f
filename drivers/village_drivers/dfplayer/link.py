"""The exchange of messages with an MP3 board over an open line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from village_drivers.dfplayer.frames import FRAME_BYTES, Code, FrameReader, Message, encode
from village_drivers.serial_line import SerialLine

BAUDRATE = 9600
_TRANSMISSION_S = FRAME_BYTES * 10 / BAUDRATE


@dataclass(slots=True)
class _Question:
    wanted: Container[int]
    answer: asyncio.Future[Message] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class BoardLink:
    """One exchange at a time, with the pause that the board needs between two frames. `read` runs as a task meanwhile.

    What nobody waits for goes to `told`, and so does every error, because the board may say it about an earlier order.
    """

    def __init__(
        self, line: SerialLine, gap_s: float, told: Callable[[Message], None], noise: Callable[[int], None]
    ) -> None:
        self._line = line
        self._gap_s = gap_s
        self._told = told
        self._noise = noise
        self._turn = asyncio.Lock()
        self._question: _Question | None = None
        self._free_at = 0.0

    async def read(self) -> None:
        """Take in messages until the line is gone; raises `NotConnected` then."""
        reader = FrameReader()
        while True:
            messages, strangers = reader.feed(await self._line.read())
            if strangers:
                self._noise(strangers)
            for message in messages:
                question = self._question
                waits = question is not None and message.code in question.wanted and not question.answer.done()
                if question is not None and waits:
                    question.answer.set_result(message)
                if message.code == Code.ERROR or not waits:
                    self._told(message)

    async def ask(self, message: Message, wanted: Container[int], seconds: float) -> Message | None:
        """Send a message and return the first wanted one that comes within `seconds` after it left, or None."""
        async with self._turn:
            await self._gap()
            self._question = question = _Question(wanted)
            try:
                # A frame fits into the line's buffer, so a cancelled caller leaves no half of it.
                await self._line.write(encode(message))
                async with asyncio.timeout(_TRANSMISSION_S + seconds):
                    return await question.answer
            except TimeoutError:
                return None
            finally:
                self._question = None
                self._free_at = asyncio.get_running_loop().time() + _TRANSMISSION_S + self._gap_s

    async def order(self, message: Message, seconds: float) -> Message | None:
        """Give an order that asks for feedback; return `ACCEPTED` or `ERROR`, or None from a board that does not answer."""
        asking = Message(message.code, message.value, feedback=True)
        return await self.ask(asking, {Code.ACCEPTED, Code.ERROR}, seconds)

    async def query(self, code: Code, seconds: float) -> int | None:
        """Return the value that the board answers to a query, or None for an error or no answer."""
        answer = await self.ask(Message(code), {code, Code.ERROR}, seconds)
        return None if answer is None or answer.code == Code.ERROR else answer.value

    def post(self, message: Message) -> None:
        """Send a message at once, whoever waits, for a caller who can wait for nothing; raises `NotConnected`."""
        self._line.write_now(encode(message))

    async def _gap(self) -> None:
        wait = self._free_at - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)
