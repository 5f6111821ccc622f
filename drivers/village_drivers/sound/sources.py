"""Where sound comes from: a file or a text, decoded by child processes to a form of `pcm`."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from village_drivers.abilities import LiveSource
from village_drivers.kit import NotConnected, Refused
from village_drivers.programs import Child, child
from village_drivers.sound.conversion import converter
from village_drivers.sound.pcm import Form

#: A decoder is faster than real time; one that gives nothing for so long hangs (a network folder that went away).
_STALL_SECONDS = 10.0
_DECODER = ("-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file,pipe")


class Source(Protocol):
    """Sound, block by block."""

    async def read(self) -> bytes:
        """Return the next block of at most 20 ms, empty at the end.

        Raises:
            Refused: the sound can't be decoded; `unplayable`, and what the decoder says.
            NotConnected: the decoder or the speech program hangs or fails.
        """


class _Decoded:
    def __init__(self, name: str, decoder: Child, speaker: Child | None, block_bytes: int) -> None:
        self._name = name
        self._block_bytes = block_bytes
        self._decoder = decoder
        self._speaker = speaker
        self._heard = False

    async def read(self) -> bytes:
        try:
            async with asyncio.timeout(_STALL_SECONDS):
                block = await self._block()
                if not block:
                    await self._judge()
        except TimeoutError:
            raise NotConnected(
                "program_failed", f"{self._decoder.name} gave nothing for {_STALL_SECONDS:g} s"
            ) from None
        self._heard = True
        return block

    async def _block(self) -> bytes:
        try:
            return await self._decoder.stdout.readexactly(self._block_bytes)
        except asyncio.IncompleteReadError as end:
            return end.partial

    async def _judge(self) -> None:
        if self._speaker is not None and await self._speaker.ended() != 0:
            raise NotConnected("program_failed", f"{self._speaker.name}: {await self._speaker.complaints()}")
        if await self._decoder.ended() != 0 or not self._heard:
            raise Refused("unplayable", f"{self._name}: {await self._decoder.complaints() or 'it holds no sound'}")


@asynccontextmanager
async def file_source(path: str, gain: float, start_seconds: float, form: Form) -> AsyncIterator[Source]:
    """Decode a sound file of any format that ffmpeg knows, from `start_seconds` on.

    Raises:
        Misconfigured: ffmpeg is missing.
        Refused: there is no such file.
    """
    if not await asyncio.to_thread(os.path.isfile, path):
        raise Refused("unplayable", f"{path} does not exist")
    # `file:` keeps a name with a colon or a leading dash from meaning something else.
    arguments = ("-ss", f"{start_seconds:.6f}", "-i", f"file:{path}", "-map", "0:a:0", *_to_pcm(gain, form))
    async with child("ffmpeg", *_DECODER, *arguments, stdout=PIPE, limit=form.block_bytes) as decoder:
        yield _Decoded(Path(path).name, decoder, None, form.block_bytes)


@asynccontextmanager
async def speech_source(text: str, voice: str, words_per_minute: int, gain: float, form: Form) -> AsyncIterator[Source]:
    """Speak a text with espeak-ng. The text goes through a pipe: it may hold what the process list must not show.

    Raises:
        Misconfigured: espeak-ng or ffmpeg is missing.
    """
    async with AsyncExitStack() as children:
        reading, writing = os.pipe()
        try:
            speaker = await children.enter_async_context(
                child(
                    "espeak-ng", "-b", "1", "-v", voice, "-s", str(words_per_minute), "--stdin", "--stdout",
                    stdout=writing, feed=text.encode(),
                )
            )  # fmt: skip
            decoder = await children.enter_async_context(
                child(
                    "ffmpeg", *_DECODER, "-f", "wav", "-ignore_length", "1", "-i", "pipe:0", *_to_pcm(gain, form),
                    stdin=reading, stdout=PIPE, limit=form.block_bytes,
                )
            )  # fmt: skip
        finally:
            os.close(reading)
            os.close(writing)
        yield _Decoded("the text", decoder, speaker, form.block_bytes)


def _to_pcm(gain: float, form: Form) -> tuple[str, ...]:
    shape = ("-f", form.codec, "-ar", str(form.rate), "-ac", str(form.channels))
    return ("-vn", "-af", f"volume={gain:.6f}", *shape, "pipe:1")


@asynccontextmanager
async def live_source(live: LiveSource, gain: float, form: Form) -> AsyncIterator[Source]:
    """Sound that is being made."""
    yield _Live(live, gain, form)


class _Live:
    def __init__(self, live: LiveSource, gain: float, form: Form) -> None:
        self._live = live
        self._gain = gain
        self._convert = converter(form)

    async def read(self) -> bytes:
        # An output that takes everything at once must not keep the voice itself from coming in.
        await asyncio.sleep(0)
        return self._convert(self._live.read(self._gain))
