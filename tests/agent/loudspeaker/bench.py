"""One loudspeaker's station in fake time, with everything around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from tests.agent.fake_time import in_fake_time
from tests.agent.loudspeaker.kit import BEGIN, Chip, Player, Relay, length_of
from village_agent.loudspeaker.amplifiers import Amplifiers
from village_agent.loudspeaker.policy import Profile
from village_agent.loudspeaker.scripts import FileScript, SpokenScript
from village_agent.loudspeaker.sentences import sentences
from village_agent.loudspeaker.station import Station
from village_agent.loudspeaker.store import Key, Stored
from village_agent.loudspeaker.surroundings import Prepared, Surroundings
from village_drivers.kit import Device
from village_wire.broadcasts import FINAL, Audio
from village_wire.commands import Broadcast
from village_wire.events import Event, Receipt


class Notebook:
    """`surroundings.Notes`: a disk that survives every kill."""

    def __init__(self) -> None:
        self.stored: dict[Key, Stored] = {}
        self.receipts: list[Event] = []
        self.amplifiers: dict[str, bool] = {}
        #: How long the disk takes.
        self.delay = 0.0

    def put(self, stored: Stored) -> None:
        self.stored[stored.key] = stored

    note = put

    def drop(self, key: Key) -> None:
        del self.stored[key]

    def tell(self, receipt: Event) -> None:
        self.receipts.append(receipt)

    def note_amplifier(self, device: str, *, on: bool) -> None:
        self.amplifiers[device] = on

    async def saved(self) -> bool:
        await asyncio.sleep(self.delay)
        return True


class Contents:
    """`surroundings.Contents`: texts are there at once, files after `delay` seconds or, with `problem_`, never."""

    def __init__(self, *, speaks: bool) -> None:
        self._speaks = speaks
        self.delay = 0.0
        self.fault = ""
        self.error: Exception | None = None
        self.released: list[UUID] = []

    async def prepare(self, stored: Stored, *, chime: bool) -> Prepared:
        if self.error is not None:
            raise self.error
        wanted, opening = stored.broadcast, Path("chime") if chime else None
        if wanted.audio is not None:
            if self.fault:
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(self.delay)
            return Prepared(FileScript(Path(wanted.audio.sha256), wanted.audio.seconds), opening)
        if self._speaks:
            return Prepared(SpokenScript(sentences(wanted.text or "")))
        return Prepared(FileScript(Path(wanted.text or ""), length_of(wanted.text or "")), opening)

    def problem(self, stored: Stored) -> str:
        return self.fault

    def release(self, stored: Stored) -> None:
        self.released.append(stored.id)


class Bench:
    """One station with everything around it. The handle may be None while the device is away."""

    def __init__(self, handle: Player | Chip, profile: Profile | None = None) -> None:
        self.handle = handle
        self.away = False
        self.profile = profile or Profile()
        self.notes = Notebook()
        self.relay = Relay()
        self.contents = Contents(speaks=isinstance(handle, Chip))
        #: What somebody has set the clock by.
        self.shift = 0.0
        #: When a better time was asked for, and within how many seconds.
        self.sharpened: list[tuple[float, float]] = []
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self.station = self._begin()

    def now(self) -> float:
        return BEGIN.timestamp() + asyncio.get_running_loop().time() + self.shift

    def _begin(self) -> Station:
        around = Surroundings(
            lambda _: None if self.away else self.handle,
            lambda: int(self.now() * 1e9),
            lambda time: datetime.fromtimestamp(time, UTC),
            self.notes,
            Amplifiers({"relay": Device("switch", self.relay)}.get, self.notes),
            self.contents,
            lambda: 1.0,
            sharpen=lambda seconds: self.sharpened.append((asyncio.get_running_loop().time(), seconds)),
        )
        station = Station("horn", self.profile, around)
        if isinstance(self.handle, Chip):
            self.handle.on_busy = station.is_busy
        self._task = asyncio.create_task(station.run())
        return station

    def broadcast(
        self, text: str | None = None, *, ends: float = 3600, starts: float | None = None, **more: Any
    ) -> UUID:
        """Queue a broadcast; the seconds count from now."""
        now = datetime.fromtimestamp(self.now(), UTC)
        fields: Mapping[str, Any] = {"rank": "notice", "chime": False, **more}
        start = None if starts is None else now + timedelta(seconds=starts)
        if isinstance(self.handle, Player) and text is not None:
            self.handle.lengths[text] = length_of(text)
        wanted = Broadcast(text=text, start=start, end=now + timedelta(seconds=ends), **fields)
        self._number += 1
        begins = (start or now).timestamp()
        identity = uuid4()
        self.station.take(Stored("horn", identity, self._number, wanted, begins))
        return identity

    def audio(self, seconds: float, **more: Any) -> UUID:
        assert isinstance(self.handle, Player)
        audio = Audio(sha256=uuid4().hex * 2, bytes=1, seconds=seconds, token="t")
        self.handle.lengths[audio.sha256] = seconds
        return self.broadcast(audio=audio, **more)

    async def kill(self) -> None:
        """As kill -9: nobody is asked; then a new program takes up what is on disk."""
        left = list(self.notes.stored.values())
        task = self._task
        assert task is not None
        saved, self.notes = self.notes, Notebook()
        self.notes.receipts = saved.receipts.copy()
        self.notes.stored = {stored.key: stored for stored in left}
        before = len(saved.receipts)
        task.cancel()
        await asyncio.wait([task])
        await self.station.close()
        del saved.receipts[before:]
        self.station = self._begin()
        for stored in sorted(left, key=lambda one: one.number):
            self.station.restore(stored)

    async def end(self) -> None:
        assert self._task is not None
        if self._task.done():
            self._task.result()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.station.close()

    def stages(self, identity: UUID) -> list[str]:
        return [data.stage for data in self.told(identity)]

    def told(self, identity: UUID) -> list[Receipt]:
        found = [event.data for event in self.notes.receipts if isinstance(event.data, Receipt)]
        return [data for data in found if data.broadcast == identity]

    def ends(self, identity: UUID) -> list[str]:
        return [stage for stage in self.stages(identity) if stage in FINAL]


_B = TypeVar("_B", bound=Bench)


def with_bench(make: Callable[[], _B], work: Callable[[_B], Awaitable[None]]) -> None:
    """Run a test in fake time with a bench of its own."""

    async def run() -> None:
        bench = make()
        await work(bench)
        await bench.end()

    in_fake_time(run())


def on_bench(
    work: Callable[[Bench], Awaitable[None]],
    handle: Callable[[], Player | Chip] = Player,
    profile: Profile | None = None,
) -> None:
    """Run a test with a loudspeaker of its own."""
    with_bench(lambda: Bench(handle(), profile), work)


def heard(bench: Bench) -> list[tuple[str, float, float]]:
    """Each sound with where it began and ended in its file, to a hundredth of a second."""
    return [
        (span.name, round(span.start, 2), round(span.start + span.end - span.begin, 2)) for span in bench.handle.spans
    ]
