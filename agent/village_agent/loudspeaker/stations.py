"""All loudspeakers of the agent: broadcasts go to their stations, and what an earlier run left goes on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

from village_agent.disk import DiskThread
from village_agent.loudspeaker.amplifiers import Amplifiers
from village_agent.loudspeaker.cache import AudioCache, Source
from village_agent.loudspeaker.contents import FileContents
from village_agent.loudspeaker.folder import SoundFolder
from village_agent.loudspeaker.journal import Journal
from village_agent.loudspeaker.live.voices import Voices
from village_agent.loudspeaker.prefetch import Prefetch
from village_agent.loudspeaker.settings import LoudspeakersTable
from village_agent.loudspeaker.sounds import Voice
from village_agent.loudspeaker.station import Station
from village_agent.loudspeaker.store import Key, Stored
from village_agent.loudspeaker.surroundings import Surroundings, witnesses_of
from village_agent.report import Hub, make_event
from village_agent.roster import Roster
from village_drivers.abilities import FilePlayer, LivePlayer, Loudspeaker, OwnVoice, TrackPlayer, abilities_of
from village_drivers.kit import Misconfigured
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES, Stage
from village_wire.commands import Broadcast, Target
from village_wire.events import Receipt
from village_wire.incoming import Received
from village_wire.tags import meant

_log = logging.getLogger(__name__)

#: Broadcasts that may wait at one loudspeaker; more are refused.
MAX_QUEUED = 200
#: Withdrawals remembered for broadcasts that they overtook on the way.
MAX_WITHDRAWN = 1000
_IN_MEMORY = "the disk takes nothing: it is heard from memory, and not after a restart"
#: How long it may take to read what an earlier run left.
_LOAD_SECONDS = 2.0
_FAULT_SECONDS = 1.0
DATABASE = "loudspeaker.db"
SOUNDS = "sounds"


class Outcome(NamedTuple):
    """What became of a command at one loudspeaker. `reason` says why it was refused, or what is worth knowing."""

    done: bool
    reason: str = ""


class LoudspeakerClock(Protocol):
    """What stations need of a `Timekeeper`."""

    @property
    def known(self) -> asyncio.Event:
        """Set once dates are true."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970; not a date before it is known."""

    def sharpen(self, seconds: float) -> None:
        """Know the time to milliseconds in so many seconds."""


class Stations:
    """Give `run` to the program's `TaskGroup` and call `close` after it has ended."""

    def __init__(
        self,
        table: LoudspeakersTable,
        state_dir: Path,
        disk: DiskThread,
        roster: Roster,
        hub: Hub,
        clock: LoudspeakerClock,
        source: Source,
    ) -> None:
        self._table = table
        self._roster = roster
        self._hub = hub
        self._clock = clock
        self._journal = Journal(state_dir / DATABASE, disk, hub.sink)
        self._journal.on_loaded = self._loaded
        folder = SoundFolder(state_dir / SOUNDS, table.cache_bytes)
        self._cache = AudioCache(folder, source)
        #: What programmes will need.
        self.prefetch = Prefetch(self._cache, folder)
        self._voices = Voices(clock.now_ns)
        self._contents = FileContents(folder, self._cache, self._voices, self._plays_files, self._voice)
        self._amplifiers = Amplifiers(roster.find, self._journal)
        self._around = Surroundings(
            self._handle,
            clock.now_ns,
            lambda time: datetime.fromtimestamp(time).astimezone(),
            self._journal,
            self._amplifiers,
            self._contents,
            random.random,
            witnesses_of(table, self._handle, state_dir),
            clock.sharpen,
        )
        self._stations: dict[str, Station] = {}
        self._changed = asyncio.Event()
        self._known = asyncio.Event()
        #: What an earlier run had not brought to its end.
        self._left: frozenset[Key] = frozenset()
        self._withdrawn: OrderedDict[tuple[str, UUID], str] = OrderedDict()
        hub.on_busy = self._is_busy

    def on_message(self, message: Received) -> bool:
        """Take a message of a live voice; answers whether it is one. Neither blocks nor raises."""
        return self._voices.on_message(message)

    async def run(self) -> None:
        """Serve until cancelled. Nothing is heard before the time is known: whether it still counts can't be judged without."""
        await self._clock.known.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._journal.run(), name="loudspeaker journal")
            group.create_task(self._cache.run(), name="audio cache")
            group.create_task(self.prefetch.run(), name="prefetch")
            if any(self._plays_files(name) for name, _, _ in self._roster.devices()):
                group.create_task(self._contents.make_chimes(), name="chimes")
            running: set[str] = set()
            while True:
                self._changed.clear()
                for name, station in self._stations.items():
                    if name not in running:
                        running.add(name)
                        group.create_task(self._keep_running(station), name=f"loudspeaker {name}")
                await self._changed.wait()

    async def close(self) -> None:
        """Fall silent, note where, switch amplifiers off, and close the file."""
        for station in self._stations.values():
            await station.close()
        await self._contents.close()
        await self._amplifiers.close()
        await self._journal.close()

    def clock_changed(self) -> None:
        """The clock was set."""
        for station in self._stations.values():
            station.wake()

    def meant(self, target: Target) -> list[str]:
        """The loudspeakers here that a target of this agent means now."""
        return [
            name
            for name, unit, device in self._roster.devices()
            if target.device in {None, name}
            and any(ability in LOUDSPEAKER_ABILITIES for ability in abilities_of(device.handle))
            and meant(self._roster.tags(unit), target.tags, target.without)
        ]

    def has(self, identity: UUID, device: str) -> bool:
        """Whether a broadcast waits or sounds at a loudspeaker."""
        return device in self._stations and self._stations[device].has(identity)

    async def queue(self, identity: UUID, broadcast: Broadcast, device: str) -> Outcome:
        """Take a broadcast for a loudspeaker; return once it is on disk, or known to be in memory only."""
        refusal = self._refusal(identity, broadcast, device)
        if refusal:
            stage: Stage = "failed" if broadcast.live is None else "skipped"
            receipt = Receipt(broadcast=identity, stage=stage, reason=refusal)
            self._journal.tell(make_event(device, receipt, self._clock.now_ns()))
            return Outcome(False, refusal)
        station = self._station(device)
        if station.has(identity):
            return Outcome(True, "it is here already")
        now_ns = self._clock.now_ns()
        start = now_ns / 1e9 if broadcast.start is None else broadcast.start.timestamp()
        station.take(Stored(device, identity, now_ns, broadcast, start), _IN_MEMORY if self._journal.problem else "")
        return Outcome(True, "" if await self._journal.saved() else _IN_MEMORY)

    async def withdraw(self, identity: UUID, device: str, reason: str) -> Outcome:
        """Take a broadcast away, also while it sounds or before it came; return once that is on disk."""
        reason = reason or "withdrawn"
        self._withdrawn[device, identity] = reason
        while len(self._withdrawn) > MAX_WITHDRAWN:
            self._withdrawn.popitem(last=False)
        if not self._station(device).cancel(identity, reason):
            return Outcome(True, "it is not here")
        await self._journal.saved()
        return Outcome(True)

    async def drop_all(self, device: str, reason: str) -> int:
        """Take everything away from a loudspeaker and return how much that was; what sounds falls silent."""
        count = self._station(device).cancel_all(reason)
        if count:
            await self._journal.saved()
        return count

    async def holds(self, identity: UUID, device: str) -> bool:
        """Whether a broadcast that an earlier run of the agent accepted was queued here when this one began."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOAD_SECONDS):
                await self._known.wait()
        return (device, identity) in self._left

    async def _keep_running(self, station: Station) -> None:
        while True:
            try:
                await station.run()
            # The outermost edge of a loudspeaker: its fault must reach neither another one nor a door.
            except Exception as error:  # noqa: BLE001
                _log.exception("loudspeaker %s: what it had to say is dropped", station.device)
                station.cancel_all(f"fault of the program: {type(error).__name__}", "failed")
                await asyncio.sleep(_FAULT_SECONDS)

    def _loaded(self, left: list[Stored], amplifiers: list[str]) -> None:
        known = {stored.key for station in self._stations.values() for stored in station.stored}
        for stored in left:
            if stored.key not in known:
                self._station(stored.device).restore(stored)
        # A file that took the place of a damaged one knows nothing of what is in memory.
        written = {stored.key for stored in left}
        for station in self._stations.values():
            for stored in station.stored:
                if stored.key not in written:
                    self._journal.put(stored)
        for amplifier in amplifiers:
            self._amplifiers.release(amplifier, "", self._table.amplifier_off_seconds)
        self._left = frozenset(written)
        self._known.set()

    def _station(self, device: str) -> Station:
        station = self._stations.get(device)
        if station is None:
            station = self._stations[device] = Station(device, self._table.profile(device), self._around)
            self._changed.set()
        return station

    def _refusal(self, identity: UUID, broadcast: Broadcast, device: str) -> str:
        """Return why a loudspeaker can't take a broadcast, empty if it can."""
        if (device, identity) in self._withdrawn:
            return self._withdrawn[device, identity]
        handle = self._handle(device)
        if broadcast.track is not None:
            if not isinstance(handle, TrackPlayer):
                return "this loudspeaker has no tracks of its own"
        elif isinstance(handle, TrackPlayer) and not isinstance(handle, Loudspeaker):
            return "this loudspeaker plays only the tracks of its own card"
        elif broadcast.live is not None:
            return self._deaf(device)
        elif broadcast.audio is not None:
            if not self._plays_files(device):
                return "this loudspeaker plays no sound files"
            if self._cache.source.api is None:
                return "this agent knows no address to fetch sound files from; set [collector] api"
        elif (voice := self._voice(device)) is not None and not voice.name:
            return "this loudspeaker has no voice configured"
        if device in self._stations and len(self._stations[device].stored) >= MAX_QUEUED:
            return f"{MAX_QUEUED} broadcasts wait at this loudspeaker"
        return ""

    def _deaf(self, device: str) -> str:
        """Return why a loudspeaker can't play live voice, empty if it can."""
        if not isinstance(self._handle(device), LivePlayer):
            return "this loudspeaker can't play live voice"
        from village_agent.loudspeaker.live.opus import load

        try:
            load()
        except Misconfigured as error:
            return str(error)
        return ""

    def _is_busy(self, device: str) -> None:
        if device in self._stations:
            self._stations[device].is_busy()

    def _handle(self, device: str) -> object | None:
        found = self._roster.find(device)
        return None if found is None else found.handle

    def _plays_files(self, device: str) -> bool:
        return isinstance(self._handle(device), FilePlayer)

    def _voice(self, device: str) -> Voice | None:
        handle = self._handle(device)
        if not isinstance(handle, FilePlayer) or (isinstance(handle, OwnVoice) and handle.speaks_itself):
            return None
        default = Voice()
        config = next((unit.config for name, unit, _ in self._roster.devices() if name == device), None)
        return Voice(
            getattr(config, "voice", default.name), getattr(config, "words_per_minute", default.words_per_minute)
        )
