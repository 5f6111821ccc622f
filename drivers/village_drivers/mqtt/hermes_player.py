"""Sound files for loudspeakers that speak Hermes: WAV in pieces of a few seconds, each of which the device confirms.

Hermes can silence nothing. A piece is what an interruption must wait for, and what has been confirmed is known to be heard.
"""

from __future__ import annotations

import array
import asyncio
import io
import sys
import wave
from collections.abc import AsyncIterator

from village_drivers.kit import DriverError, NotConnected, Refused
from village_drivers.mqtt.dialects import Hermes
from village_drivers.mqtt.manners import Link, Manners
from village_drivers.mqtt.speaker import Speaker
from village_drivers.sound.pcm import Form, gain
from village_drivers.sound.sources import Source, file_source

#: What Rhasspy's own programs send and every device of that protocol plays.
FORM = Form("s16le", 16_000, 2)
#: A message of 96 KB, which an ESP32 with external memory takes.
PIECE_SECONDS = 3.0
#: A piece ends where it is quietest in its last second: between two words.
_SEARCH_SECONDS = 1.0
#: From the message to its end, beyond the length of the piece.
_ANSWER_SECONDS = 15.0
#: A device that has played in less than this part of a piece's length has not played it.
_LEAST_PART = 0.5


class HermesPlayer(Speaker):
    """The abilities `Loudspeaker` and `FilePlayer` of one site."""

    def __init__(self, name: str, dialect: Hermes, manners: Manners, link: Link, *, own_voice: bool) -> None:
        super().__init__(name, dialect, manners, link)
        self._hermes = dialect
        #: See `abilities.OwnVoice`.
        self.speaks_itself = own_voice
        self._position = 0.0

    @property
    def position_seconds(self) -> float:
        """See `abilities.FilePlayer`: what the device has confirmed, so nothing of the first piece until its end."""
        return self._position

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        """See `abilities.FilePlayer`. Cancelling waits for the end of the piece that sounds."""
        percent = self._level(volume)
        count = 0
        async with self._take_turn():
            await self._get_free(PIECE_SECONDS + _ANSWER_SECONDS)
            self._position = start_seconds
            self.volume = percent
            async with file_source(path, gain(percent), start_seconds, FORM) as source:
                async for piece in pieces(source):
                    await self._play(piece)
                    count += 1
        self._proof = (
            f"device reported the end of {'1 piece' if count == 1 else f'each of {count} pieces'} of the sound"
        )
        return f"{self._proof}, {self._position - start_seconds:.1f} s"

    async def _play(self, piece: bytes) -> None:
        now = asyncio.get_running_loop().time
        seconds, began = FORM.seconds(len(piece)), now()
        identity = self._open_sound(seconds)
        order = self._hermes.play(as_wav(piece), identity)
        try:
            if not await self._link.send(order):
                self._sounds_until = 0.0
                raise NotConnected("device_offline", f"nobody listens at {order.topic}")
            if not await self._wait(lambda: self._ended is not None, seconds + _ANSWER_SECONDS):
                raise NotConnected("no_answer", f"it did not tell that it has played {seconds:.1f} s of sound")
        except asyncio.CancelledError:
            await self._let_end(began + seconds)
            if self._ended is not None and self._ended - began >= seconds * _LEAST_PART:
                self._position += seconds
            raise
        if (self._ended or now()) - began < seconds * _LEAST_PART:
            reason = f"it says that it played {seconds:.1f} s of sound in {now() - began:.1f} s: is it switched off?"
            raise Refused("rejected", reason)
        self._position += seconds

    async def _let_end(self, due: float) -> None:
        """A piece that nobody wants any more sounds on all the same: wait for its end, unless nobody would tell it."""
        if self._turn is not None and isinstance(self._turn.error, NotConnected):
            return
        try:
            await self._wait(lambda: self._ended is not None, max(0.0, due + 0.5 - asyncio.get_running_loop().time()))
        except DriverError:
            return


async def pieces(source: Source) -> AsyncIterator[bytes]:
    """Cut a sound into pieces of at most `PIECE_SECONDS`, where it is quietest; joined they are the sound."""
    most, search = round(PIECE_SECONDS * 50), round(_SEARCH_SECONDS * 50)
    blocks: list[bytes] = []
    while block := await source.read():
        blocks.append(block)
        # One piece more than is needed, so that the last one is not a snippet.
        if len(blocks) == most + search:
            end = cut(blocks[:most], search)
            yield b"".join(blocks[:end])
            blocks = blocks[end:]
    if len(blocks) > most:
        end = cut(blocks[:most], search)
        yield b"".join(blocks[:end])
        blocks = blocks[end:]
    if blocks:
        yield b"".join(blocks)


def cut(blocks: list[bytes], search: int) -> int:
    """Return after which of the last `search` blocks it is quietest; the latest of equals."""
    return max(range(len(blocks) - search, len(blocks)), key=lambda index: (-_loudness(blocks[index]), index)) + 1


def as_wav(samples: bytes) -> bytes:
    """Return samples of `FORM` as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(FORM.channels)
        writer.setsampwidth(FORM.sample_bytes)
        writer.setframerate(FORM.rate)
        writer.writeframes(samples)
    return file.getvalue()


def _loudness(block: bytes) -> int:
    samples = array.array("h", block[: len(block) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return sum(map(abs, samples))
