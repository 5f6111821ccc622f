"""Everything that must reach the collector, on disk until the collector says that it is stored.

Readings are gathered for some seconds and committed together, so that the SD card sees few writes; events at once. While the
disk takes nothing, both stay in memory and are sent from there.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from village_agent.disk import DiskThread, disk_code, is_damage
from village_agent.outbox.damage import open_or_begin, salvage
from village_agent.outbox.file import MAX_FORGOTTEN, OutboxFile
from village_agent.outbox.items import Batch, Lane
from village_agent.outbox.ledger import ItemClass, Lost
from village_agent.outbox.memory import MAX_UNWRITTEN, Memory, item_of
from village_agent.outbox.rate import Rate
from village_agent.outbox.write_timer import WriteTimer
from village_agent.outbox.writing import Written
from village_wire.events import MAX_EVENTS, Event

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: How long a reading waits at the most for others before it is written. kill -9 loses the readings of this time.
WRITE_SECONDS = 10.0
#: As many lines are written at once without waiting.
FLUSH_LINES = 200
#: So many acknowledged batches are removed at once; fewer wait for the next commit.
_MANY_STORED = 2 * MAX_FORGOTTEN
#: Content of one batch before compression: well below a message's limit, half a second at 1 Mbit/s even uncompressed.
BATCH_BYTES = 64 * 1024
#: Lines of one batch.
BATCH_LINES = 2000
_RETRY_SECONDS = 5.0
#: Nobody can tell how much it held; one stands for it.
_DAMAGED = "outbox damaged, number unknown"
_FULL_OF_EVENTS = "the outbox is full of events that the collector has not confirmed"
_MAX_HOURS = 10 * 8766.0


class OutboxUnavailable(Exception):
    """The disk takes nothing now; the text is the disk's reason."""


class Outbox:
    """The rows of `OutboxFile` in three classes, and what waits to become one.

    Callbacks neither block nor raise.

    - `on_added(lane)`: something waits in the lane.
    - `on_void(batches)`: these batches are gone, or all (None); what was in them comes again in others.
    - `on_condition(code, evidence)`: the disk refuses, for a reason of `village_wire.states`, or works again (`works`).
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        disk: DiskThread,
        write_seconds: float = WRITE_SECONDS,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`now_ns` is the time in nanoseconds since 1970, for ages and the ledger."""
        self._now_ns = now_ns
        self._path = path
        self._max_bytes = max_bytes
        self._disk = disk
        self.on_added: Callable[[Lane], None] = lambda _lane: None
        self.on_void: Callable[[Sequence[str] | None], None] = lambda _batches: None
        self.on_condition: Callable[[str, str], None] = lambda _code, _evidence: None
        self._memory = Memory()
        #: Lines and events that are being written.
        self._in_write = 0
        self._damage: sqlite3.Error | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._stored: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._timer = WriteTimer(write_seconds)
        self._rate = Rate(time.monotonic())
        self._file: OutboxFile | None = None
        self._code = "works"
        self.problem = ""

    async def run(self) -> None:
        """Open the file and write what is added, until cancelled. A disk that refuses is tried again: doors work without it."""
        self._timer.now()
        while True:
            await self._timer.wait()
            if not await self._flush():
                await asyncio.sleep(_RETRY_SECONDS)
                self._timer.now()

    async def close(self) -> None:
        """Write what is left and close the file. Call it after `run` has ended."""
        await self._flush()
        self._timer.begun()
        file, self._file = self._file, None
        if file is not None:
            await self._disk.run(file.close)

    def add_line(self, line: bytes) -> None:
        """Take one line of telemetry; it is on disk some seconds later."""
        self._memory.add_line(line)
        self._rate.add(len(line) + 1, time.monotonic())
        if self._memory.lines >= FLUSH_LINES:
            self._timer.now()
        else:
            self._timer.soon()

    def post_event(self, event: Event) -> None:
        """Take an event or receipt without waiting for the disk; it is written at once."""
        item = item_of(event)
        self._memory.add_item(item)
        self._rate.add(len(item.content), time.monotonic())
        if self.problem:
            self.on_added(Lane.EVENT)
        else:
            self._timer.now()

    async def add_events(self, events: Sequence[Event]) -> None:
        """Take events and return when they are safe from a power cut.

        Raises:
            OutboxUnavailable: the disk refuses; the events stay in memory, are sent from there and tried again. Or events
                alone have filled the outbox; then these are lost, and in the ledger.
        """
        for event in events:
            self.post_event(event)
        if self.problem:
            raise OutboxUnavailable(self.problem)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._timer.now()
        await waiter

    async def next_batch(self, lane: Lane) -> Batch | None:
        """Return a new batch of what waits in the lane and is in no batch yet, None if nothing does; raises `OutboxUnavailable`."""
        most = BATCH_LINES if lane is Lane.TELEMETRY else MAX_EVENTS
        batch = None
        try:
            batch = await self._access(lambda file: file.next_batch(lane, MAX_EVENTS, most, BATCH_BYTES, uuid4().hex))
        except OutboxUnavailable:
            if not self.problem:
                raise
        if batch is None and self.problem:
            return self._memory.next_batch(lane, most, BATCH_BYTES, uuid4().hex)
        if batch is not None:
            self._counts[batch.id] = batch.count
        return batch

    async def mark_backlog(self) -> None:
        """Put all events in no batch but the newest into the lane `BACKLOG`; raises `OutboxUnavailable`."""
        if self._file is not None:
            await self._access(lambda file: file.mark_backlog())

    async def remove(self, stored: Sequence[str], refused: Sequence[tuple[str, str]] = ()) -> None:
        """Forget acknowledged batches, on disk some seconds later; refused ones (id, reason) go to the ledger at once.

        Raises:
            OutboxUnavailable: refused batches can't be entered in the ledger.
        """
        for batch in stored:
            if not self._memory.forget(batch) and batch in self._counts:
                self._stored[batch] = self._counts.pop(batch)
        for batch, reason in refused:
            for row in self._memory.refuse(batch) or ():
                self._memory.lose(row.item_class, reason, row.count, row.first_ns, row.last_ns)
        known = [(batch, reason) for batch, reason in refused if batch in self._counts]
        if known:
            await self._access(lambda file: file.refuse(known))
        for batch, _ in known:
            del self._counts[batch]
        if len(self._stored) >= _MANY_STORED:
            self._timer.now()
        elif self._stored:
            self._timer.soon()

    def note_loss(self, item_class: ItemClass, reason: str, count: int) -> None:
        """Enter a loss that happened elsewhere in the ledger."""
        now = self._now_ns()
        self._memory.lose(item_class, reason, count, now, now)
        self._timer.now()

    async def losses(self) -> list[Lost]:
        """The loss ledger; raises `OutboxUnavailable`."""
        return await self._access(lambda file: file.losses())

    @property
    def bytes(self) -> int:
        """Bytes in use on disk, overheads included."""
        return self._file.bytes if self._file else 0

    @property
    def waiting(self) -> int:
        """Lines and events that the collector has not acknowledged."""
        return (
            (self._file.waiting if self._file else 0)
            - sum(self._stored.values())
            + self._memory.waiting
            + self._in_write
        )

    @property
    def lost(self) -> int:
        """Lines and events of the ledger, since it was begun."""
        return (self._file.lost if self._file else 0) + self._memory.lost

    @property
    def unsent_telemetry_bytes(self) -> int:
        """About the content of telemetry that is in no batch."""
        return (self._file.unsent_telemetry_bytes if self._file else 0) + (
            self._memory.lines * 100 if self.problem else 0
        )

    @property
    def age_seconds(self) -> float:
        """Time since the oldest of what waits on disk was measured, 0 if nothing waits or the clock was set back since."""
        oldest = self._file.oldest_ns if self._file and self.waiting else None
        return max(0.0, (self._now_ns() - oldest) / 1e9) if oldest else 0.0

    @property
    def hours(self) -> float:
        """How long an outage the outbox bridges, were it empty, at the rate of the last half hour or hour."""
        capacity = self._file.capacity if self._file else self._max_bytes
        return min(capacity / max(self._rate.per_second(time.monotonic()), 1e-9) / 3600, _MAX_HOURS)

    async def _flush(self) -> bool:
        self._timer.begun()
        waiters, self._waiters = self._waiters, []
        try:
            if self._damage is not None:
                raise self._damage
            file = self._file
            if file is None:
                file = self._file = await self._disk.run(lambda: open_or_begin(self._path, self._max_bytes))
                if file.damaged:
                    self.note_loss(ItemClass.EVENT, _DAMAGED, 1)
            elif self.problem:
                # What is on its way from memory is taken from there only once the disk works.
                await self._disk.run(file.probe)
            full = await self._write(file)
        except sqlite3.Error as error:
            await self._refused(error, waiters)
            return False
        if self.problem:
            _log.info("the outbox can be written again")
            self.problem, self._code = "", "works"
            self.on_condition("works", "")
        _settle(waiters, _FULL_OF_EVENTS if full else "")
        return True

    async def _write(self, file: OutboxFile) -> bool:
        """Write all that is in memory; return whether events found no room."""
        rows, losses, void = self._memory.take()
        stored = dict(self._stored)
        lanes = {Lane.TELEMETRY if row.item_class is ItemClass.TELEMETRY else Lane.EVENT for row in rows}
        self._in_write = sum(row.count for row in rows)
        if void:
            self.on_void(void)
        try:
            done = Written(rows, losses, list(stored))
            if rows or losses or stored:
                await self._disk.run(lambda: done.write(file))
        except asyncio.CancelledError:
            # What was handed to the disk thread is done nevertheless; only what it leaves is still ours.
            await self._disk.run(lambda: None)
            raise
        finally:
            self._in_write = 0
            self._memory.put_back(done.rows, done.losses)
            for batch in stored.keys() - set(done.stored):
                del self._stored[batch]
            for lane in lanes:
                self.on_added(lane)
        if done.error is not None:
            raise done.error
        return done.full

    async def _refused(self, error: sqlite3.Error, waiters: list[asyncio.Future[None]]) -> None:
        if is_damage(error) and self._file is not None:
            await self._replace(self._file)
        code = await self._disk.run(lambda: disk_code(self._path.parent, error))
        problem = f"{self._path}: {error}"
        if not self.problem:
            _log.error("the outbox can't be written: %s; keeping up to %d entries in memory", problem, MAX_UNWRITTEN)
        self.problem = problem
        if code != self._code:
            self._code = code
            self.on_condition(code, problem)
        _settle(waiters, problem)
        for lane in (Lane.EVENT, Lane.TELEMETRY):
            self.on_added(lane)

    async def _replace(self, file: OutboxFile) -> None:
        """Put a file aside that turned out to be damaged; the next attempt begins a new one, with the ledger of the old."""
        lost = await self._disk.run(lambda: salvage(file, self._path))
        self._file, self._damage = None, None
        self._stored.clear()
        self._counts.clear()
        self.on_void(None)
        for entry in lost:
            first, last = (int(time.timestamp() * 1e9) for time in (entry.first, entry.last))
            self._memory.lose(entry.item_class, entry.reason, entry.count, first, last)
        _log.error("%s is damaged and has been put aside; %d lines and events are lost", self._path, file.waiting)

    async def _access(self, work: Callable[[OutboxFile], _T]) -> _T:
        file = self._file
        if file is None:
            raise OutboxUnavailable(f"{self._path} is not open")
        try:
            return await self._disk.run(lambda: work(file))
        except sqlite3.Error as error:
            if is_damage(error):
                self._damage = error
                self._timer.now()
            raise OutboxUnavailable(f"{self._path}: {error}") from None


def _settle(waiters: Sequence[asyncio.Future[None]], problem: str) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if problem:
            waiter.set_exception(OutboxUnavailable(problem))
        else:
            waiter.set_result(None)
