"""Makes sound files of texts and chimes, so that a loudspeaker that plays files can go on in the middle of them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from village_agent.loudspeaker.folder import SoundFolder
from village_drivers.kit import DriverError, Refused
from village_wire.broadcasts import Class

_log = logging.getLogger(__name__)

#: espeak-ng speaks 500 times faster than people; a small box is ten times slower than a desk.
_RENDER_SECONDS = 60.0
#: A spoken character takes 0.4 s at the slowest, of 22,050 samples a second.
_BYTES_PER_CHARACTER = 20_000
_HEADER_BYTES = 44
_MAX_CHIME_BYTES = 1024 * 1024


class Voice(NamedTuple):
    """How texts are spoken, as the driver `sound` is configured. An empty name speaks nothing."""

    name: str = "cmn-latn-pinyin"
    words_per_minute: int = 160


class Sounds:
    """Rendered texts and chimes in the folder. Names begin with `text-` and `chime-`."""

    def __init__(self, folder: SoundFolder) -> None:
        self._folder = folder
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @staticmethod
    def name(text: str, voice: Voice) -> str:
        """Return the file name of a text in a voice."""
        return f"text-{hashlib.sha256(repr((text, *voice)).encode()).hexdigest()[:40]}.wav"

    async def check(self, text: str, voice: Voice) -> None:
        """See whether a text can be rendered, as far as that can be known before.

        Raises:
            Refused: it has nothing to speak.
            OSError: the disk has no room for it.
        """
        if not any(char.isalnum() for char in text):
            raise Refused("unplayable", "the text has nothing to speak")
        await asyncio.to_thread(self._try_room, self.name(text, voice), _BYTES_PER_CHARACTER * len(text))

    async def render(self, text: str, voice: Voice) -> float:
        """Make the file of a text, which the caller has pinned, unless it is there; return how many seconds it sounds.

        Raises:
            DriverError: espeak-ng is missing or refuses.
            OSError: the disk refuses.
        """
        name = self.name(text, voice)
        async with self._locks[name]:
            seconds = await asyncio.to_thread(self._seconds, name)
            if not seconds:
                await self._speak(text, voice, name)
                seconds = await asyncio.to_thread(self._seconds, name)
        self._locks.pop(name, None)
        if not seconds:
            raise OSError(f"{self._folder.path(name)} is cut short: the disk is full")
        return seconds

    async def chime(self, rank: Class) -> Path | None:
        """Return the file of a chime, None while it can't be made: a broadcast is heard without."""
        name = f"chime-{rank}.wav"
        async with self._locks[name]:
            try:
                if not await asyncio.to_thread(self._seconds, name):
                    await self._make_chime(name, rank)
            except (OSError, DriverError) as error:
                _log.warning("no chime: %s", error)
                return None
        return self._folder.path(name)

    async def _make_chime(self, name: str, rank: Class) -> None:
        from village_drivers.programs import run_program

        module = "village_agent.loudspeaker.chimes"
        made = await run_program(
            sys.executable, "-m", module, rank, seconds=_RENDER_SECONDS, limit=_MAX_CHIME_BYTES
        )  # fmt: skip
        if made.status != 0:
            raise DriverError("program_failed", f"{module}: {made.stderr}")
        await asyncio.to_thread(self._write, name, made.stdout)

    def _write(self, name: str, content: bytes) -> None:
        self._folder.make_room(name, len(content))
        self._folder.part(name).write_bytes(content)
        self._folder.keep(name)

    def _try_room(self, name: str, size: int) -> None:
        if self._seconds(name):
            return
        self._folder.make_room(name, size)
        with self._folder.part(name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def _seconds(self, name: str) -> float:
        """How long a file sounds; 0 if it is not there, or not as long as its own head says."""
        if not self._folder.has(name):
            return 0.0
        with self._folder.path(name).open("rb") as file:
            head = file.read(_HEADER_BYTES)
            size = file.seek(0, 2) - _HEADER_BYTES
        per_second = int.from_bytes(head[28:32], "little")
        return size / per_second if per_second and int.from_bytes(head[40:44], "little") == size > 0 else 0.0

    async def _speak(self, text: str, voice: Voice, name: str) -> None:
        from village_drivers.programs import run_program

        await asyncio.to_thread(self._try_room, name, _BYTES_PER_CHARACTER * len(text))
        part = self._folder.part(name)
        # Through a pipe: the process list must not show what a text says.
        done = await run_program(
            "espeak-ng", "-b", "1", "-v", voice.name, "-s", str(voice.words_per_minute), "--stdin", "-w", str(part),
            feed=text.encode(), seconds=_RENDER_SECONDS, limit=_HEADER_BYTES * 1024,
        )  # fmt: skip
        if done.status != 0:
            raise DriverError("program_failed", f"espeak-ng: {done.stderr or 'it failed'}")
        await asyncio.to_thread(self._folder.keep, name)
