"""Where readings and events go: to the outbox when their time is a date, and until it is known on disk without one.

Nothing with a guessed date reaches the outbox. What the file of undated things takes follows the outbox's promises: events are safe
when `add_events` returns, readings are written together.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from village_agent.clock.clock import Clock, Estimate
from village_agent.clock.dating import date_event, date_line, is_undated_event, is_undated_line
from village_agent.clock.undated_file import Undated, UndatedFile
from village_agent.disk import DiskThread
from village_agent.outbox.ledger import ItemClass
from village_agent.outbox.outbox import OutboxUnavailable
from village_wire.events import Event, Receipt

_log = logging.getLogger(__name__)

#: How long an undated reading may wait for others before it is written.
FLUSH_SECONDS = 2.0
#: Lines and events kept in memory while the disk takes nothing; more are lost and counted (about 1 MB).
MAX_UNWRITTEN = 5_000
#: Lines and events dated and handed to the outbox in one go: far fewer than it keeps in memory.
_MOVE_LINES = 2_000
_RETRY_SECONDS = 5.0
_NEWS_NS = 50_000_000


class DatedSink(Protocol):
    """What the recorder needs of an `Outbox`. `problem` is why the disk refuses, empty if it does not."""

    problem: str

    def add_line(self, line: bytes) -> None:
        """One line of telemetry."""

    def post_event(self, event: Event) -> None:
        """One event."""

    async def add_events(self, events: Sequence[Event]) -> None:
        """Events; return when they are on disk, with every line added before. Raises `OutboxUnavailable`."""

    def note_loss(self, item_class: ItemClass, reason: str, count: int) -> None:
        """Enter a loss that happened elsewhere in the ledger."""


class Recorder:
    """A `report.Sink`. Give `run` to the program's `TaskGroup`; it also keeps what is known of the time over a restart in this boot."""

    def __init__(
        self, clock: Clock, outbox: DatedSink, path: Path, boot: str, max_bytes: int, disk: DiskThread
    ) -> None:
        self._clock = clock
        self._outbox = outbox
        self._path = path
        self._boot = boot
        self._max_bytes = max_bytes
        self._disk = disk
        self._rows: list[Undated] = []
        self._unwritten = 0
        self._overflowed = {ItemClass.EVENT: 0, ItemClass.RECEIPT: 0, ItemClass.TELEMETRY: 0}
        self._waiters: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._file: UndatedFile | None = None
        self._remembered: Estimate | None = None
        self._stepping = False
        #: Number of the last row that the outbox has, perhaps not yet on disk.
        self._handed_over = 0
        self._problem = ""
        #: Called in the event loop when an earlier run of the agent in this boot knew the time.
        self.on_restored: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Open the file, write what has no date and send it on once it has, until cancelled. A disk that refuses is tried again."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._step():
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def close(self) -> None:
        """Write or send on what is left and close the file. Call it after `run` has ended and before the outbox is closed."""
        await self._step()
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters:
            waiter.cancel()
        file, self._file = self._file, None
        if file is not None:
            await self._disk.run(file.close)

    def clock_changed(self) -> None:
        """The time became known, or better known."""
        self._wake.set()

    def add_line(self, line: bytes) -> None:
        """Take one line of telemetry, dated or not; neither blocks nor raises."""
        if not is_undated_line(line):
            self._outbox.add_line(line)
            return
        self._take(Undated(ItemClass.TELEMETRY, 1, line))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._wake.set)

    def post_event(self, event: Event) -> None:
        """Take an event, dated or not, without waiting for the disk."""
        if not is_undated_event(event):
            self._outbox.post_event(event)
            return
        item_class = ItemClass.RECEIPT if isinstance(event.data, Receipt) else ItemClass.EVENT
        self._take(Undated(item_class, 1, event.model_dump_json(exclude_none=True).encode()))
        self._wake.set()

    async def add_events(self, events: Sequence[Event]) -> None:
        """Take events and return when these, and all before them, are safe from a power cut.

        Raises:
            OutboxUnavailable: the disk refuses; the events stay in memory and are tried again.
        """
        dated = [event for event in events if not is_undated_event(event)]
        for event in events:
            if event not in dated:
                self.post_event(event)
        if self._rows or self._stepping or not self._clock.known:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._wake.set()
            await waiter
        await self._outbox.add_events(dated)

    def _take(self, row: Undated) -> None:
        if self._unwritten >= MAX_UNWRITTEN:
            self._overflowed[row.item_class] += row.count
            return
        self._rows.append(row)
        self._unwritten += 1

    async def _step(self) -> bool:
        """Do what can be done now; return whether the disk took it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stepping = True
        problem = await _attempt(self._open())
        rows, waiters = self._rows, self._waiters
        self._rows, self._waiters, self._unwritten = [], [], 0
        file, first = self._file, self._clock.first_offset_ns
        if first is not None:
            # The outbox takes what is in memory even when the file can't be read.
            self._hand_over(rows, first)
            self._hand_over_overflow()
            if file is not None:
                problem = await _attempt(self._send_on(file, first))
        elif file is not None and rows:
            problem = await _attempt(self._disk.run(lambda: file.add(_grouped(rows))))
        if first is None and problem is not None:
            self._rows[:0] = rows
            self._unwritten = len(self._rows)
        self._stepping = False
        for waiter in waiters:
            if waiter.done():
                continue
            if problem is None or first is not None:
                waiter.set_result(None)
            else:
                waiter.set_exception(OutboxUnavailable(f"{self._path}: {problem}"))
        if problem is not None and not self._problem:
            _log.error("undated readings and events can't be written: %s: %s", self._path, problem)
        elif problem is None and self._problem:
            _log.info("%s can be written again", self._path)
        self._problem = problem or ""
        return problem is None

    async def _open(self) -> None:
        if self._file is None:
            self._file = file = await self._disk.run(lambda: UndatedFile(self._path, self._boot, self._max_bytes))
            if file.damaged:
                _log.error("%s was damaged and has been put aside", self._path)
            known = await self._disk.run(file.remembered)
            if known is not None:
                self._clock.restore(*known)
                self._remembered = known[1]
                self.on_restored()

    async def _send_on(self, file: UndatedFile, first_offset_ns: int) -> None:
        """Date what is in the file and hand it to the outbox; forget it here once it is on disk there."""
        estimate = self._clock.estimate
        if estimate is not None and _is_news(estimate, self._remembered):
            # Before anything leaves the file: after a kill the rest must get the same dates and ids.
            await self._disk.run(lambda: file.remember(first_offset_ns, estimate))
            self._remembered = estimate
        while found := await self._disk.run(lambda: file.read(_MOVE_LINES)):
            if self._outbox.problem:
                raise OutboxUnavailable(self._outbox.problem)
            fresh = [row for number, row in found if number > self._handed_over]
            self._handed_over = found[-1][0]
            self._hand_over(fresh, first_offset_ns)
            await self._outbox_written()
            await self._disk.run(partial(file.remove_until, self._handed_over))
        losses = await self._disk.run(file.losses)
        if losses:
            # Forgotten first: a loss that is told twice would be worse than one that a kill hides.
            await self._disk.run(file.forget_losses)
            for item_class, reason, count in losses:
                self._outbox.note_loss(item_class, reason, count)
            counts = ", ".join(f"{count} {item_class.name.lower()} ({why})" for item_class, why, count in losses)
            _log.warning("lost before their date was known: %s", counts)
            await self._outbox_written()

    async def _outbox_written(self) -> None:
        try:
            await self._outbox.add_events([])
        except OutboxUnavailable:
            # Otherwise it is full of events, and what it could not take stands in its ledger.
            if self._outbox.problem:
                raise

    def _hand_over_overflow(self) -> None:
        for item_class, count in self._overflowed.items():
            if count:
                self._outbox.note_loss(item_class, "disk not writable", count)
                self._overflowed[item_class] = 0

    def _hand_over(self, rows: list[Undated], first_offset_ns: int) -> None:
        for row in rows:
            if row.item_class is ItemClass.TELEMETRY:
                for line in row.content.split(b"\n"):
                    self._outbox.add_line(date_line(line, first_offset_ns))
            else:
                self._outbox.post_event(date_event(Event.model_validate_json(row.content), first_offset_ns))


def _is_news(estimate: Estimate, known: Estimate | None) -> bool:
    # A correction by less is not worth a write to the SD card.
    return known is None or known.source != estimate.source or abs(known.offset_ns - estimate.offset_ns) > _NEWS_NS


async def _attempt(work: Awaitable[None]) -> str | None:
    """Return why the disk refused, None if it did not."""
    try:
        await work
    except (sqlite3.Error, OutboxUnavailable) as error:
        return str(error)
    return None


def _grouped(rows: list[Undated]) -> list[Undated]:
    """Join lines of telemetry that follow each other into one row."""
    grouped: list[Undated] = []
    for row in rows:
        last = grouped[-1] if grouped else None
        if last and last.item_class is row.item_class is ItemClass.TELEMETRY and len(last.content) < 50_000:
            grouped[-1] = Undated(row.item_class, last.count + row.count, last.content + b"\n" + row.content)
        else:
            grouped.append(row)
    return grouped
