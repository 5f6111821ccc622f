"""Asks a meter and a microphone while a loudspeaker sounds. Neither of them ever delays or silences it beyond `IDLE_SECONDS`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

from village_agent.loudspeaker.evidence import Testimony, judge_chime, judge_current
from village_agent.loudspeaker.heard_levels import FILE, HeardLevels
from village_agent.loudspeaker.hearing import Figures, is_telling
from village_agent.loudspeaker.policy import Profile
from village_drivers.abilities import Meter, Microphone, abilities_of
from village_drivers.kit import DriverError, NotConnected
from village_wire.broadcasts import Class

_log = logging.getLogger(__name__)

#: A sound waits at most so long for the first reading of a meter of which no idle value is known yet, and a chime for its microphone.
IDLE_SECONDS = 0.3
#: Between two readings.
READ_SECONDS = 0.25
#: A meter that takes longer does not answer.
_ANSWER_SECONDS = 2.0
#: Idle values of so many plays are remembered.
_REMEMBERED = 8
#: Echo, and what is still on its way through the recorder.
_TAIL_SECONDS = 0.25
_MAX_READINGS = 20_000
#: A chime with the silence before it.
_MAX_RECORDING_SECONDS = 20.0
#: A small box needs three seconds to look at a recording; after a shorter content the receipt waits so long.
_WAIT_SECONDS = 5.0
_LOOK_SECONDS = 30.0
_MAX_FIGURES_BYTES = 4096


class Verdict(NamedTuple):
    """What the witnesses of one play say; `contradiction` is why it was not heard, empty unless that is certain."""

    evidence: str
    contradiction: str = ""


@dataclass(slots=True)
class _MeterMemory:
    """What is known of a meter. `sounding` are the loudspeakers whose sound it measures now."""

    idle: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    sounding: set[str] = field(default_factory=set)


class Witnesses:
    """All that this box can measure of its loudspeakers. `find` returns the handle of a device, None while it is away."""

    def __init__(self, find: Callable[[str], object | None], state_dir: Path) -> None:
        self._find = find
        self._levels = HeardLevels(state_dir / FILE)
        self._meters: dict[str, _MeterMemory] = {}

    def of(self, device: str, profile: Profile, rank: Class, volume: float | None, *, live: bool) -> Witness | None:
        """Return who watches one play at a loudspeaker; None where nothing can."""
        if profile.current is None and profile.microphone is None:
            return None
        memory = self._meters.setdefault(profile.current or "", _MeterMemory())
        return Witness(device, profile, rank, volume, live=live, find=self._find, memory=memory, levels=self._levels)


class Witness:
    """Watches one play, which may be interrupted and go on."""

    def __init__(
        self,
        device: str,
        profile: Profile,
        rank: Class,
        volume: float | None,
        *,
        live: bool,
        find: Callable[[str], object | None],
        memory: _MeterMemory,
        levels: HeardLevels,
    ) -> None:
        self._device = device
        self._profile = profile
        self._rank = rank
        self._volume = volume
        self._live = live
        self._find = find
        self._memory = memory
        self._levels = levels
        self._idle_off: list[float] = []
        self._idle_on: list[float] = []
        self._during: list[float] = []
        self._meter_problem = ""
        self._powered = False
        self._read = asyncio.Event()
        self._looking: asyncio.Task[Testimony] | None = None

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure the current while the block runs."""
        if self._profile.current is None:
            yield
            return
        reading = asyncio.create_task(self._measure(self._profile.current), name=f"current of {self._device}")
        try:
            yield
        finally:
            self._memory.sounding.discard(self._device)
            self._powered = False
            reading.cancel()
            await asyncio.wait([reading])

    async def powered(self) -> None:
        """The amplifier is on and silent. Returns once that was measured, if the idle value is not known, and never late."""
        self._powered = True
        if self._profile.current is None or self._memory.idle or self._idle_on or self._memory.sounding:
            return
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                while not self._idle_on and not self._meter_problem:
                    self._read.clear()
                    await self._read.wait()
        except TimeoutError:
            return

    def sounds(self) -> None:
        """The first sample is out."""
        self._memory.sounding.add(self._device)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Let the microphone hear the chime that sounds while the block runs, and look at the recording after it."""
        name = self._profile.microphone
        if name is None or not is_telling(self._rank):
            yield
            return
        begun, over = asyncio.Event(), asyncio.Event()
        recording = asyncio.create_task(self._record(name, begun, over), name=f"{name} listens to {self._device}")
        try:
            starting = asyncio.create_task(begun.wait(), name=f"{name} begins")
            await asyncio.wait([starting, recording], timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            starting.cancel()
            complete = begun.is_set()
            yield
        except BaseException:
            recording.cancel()
            await asyncio.wait([recording])
            raise
        self._looking = asyncio.create_task(
            self._look(recording, over, complete=complete), name=f"chime of {self._device}"
        )

    def close(self) -> None:
        """Nobody asks any more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def wait(self) -> None:
        """Return once all is known of the play that has ended, or it takes too long."""
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=_WAIT_SECONDS)

    def verdict(self) -> Verdict:
        """Return what is known of the play that has ended. To be asked once."""
        found = [] if self._profile.current is None else [self._current()]
        if self._looking is not None:
            late = judge_chime(None, None, f"the box took more than {_WAIT_SECONDS:g} s to look at the recording")
            found.append(self._looking.result() if self._looking.done() else late)
        self.close()
        contradictions = [one.text for one in found if one.contradicts]
        # Who reads why it failed wants to know what speaks for the opposite too.
        return Verdict(
            "; ".join(one.text for one in found), "; ".join(one.text for one in found) if contradictions else ""
        )

    def _current(self) -> Testimony:
        known = [*self._idle_on, *([median(self._memory.idle)] if self._memory.idle else [])]
        # The least: what was read while a sound before died away, or the amplifier took its first gulp, is too much.
        idle = min(known or self._idle_off, default=None)
        if self._idle_on:
            self._memory.idle.append(min(self._idle_on))
        silent = self._live or self._volume == 0
        return judge_current(
            idle, self._during, self._profile.current_rise, problem=self._meter_problem, may_be_silent=silent
        )

    async def _measure(self, name: str) -> None:
        while len(self._during) < _MAX_READINGS:
            on, sounding = self._powered, set(self._memory.sounding)
            handle = self._find(name)
            try:
                if not isinstance(handle, Meter) or "meter" not in abilities_of(handle):
                    raise NotConnected("unreachable", f"there is no meter {name} now")
                async with asyncio.timeout(_ANSWER_SECONDS):
                    value = await handle.measure()
            except DriverError as error:
                self._meter_problem = str(error)
            except TimeoutError:
                self._meter_problem = f"{name} does not answer"
            else:
                if sounding != self._memory.sounding:
                    pass
                elif self._device in sounding:
                    self._during.append(value)
                elif not sounding:
                    (self._idle_on if on else self._idle_off).append(value)
            self._read.set()
            await asyncio.sleep(READ_SECONDS)

    async def _record(self, name: str, begun: asyncio.Event, over: asyncio.Event) -> bytes:
        handle = self._find(name)
        if handle is None or "microphone" not in abilities_of(handle):
            raise NotConnected("unreachable", f"there is no microphone {name} now")
        return await cast("Microphone", handle).record(begun, over, _MAX_RECORDING_SECONDS)

    async def _look(self, recording: asyncio.Task[bytes], over: asyncio.Event, *, complete: bool) -> Testimony:
        """`complete` is whether the microphone heard before the chime began; else it may have missed it."""
        try:
            await asyncio.sleep(_TAIL_SECONDS)
            over.set()
            heard = await recording
            key = f"{self._device} {self._profile.microphone} {self._rank} {self._volume}"
            usual = await asyncio.to_thread(self._levels.usual, key)
            figures = await look(heard, self._rank, usual if complete else None)
            if figures.heard:
                await asyncio.to_thread(self._levels.heard, key, figures.chime_db)
        except DriverError as error:
            return judge_chime(None, None, str(error))
        finally:
            if not recording.done():
                recording.cancel()
        if not figures.heard and not complete:
            return judge_chime(None, None, "the microphone began too late")
        return judge_chime(figures, usual)


async def look(recording: bytes, rank: Class, usual_db: float | None) -> Figures:
    """Look for a chime in a recording, in a child process; raises `DriverError` where that fails."""
    from village_drivers.programs import run_program

    module = "village_agent.loudspeaker.hearing"
    usual = () if usual_db is None else (repr(usual_db),)
    found = await run_program(
        sys.executable, "-m", module, rank, *usual, feed=recording or b"\0\0", seconds=_LOOK_SECONDS,
        limit=_MAX_FIGURES_BYTES,
    )  # fmt: skip
    if found.status != 0:
        raise DriverError("program_failed", f"{module}: {found.stderr}")
    return Figures(**json.loads(found.stdout))
