"""Plays programmes by the calendar, with or without a link.

A time is handed to the loudspeakers shortly before it is due, under ids that follow from programme and time. What was due while the agent was off,
or did not know the time, is not played late but told as skipped. While the time is not known, nothing is played by the calendar.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from village_agent.disk import DiskThread
from village_agent.loudspeaker.occurrences import Occurrence, plan
from village_agent.loudspeaker.schedules import Schedules
from village_wire.broadcasts import Audio
from village_wire.commands import Broadcast, Target
from village_wire.events import EventData, Receipt

_log = logging.getLogger(__name__)

#: So long before its time a programme is handed over: texts are made sound, and amplifiers warm up.
LEAD_SECONDS = 30.0
#: What is due for longer than this is not begun any more: a programme of seven o'clock is no programme of eight.
TOLERANCE_SECONDS = 60.0
#: Missed programmes of more than a month ago are of no interest to anybody.
MISSED_SECONDS = 31 * 86_400.0
#: So far ahead it is planned, and so often anew.
PLAN_SECONDS, _PLAN_AGAIN_SECONDS = 86_400.0, 43_200.0
#: How often it is looked whether somebody has set the clock, and noted up to when all was dealt with.
_LOOK_SECONDS, _NOTE_SECONDS = 30.0, 3600.0
#: A box without a clock is told the time soon after it is connected.
_UNSURE_SECONDS = 60.0


class Station(Protocol):
    """What is needed of `Stations`."""

    async def queue(self, identity: UUID, broadcast: Broadcast, device: str) -> object:
        """Take a broadcast for a loudspeaker; return once that is on disk. One that is there already changes nothing."""

    async def withdraw(self, identity: UUID, device: str, reason: str) -> object:
        """Take it away."""


@dataclass(frozen=True, slots=True)
class Around:
    """What programmes need of the agent.

    `devices` are the loudspeakers here that a target means now; `prefetch` is told all sound files of all programmes after each change;
    `post` records an event of a device; `tell` takes a condition of this part: a reason code and evidence, `works` for none.
    """

    station: Station
    devices: Callable[[Target], Iterable[str]]
    prefetch: Callable[[Iterable[Audio]], None]
    post: Callable[[str, EventData], None]
    tell: Callable[[str, str], None]
    now: Callable[[], datetime]
    known: asyncio.Event


class Programmes:
    """Give `run` to the program's `TaskGroup`, after `Schedules.load`."""

    def __init__(self, schedules: Schedules, disk: DiskThread, around: Around) -> None:
        self._schedules = schedules
        self._disk = disk
        self._around = around
        self._wake = asyncio.Event()
        self._replan = True
        #: Whether programmes that were handed over may have been removed.
        self._look_back = False
        self._plan: list[Occurrence] = []
        self._planned = 0.0
        #: All times before it are dealt with.
        self._looked = 0.0
        self._noted = 0.0
        self._decided: dict[UUID, float] = {}
        #: What was handed over and may not be over yet.
        self._handed: dict[UUID, tuple[Occurrence, tuple[str, ...]]] = {}
        schedules.on_change = self._changed

    def wake(self) -> None:
        """The clock was set."""
        self._wake.set()

    async def run(self) -> None:
        """Play until cancelled."""
        self._prefetch()
        await self._await_time()
        await self._load()
        while True:
            self._wake.clear()
            now = self._now()
            await self._step(now)
            due = min((one.due - LEAD_SECONDS for one in self._plan if one.due >= self._looked), default=now + 3600)
            try:
                async with asyncio.timeout(max(0.0, min(due - self._now(), _LOOK_SECONDS))):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _await_time(self) -> None:
        known = self._around.known
        try:
            async with asyncio.timeout(_UNSURE_SECONDS):
                await known.wait()
        except TimeoutError:
            while not known.is_set():
                count = sum(len(one.schedule.programmes) for one in self._schedules.current.values())
                if count:
                    self._around.tell("clock_unsure", f"{count} programmes wait: nobody told the time since the start")
                self._wake.clear()
                await _either(known, self._wake)
            self._around.tell("works", "")

    async def _load(self) -> None:
        now = self._now()
        looked: float | None = None
        file = self._schedules.file
        if file is not None:
            try:
                self._decided = await self._disk.run(file.decided)
                looked = await self._disk.run(file.looked)
            except sqlite3.Error as error:
                _log.error("which programmes were played is not known: %s", error)
        # A clock that was wrong has no say in what is missed.
        if looked is None or looked > now + LEAD_SECONDS:
            self._forget_future(now)
            looked = now - TOLERANCE_SECONDS
        self._looked = looked

    def _forget_future(self, now: float) -> None:
        self._decided = {key: due for key, due in self._decided.items() if due < now + LEAD_SECONDS}

    async def _step(self, now: float) -> None:
        if self._looked > now + 2 * LEAD_SECONDS:
            # The clock was set back; what was played is known by its id.
            self._forget_future(now)
            self._looked, self._replan = now - TOLERANCE_SECONDS, True
        self._looked = max(self._looked, now - MISSED_SECONDS)
        if self._replan:
            # A new programme may be due at once.
            self._looked = min(self._looked, now)
        if self._replan or not self._planned <= now < self._planned + _PLAN_AGAIN_SECONDS:
            await self._make_plan(now)
        await self._withdraw_removed()
        until = now + LEAD_SECONDS
        ready = [one for one in self._plan if self._looked <= one.due < until and one.id not in self._decided]
        played = [one for one in ready if one.due >= now - TOLERANCE_SECONDS]
        for one in ready:
            if one.due < now - TOLERANCE_SECONDS:
                self._skip(one)
        for one in played:
            await self._hand_over(one)
        if ready or abs(now - self._noted) >= _NOTE_SECONDS:
            await self._note(until, played)
        self._looked = max(self._looked, until)
        self._plan = [one for one in self._plan if one.due >= self._looked]
        self._handed = {key: pair for key, pair in self._handed.items() if pair[0].end > now}

    async def _withdraw_removed(self) -> None:
        if not self._look_back:
            return
        self._look_back = False
        current = self._schedules.current.values()
        there = {(known.schedule.target, programme.id) for known in current for programme in known.schedule.programmes}
        for one, _ in list(self._handed.values()):
            if (one.target, one.programme.id) not in there:
                await self._withdraw(one, "the programme was removed")

    async def _make_plan(self, now: float) -> None:
        self._replan = False
        known = list(self._schedules.current.values())
        self._plan = await asyncio.to_thread(plan, known, self._looked, now + PLAN_SECONDS)
        self._planned = now

    async def _hand_over(self, one: Occurrence) -> None:
        devices = tuple(self._devices_of(one))
        if not devices:
            _log.info("programme %s is due, and no loudspeaker is here", one.programme.id)
        for device in devices:
            for identity, broadcast in one.broadcasts():
                await self._around.station.queue(identity, broadcast, device)
        self._handed[one.id] = (one, devices)

    async def _note(self, until: float, played: list[Occurrence]) -> None:
        file = self._schedules.file
        decided = {one.id: one.due for one in played}
        self._decided |= decided
        if file is None:
            return
        try:
            await self._disk.run(partial(file.note, decided, until))
            self._noted = until - LEAD_SECONDS
        except sqlite3.Error as error:
            _log.error("played programmes can't be noted: %s", error)
            for one in played:
                await self._withdraw(one, "the disk takes no note of it, and it must not be heard twice")

    async def _withdraw(self, one: Occurrence, reason: str) -> None:
        _, devices = self._handed.pop(one.id, (one, ()))
        for device in devices:
            for number in range(len(one.programme.items)):
                await self._around.station.withdraw(one.piece(number), device, reason)

    def _skip(self, one: Occurrence) -> None:
        reason = f"due more than {TOLERANCE_SECONDS:.0f} s ago: the agent was off, did not know the time, or had its clock set"
        for device in self._devices_of(one):
            receipt = Receipt(
                broadcast=one.id,
                stage="skipped",
                reason=reason,
                evidence=f"{one.programme.title}, due {datetime.fromtimestamp(one.due, UTC):%Y-%m-%dT%H:%M:%SZ}",
                category=one.programme.category,
            )
            self._around.post(device, receipt)

    def _devices_of(self, one: Occurrence) -> list[str]:
        return list(self._around.devices(one.target))

    def _changed(self) -> None:
        self._replan = self._look_back = True
        self._prefetch()
        self._wake.set()

    def _prefetch(self) -> None:
        current = [known.schedule for known in self._schedules.current.values()]
        items = [item for schedule in current for programme in schedule.programmes for item in programme.items]
        self._around.prefetch([item.audio for item in items if item.audio is not None])

    def _now(self) -> float:
        return self._around.now().timestamp()


async def _either(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait(), name="programmes wait") for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
