"""Fetches the sound files of programmes long before they are due, and keeps them as long as a programme needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from village_wire.broadcasts import Audio, Class

#: Files that are waited for at once; one that the collector does not have must not keep the others away.
MAX_AT_ONCE = 100
#: After so long the next ones have their turn.
TURN_SECONDS = 600.0


class Cache(Protocol):
    """What is needed of an `AudioCache`."""

    async def get(self, audio: Audio, rank: Class) -> Path:
        """Return the file once it is there and whole, however long that takes."""


class Pins(Protocol):
    """What is needed of a `SoundFolder`."""

    def pin(self, name: str) -> None:
        """Keep a file, whether it is there or to come."""

    def unpin(self, name: str) -> None:
        """See `pin`."""


class Prefetch:
    """Give `run` to a task. What broadcasts need goes before."""

    def __init__(self, cache: Cache, pins: Pins) -> None:
        self._cache = cache
        self._pins = pins
        self._wanted: dict[str, Audio] = {}
        self._there: set[str] = set()
        self._changed = asyncio.Event()
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    def want(self, audios: Iterable[Audio]) -> None:
        """From here on exactly these are needed; neither blocks nor raises."""
        wanted = {audio.sha256: audio for audio in audios}
        for name in wanted.keys() - self._wanted.keys():
            self._pins.pin(name)
        for name in self._wanted.keys() - wanted.keys():
            self._pins.unpin(name)
        self._there &= wanted.keys()
        self._wanted = wanted
        self._changed.set()

    @property
    def missing(self) -> int:
        """How many of them are not there."""
        return len(self._wanted) - len(self._there)

    async def run(self) -> None:
        """Fetch until cancelled."""
        while True:
            self._changed.clear()
            tasks = {
                asyncio.create_task(self._fetch(audio), name=f"prefetch {name[:12]}")
                for name, audio in list(self._wanted.items())
                if name not in self._there
            }
            changed = asyncio.create_task(self._changed.wait(), name="prefetch changed")
            try:
                await changed
            finally:
                for task in (*tasks, changed):
                    task.cancel()
                await asyncio.wait([*tasks, changed])

    async def _fetch(self, audio: Audio) -> None:
        while audio.sha256 not in self._there:
            async with self._turns:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TURN_SECONDS):
                        await self._cache.get(audio, "background")
                        self._there.add(audio.sha256)
