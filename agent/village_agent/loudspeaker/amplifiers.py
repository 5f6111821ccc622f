"""Amplifiers: switched on before a sound, and off some time after the last one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from village_drivers.abilities import Switch, abilities_of
from village_drivers.kit import Device, DriverError

_log = logging.getLogger(__name__)

#: A switch that takes longer to answer does not keep the loudspeaker silent.
SWITCH_SECONDS = 2.0
#: One that can't be switched off is tried again this seldom.
_RETRY_SECONDS = 60.0


class AmplifierNotes(Protocol):
    """Where it is noted that an amplifier is on, for the next run of the agent."""

    def note_amplifier(self, device: str, *, on: bool) -> None:
        """An amplifier is about to be switched on, or is off."""


@dataclass(slots=True)
class _Amplifier:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: set[str] = field(default_factory=set)
    #: Loop time at which it was switched on; None while it is off, or nobody knows.
    since: float | None = None
    off: asyncio.Task[None] | None = None


class Amplifiers:
    """All amplifiers of this box; several loudspeakers may share one."""

    def __init__(self, find: Callable[[str], Device | None], notes: AmplifierNotes) -> None:
        """`find` returns a device by its id."""
        self._find = find
        self._notes = notes
        self._known: dict[str, _Amplifier] = {}

    async def take(self, name: str, user: str, lead_in: float) -> str:
        """Return when an amplifier has been on for `lead_in` seconds; the answer is why it may be off, empty if it is on."""
        amplifier = self._known.setdefault(name, _Amplifier())
        amplifier.users.add(user)
        if amplifier.off is not None:
            amplifier.off.cancel()
            amplifier.off = None
        now = asyncio.get_running_loop().time
        async with amplifier.lock:
            if amplifier.since is None:
                self._notes.note_amplifier(name, on=True)
                problem = await self._switch(name, on=True)
                if problem:
                    return f"amplifier {name} can't be switched on: {problem}"
                amplifier.since = now()
        await asyncio.sleep(max(0.0, amplifier.since + lead_in - now()))
        return ""

    def release(self, name: str, user: str, linger: float) -> None:
        """A loudspeaker needs its amplifier no longer; without others it goes off after `linger` seconds."""
        amplifier = self._known.setdefault(name, _Amplifier())
        amplifier.users.discard(user)
        if not amplifier.users and amplifier.off is None:
            amplifier.off = asyncio.create_task(self._off_after(name, amplifier, linger), name=f"amplifier {name}")

    async def close(self) -> None:
        """Switch off at once what is on."""
        for name, amplifier in self._known.items():
            may_be_on = amplifier.since is not None or amplifier.off is not None
            if amplifier.off is not None:
                amplifier.off.cancel()
                await asyncio.wait([amplifier.off])
            if may_be_on and not await self._switch(name, on=False):
                self._notes.note_amplifier(name, on=False)

    async def _off_after(self, name: str, amplifier: _Amplifier, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            async with amplifier.lock:
                # First, for whoever cancels this in the middle can't know.
                amplifier.since = None
                problem = await self._switch(name, on=False)
            if not problem:
                self._notes.note_amplifier(name, on=False)
                amplifier.off = None
                return
            _log.warning("amplifier %s can't be switched off: %s", name, problem)
            seconds = _RETRY_SECONDS

    async def _switch(self, name: str, *, on: bool) -> str:
        """Return why it did not work, empty if it did."""
        device = self._find(name)
        if device is None or "switch" not in abilities_of(device.handle):
            return "there is no such switch now"
        try:
            async with asyncio.timeout(SWITCH_SECONDS):
                await cast("Switch", device.handle).switch(on)
        except DriverError as error:
            return str(error)
        except TimeoutError:
            return f"no answer within {SWITCH_SECONDS:g} s"
        return ""
