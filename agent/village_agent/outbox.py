"""Everything that must reach the collector, on disk until the collector says that it is stored.

Readings are collected for a second and committed together, so that the SD card sees few writes; events at once.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from village_agent.disk import DiskThread
from village_agent.outbox_file import Batch, Item, ItemClass, Lane, Loss, OutboxFile
from village_wire.events import MAX_EVENTS, Event, Receipt

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: How long a reading may wait for others before it is written.
FLUSH_SECONDS = 1.0
#: As many lines are written at once without waiting.
FLUSH_LINES = 200
#: Lines and events kept in memory while the disk takes nothing; more are lost and counted (about 2 MB).
MAX_UNWRITTEN = 10_000
#: Content of one batch before compression: well below a message's limit, half a second at 1 Mbit/s even uncompressed.
BATCH_BYTES = 64 * 1024
#: Lines of one batch.
BATCH_LINES = 2000
#: An event that is longer than this is a fault of the program.
MAX_EVENT_BYTES = 32 * 1024
_RETRY_SECONDS = 5.0


class OutboxUnavailable(Exception):
    """The disk takes nothing now; the text is the disk's reason."""


class Outbox:
    """The three classes of `outbox_file`. `on_added(lane)` is called after each commit."""

    def __init__(
        self, path: Path, max_bytes: int, disk: DiskThread, on_added: Callable[[Lane], None] = lambda _lane: None
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._disk = disk
        self.on_added = on_added
        self._lines: list[bytes] = []
        self._items: list[Item] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._overflowed = {ItemClass.EVENT: 0, ItemClass.RECEIPT: 0, ItemClass.TELEMETRY: 0}
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.monotonic()
        self._taken_bytes = 0
        self._file: OutboxFile | None = None
        self.problem = ""

    async def run(self) -> None:
        """Open the file and write what is added, until cancelled. A disk that refuses is tried again: doors work without it."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._flush():
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def close(self) -> None:
        """Write what is left and close the file. Call it after `run` has ended."""
        await self._flush()
        if self._timer is not None:
            self._timer.cancel()
        file, self._file = self._file, None
        if file is not None:
            await self._disk.run(file.close)

    def add_line(self, line: bytes) -> None:
        """Take one line of telemetry; it is on disk about a second later."""
        if len(self._lines) >= MAX_UNWRITTEN:
            self._overflowed[ItemClass.TELEMETRY] += 1
            return
        self._lines.append(line)
        self._taken_bytes += len(line) + 1
        if len(self._lines) >= FLUSH_LINES:
            self._wake.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._wake.set)

    def post_event(self, event: Event) -> None:
        """Take an event or receipt without waiting for the disk; it is written at once."""
        item = _item(event)
        if len(self._items) >= MAX_UNWRITTEN:
            self._overflowed[item.item_class] += 1
            return
        self._items.append(item)
        self._taken_bytes += len(item.content)
        self._wake.set()

    async def add_events(self, events: Sequence[Event]) -> None:
        """Take events and return when they are safe from a power cut.

        Raises:
            OutboxUnavailable: the disk refuses; the events stay in memory and are tried again.
        """
        for event in events:
            self.post_event(event)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake.set()
        await waiter

    async def next_batch(self, lane: Lane, after: int) -> Batch | None:
        """Return the batch that follows number `after`, or None if nothing waits; raises `OutboxUnavailable`."""
        most = MAX_EVENTS if lane is Lane.EVENT else BATCH_LINES
        return await self._access(lambda file: file.next_batch(lane, after, MAX_EVENTS, most, BATCH_BYTES, uuid4().hex))

    async def remove(self, stored: Sequence[str], refused: Sequence[tuple[str, str]] = ()) -> None:
        """Forget acknowledged batches; refused ones (id, reason) go to the ledger. Raises `OutboxUnavailable`."""
        await self._access(lambda file: file.remove(stored, refused, datetime.now(UTC)))

    async def losses(self) -> list[Loss]:
        """The loss ledger; raises `OutboxUnavailable`."""
        return await self._access(lambda file: file.losses())

    @property
    def bytes(self) -> int:
        """Bytes on disk, overheads included."""
        return self._file.bytes if self._file else 0

    @property
    def waiting(self) -> int:
        """Lines and events that the collector has not acknowledged."""
        return (self._file.waiting if self._file else 0) + len(self._lines) + len(self._items)

    @property
    def lost(self) -> int:
        """Lines and events of the ledger, since it was begun."""
        return (self._file.lost if self._file else 0) + sum(self._overflowed.values())

    @property
    def hours(self) -> float:
        """How long an outage the outbox bridges at the rate of this session so far."""
        seconds = max(60.0, time.monotonic() - self._started)
        return min(self._max_bytes / max(self._taken_bytes, 1) * seconds / 3600, 10 * 8766.0)

    async def _flush(self) -> bool:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, items, waiters = self._lines, self._items, self._waiters
        overflowed = {item_class: count for item_class, count in self._overflowed.items() if count}
        self._lines, self._items, self._waiters = [], [], []
        rows = list(items)
        if lines:
            rows.append(Item(ItemClass.TELEMETRY, len(lines), b"\n".join(lines)))
        problem = None
        if rows or overflowed or self._file is None:
            problem = await self._disk.run(lambda: self._write(rows, overflowed))
        if problem is not None:
            self._lines[:0], self._items[:0] = lines, items
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(OutboxUnavailable(problem))
            if not self.problem:
                _log.error(
                    "the outbox can't be written: %s; keeping up to %d entries in memory", problem, MAX_UNWRITTEN
                )
            self.problem = problem
            return False
        if self.problem:
            _log.info("the outbox can be written again")
            self.problem = ""
        for item_class, count in overflowed.items():
            self._overflowed[item_class] -= count
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if items:
            self.on_added(Lane.EVENT)
        if lines:
            self.on_added(Lane.TELEMETRY)
        return True

    def _write(self, rows: list[Item], overflowed: dict[ItemClass, int]) -> str | None:
        now = datetime.now(UTC)
        try:
            if self._file is None:
                self._file = OutboxFile(self._path, self._max_bytes)
                if self._file.damaged:
                    _log.error(
                        "%s was damaged and has been put aside as %s.damaged; what it held is lost",
                        self._path,
                        self._path.name,
                    )
            for item_class, count in overflowed.items():
                self._file.record_loss(item_class, "disk not writable", count, now)
            if rows:
                self._file.write(rows, now)
        except sqlite3.Error as error:
            return f"{self._path}: {error}"
        return None

    async def _access(self, work: Callable[[OutboxFile], _T]) -> _T:
        file = self._file
        if file is None:
            raise OutboxUnavailable(f"{self._path} is not open")
        try:
            return await self._disk.run(lambda: work(file))
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"{self._path}: {error}") from None


def _item(event: Event) -> Item:
    content = event.model_dump_json(exclude_none=True).encode()
    if len(content) > MAX_EVENT_BYTES:
        raise ValueError(f"event {event.data.kind} of {len(content)} bytes is over the limit of {MAX_EVENT_BYTES}")
    return Item(ItemClass.RECEIPT if isinstance(event.data, Receipt) else ItemClass.EVENT, 1, content, str(event.id))
