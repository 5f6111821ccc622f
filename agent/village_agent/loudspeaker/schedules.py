"""The schedules of this agent: which count, and what is told of them.

A schedule takes the place of one with a smaller number, or of one that was signed with a key which counts no more: a thief of a command key can't
outlast its rotation with a great number. Whoever owns the broker can hold schedules back, but can neither make one nor bring an old one back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from village_agent.commands.addressing import Addressee
from village_agent.disk import DiskThread
from village_agent.loudspeaker.schedule_file import Document, ScheduleFile
from village_wire.areas import chain
from village_wire.schedules import (
    MAX_DOCUMENTS,
    Held,
    InvalidSchedule,
    Schedule,
    concerns,
    content_digest,
    digest_of,
    read_schedule,
    target_text,
)
from village_wire.signed import encode_public_key

_log = logging.getLogger(__name__)

FILE = "schedules.db"
#: Documents that wait to be looked at: all that an agent can have.
_MAX_WAITING = MAX_DOCUMENTS
#: A schedule may come before the document that names its key.
_KEY_SECONDS = 5.0


class Known(NamedTuple):
    """A schedule that counts, by which key, since when (seconds since 1970), and what is told of it."""

    schedule: Schedule
    key: str
    received: float
    held: Held


class Schedules:
    """Call `load` first, give messages to `on_message` and `run` to the program's `TaskGroup`."""

    def __init__(
        self, addressee: Addressee, path: Path, disk: DiskThread, now: Callable[[], datetime], known: asyncio.Event
    ) -> None:
        """`now` is the date once `known` is set."""
        self._addressee = addressee
        self._path = path
        self._disk = disk
        self._now = now
        self._time_known = known
        self.file: ScheduleFile | None = None
        self._known: dict[str, Known] = {}
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
        self._refused = 0
        #: Called after each change.
        self.on_change: Callable[[], None] = lambda: None
        #: Called with the first reason for which a schedule is refused.
        self.on_refused: Callable[[str], None] = lambda _reason: None

    async def load(self) -> None:
        """Read the file. Where the disk refuses, nothing plays by the calendar and nothing is told of schedules."""
        try:
            self.file = await self._disk.run(lambda: ScheduleFile(self._path))
            documents = await self._disk.run(self.file.documents)
        except sqlite3.Error as error:
            _log.error("%s: %s; nothing is played by the calendar", self._path, error)
            return
        if self.file.damaged:
            _log.error("%s was damaged and has been put aside; the collector sends schedules anew", self._path)
        self._known = await asyncio.to_thread(_all_known, documents)

    async def close(self) -> None:
        """Close the file. Call it after `run` has ended."""
        file, self.file = self.file, None
        if file is not None:
            await self._disk.run(file.close)

    @property
    def current(self) -> Mapping[str, Known]:
        """The schedules that concern this agent where it is, by target."""
        agent, areas = self._addressee.agent, frozenset(chain(self._addressee.area))
        return {key: known for key, known in self._known.items() if concerns(known.schedule.target, agent, areas)}

    def digest(self) -> str | None:
        """What is told of them; None while they can't be kept."""
        return None if self.file is None else digest_of(known.held for known in self.current.values())

    def on_message(self, payload: bytes) -> None:
        """Take a message of our channel `schedule`; neither blocks nor raises. What is too much comes again."""
        with contextlib.suppress(asyncio.QueueFull):
            self._messages.put_nowait(payload)

    async def run(self) -> None:
        """Keep what comes until cancelled."""
        while True:
            await self._take(await self._messages.get())

    async def _take(self, payload: bytes) -> None:
        # Until then neither a key's end can be judged, nor from when on the programmes play.
        await self._time_known.wait()
        try:
            schedule, key = await self._verified(payload)
            name = target_text(schedule.target)
            self._judge(schedule, name)
        except InvalidSchedule as error:
            self._refused += 1
            if self._refused == 1:
                _log.warning("a schedule is refused: %s; more of them are not logged", error)
                self.on_refused(str(error))
            return
        known = self._known.get(name)
        if known is not None and not self._replaces(schedule, known):
            _log.debug("schedule %s of %s changes nothing", schedule.number, name)
            return
        if self.file is None:
            return
        document = Document(name, key, self._now().timestamp(), payload)
        elsewhere = [other for other in self._known if other not in self.current]
        try:
            await self._disk.run(partial(self.file.keep, document))
            await self._disk.run(partial(self.file.forget, elsewhere))
        except sqlite3.Error as error:
            _log.error("a schedule of %s can't be stored and does not count: %s", name, error)
            return
        for other in elsewhere:
            del self._known[other]
        self._known[name] = await asyncio.to_thread(_known, schedule, document)
        _log.info("schedule %d of %s: %d programmes", schedule.number, name, len(schedule.programmes))
        self.on_change()

    async def _verified(self, payload: bytes) -> tuple[Schedule, str]:
        # A long document, and the file of its time zone, would hold up a door.
        try:
            return await asyncio.to_thread(self._signed_by, payload)
        except InvalidSchedule:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KEY_SECONDS):
                    await self._addressee.keys.settled.wait()
        return await asyncio.to_thread(self._signed_by, payload)

    def _signed_by(self, payload: bytes) -> tuple[Schedule, str]:
        problem = InvalidSchedule("no command key is known")
        for key in self._addressee.keys.at(self._now()):
            try:
                return read_schedule(payload, key), encode_public_key(key)
            except InvalidSchedule as error:
                problem = error
        raise problem

    def _judge(self, schedule: Schedule, name: str) -> None:
        """Raise `InvalidSchedule` for what is not meant for this agent."""
        target = schedule.target
        if target.area is not None and target.area not in chain(self._addressee.area):
            raise InvalidSchedule(f"meant for area {target.area}")
        if target.agent is not None and target.agent != self._addressee.agent:
            raise InvalidSchedule(f"meant for agent {target.agent}")
        if name not in self._known and len(self.current) >= MAX_DOCUMENTS:
            raise InvalidSchedule(f"there are {MAX_DOCUMENTS} schedules already")

    def _replaces(self, schedule: Schedule, known: Known) -> bool:
        counting = {encode_public_key(key) for key in self._addressee.keys.at(self._now())}
        return schedule.number > known.schedule.number or known.key not in counting


def _all_known(documents: Iterable[Document]) -> dict[str, Known]:
    found = {}
    for document in documents:
        # What a later version wrote stays on disk for it.
        with contextlib.suppress(InvalidSchedule):
            found[document.target] = _known(read_schedule(document.payload), document)
    return found


def _known(schedule: Schedule, document: Document) -> Known:
    held = Held(document.target, schedule.number, content_digest(document.payload))
    return Known(schedule, document.key, document.received, held)
