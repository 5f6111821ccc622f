"""A loudspeaker in fake time: hours pass in milliseconds, and what was heard is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from village_drivers.kit import DriverError

#: Ten in the morning where the tests live.
BEGIN = datetime(2026, 11, 24, 10, tzinfo=UTC)
CHIME_SECONDS = 1.0


@dataclass(frozen=True)
class Span:
    """What was heard: from `start` on in a sound, between two loop times."""

    name: str
    begin: float
    end: float
    start: float
    volume: float | None


@dataclass
class Player:
    """A sound card. `lengths` is how long each file sounds; `error` is raised by every play while it is set."""

    lengths: dict[str, float] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    error: Exception | None = None
    unplugged: asyncio.Event = field(default_factory=asyncio.Event)
    sounds: bool = False
    tries: int = 0
    _begin: float = 0.0
    _since: float | None = None
    _heard: float = 0.0

    @property
    def position_seconds(self) -> float:
        if self._since is None:
            return self._begin + self._heard
        return self._begin + asyncio.get_running_loop().time() - self._since

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        assert not self.sounds, "two sounds at once"
        self.tries += 1
        self._begin, self._heard = start_seconds, 0.0
        if self.error is not None:
            raise self.error
        now = asyncio.get_running_loop().time
        self.sounds, self._since = True, now()
        begun = now()
        try:
            async with asyncio.timeout(max(0.0, self.lengths.get(path, CHIME_SECONDS) - start_seconds)):
                await self.unplugged.wait()
            assert self.error is not None
            raise self.error
        except TimeoutError:
            return f"played {now() - begun:.2f} s"
        finally:
            self._heard, self._since, self.sounds = now() - begun, None, False
            self.spans.append(Span(path, begun, now(), start_seconds, volume))

    async def say(self, text: str, volume: float | None) -> str:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError


@dataclass
class PunctualPlayer(Player):
    """A sound card that can begin at a given moment. `ending` is how long it takes to end after the last sample."""

    ahead_seconds: float = 1.2
    ending: float = 0.0

    async def play_at(self, path: str, volume: float | None, at: float) -> str:
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        evidence = await self.play_from(path, volume, 0.0)
        await asyncio.sleep(self.ending)
        return evidence


@dataclass
class Chip:
    """A speech chip: a fifth of a second a character."""

    spans: list[Span] = field(default_factory=list)
    error: DriverError | None = None
    on_busy: Callable[[], None] = lambda: None
    sounds: bool = False

    async def say(self, text: str, volume: float | None) -> str:
        assert not self.sounds, "two texts at once"
        if self.error is not None:
            raise self.error
        now = asyncio.get_running_loop().time
        self.sounds, begun = True, now()
        try:
            await asyncio.sleep(0.1)
            self.on_busy()
            await asyncio.sleep(0.2 * len(text))
            return f"busy {now() - begun:.1f} s"
        finally:
            self.sounds = False
            self.spans.append(Span(text, begun, now(), 0.0, volume))

    async def stop(self) -> None:
        return


class Relay:
    """Switches, remembers when, and fails as the test wants."""

    def __init__(self) -> None:
        self.switched: list[tuple[float, bool]] = []
        self.error: DriverError | None = None

    async def switch(self, on: bool) -> None:
        if self.error is not None:
            raise self.error
        self.switched.append((round(asyncio.get_running_loop().time(), 2), on))


def length_of(text: str) -> float:
    """A text sounds as many seconds as the number at its end says."""
    return float(text.rpartition(" ")[2])
