"""Speaks texts and plays files, one sound at a time, into whatever takes sound at the pace at which it is heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from village_drivers.abilities import LiveSource
from village_drivers.kit import DriverError, Misconfigured, NotConnected, Refused
from village_drivers.programs import find_program, run_program
from village_drivers.sound.pcm import Form, gain
from village_drivers.sound.sinks import Sink, TimedSink
from village_drivers.sound.sources import Source, file_source, live_source, speech_source

_VOICE_CHECK_SECONDS = 10.0
#: What begins by so much too late is said to be late.
_PUNCTUAL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Voice:
    """How texts are spoken. Without a name they are not."""

    name: str
    words_per_minute: int

    async def check(self) -> None:
        """Raise `Misconfigured` unless the programs are there and espeak-ng knows the voice."""
        await find_program("ffmpeg")
        if not self.name:
            return
        tried = await run_program(
            "espeak-ng", "-q", "-v", self.name, "--stdin", feed=b".", seconds=_VOICE_CHECK_SECONDS, limit=4096
        )
        if tried.status != 0:
            raise Misconfigured("misconfigured", f"`voice` {self.name}: {tried.stderr}")


class Player:
    """Plays one sound at a time; who may interrupt whom is decided by the caller, who cancels.

    `target` names the output in evidence. `changed` is set when a sound begins or ends.
    """

    def __init__(
        self,
        target: str,
        form: Form,
        open_sink: Callable[[], AbstractAsyncContextManager[Sink]],
        volume: float,
        voice: Voice,
    ) -> None:
        self._target = target
        self._form = form
        self._open_sink = open_sink
        self._default_volume = volume
        self._voice = voice
        self.changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._scope: asyncio.Timeout | None = None
        self.volume = volume
        self._sink: Sink | None = None
        #: Where the last sound began in its file, and how much of it was heard.
        self._begin = self._heard = 0.0
        #: What the last sound failed with, if that concerns the output; the driver's `run` ends with it.
        self.fault: NotConnected | None = None

    @property
    def busy(self) -> bool:
        """Whether a sound is under way."""
        return not self._idle.is_set()

    @property
    def position_seconds(self) -> float:
        """See `abilities.FilePlayer`; of a text the seconds that were heard."""
        return self._begin + (self._heard if self._sink is None else self._form.seconds(self._sink.heard_bytes))

    async def say(self, text: str, volume: float | None) -> str:
        """Speak a text; contract as `abilities.Loudspeaker`."""
        if not self._voice.name:
            raise Refused("rejected", "this loudspeaker has no voice configured")
        level = self._level(volume)
        source = speech_source(text, self._voice.name, self._voice.words_per_minute, gain(level), self._form)
        return await self._play(source, level, 0.0)

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        """Play a file; contract as `abilities.FilePlayer`."""
        level = self._level(volume)
        return await self._play(file_source(path, gain(level), start_seconds, self._form), level, start_seconds)

    async def play_at(
        self,
        path: str,
        volume: float | None,
        at: float,
        open_sink: Callable[[], AbstractAsyncContextManager[TimedSink]],
    ) -> str:
        """Play a file from a moment on; contract as `abilities.PunctualPlayer`."""
        level = self._level(volume)
        began = at

        @asynccontextmanager
        async def aligned() -> AsyncIterator[Sink]:
            nonlocal began
            async with open_sink() as sink:
                began = await sink.align(at)
                yield sink

        evidence = await self._play(file_source(path, gain(level), 0.0, self._form), level, 0.0, aligned)
        late = began - at
        return evidence if late < _PUNCTUAL_SECONDS else f"{evidence}, began {late:.2f} s late"

    async def play_live(
        self,
        live: LiveSource,
        volume: float | None,
        open_sink: Callable[[], AbstractAsyncContextManager[Sink]] | None = None,
    ) -> str:
        """Play a voice that is being spoken; contract as `abilities.LivePlayer`. `open_sink` opens the output with a shorter buffer."""
        level = self._level(volume)
        return await self._play(live_source(live, gain(level), self._form), level, 0.0, open_sink)

    async def stop(self) -> None:
        """Fall silent; returns when the children are gone."""
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0)
        await self._idle.wait()

    async def _play(
        self,
        opening: AbstractAsyncContextManager[Source],
        level: float,
        begin: float,
        open_sink: Callable[[], AbstractAsyncContextManager[Sink]] | None = None,
    ) -> str:
        if not self._idle.is_set():
            raise Refused("busy", "another sound is being played")
        self._idle.clear()
        self._begin, self._heard = begin, 0.0
        self.volume = level
        self.changed.set()
        try:
            async with asyncio.timeout(None) as self._scope:
                return await self._pump(opening, open_sink or self._open_sink)
        except TimeoutError:
            raise Refused("interrupted", f"stopped after {self._heard:.2f} s") from None
        except DriverError as error:
            evidence = f"{error} (after {self._heard:.2f} s)" if self._heard else str(error)
            if isinstance(error, Refused):
                raise Refused(error.code, evidence) from error
            self.fault = NotConnected(error.code, evidence)
            raise self.fault from error
        finally:
            self._scope = None
            self.volume = self._default_volume
            self._idle.set()
            self.changed.set()

    async def _pump(
        self,
        opening: AbstractAsyncContextManager[Source],
        open_sink: Callable[[], AbstractAsyncContextManager[Sink]],
    ) -> str:
        async with opening as source:
            block = await source.read()
            async with open_sink() as sink:
                started = time.monotonic()
                self._sink = sink
                try:
                    while block:
                        await sink.write(block)
                        block = await source.read()
                    await sink.finish()
                finally:
                    self._heard = self._form.seconds(sink.heard_bytes)
                    self._sink = None
        return f"played {self._heard:.2f} s in {time.monotonic() - started:.2f} s on {self._target}"

    def _level(self, volume: float | None) -> float:
        level = self._default_volume if volume is None else volume
        if not 0 <= level <= 100:
            raise Refused("rejected", f"volume {level:g} is not between 0 and 100 percent")
        return level
