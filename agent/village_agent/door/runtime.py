"""From a card at a reader to the record of it, the lock and the reader's light. Waits for no network, and hardly for the disk.

The access is on disk before the lock acts, so that neither kill -9 nor a power cut leaves an open door without a record. A disk
that takes longer than `RECORD_SECONDS`, or takes nothing, does not keep anybody out: the record then waits in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from village_agent.door.decision import decide
from village_agent.outbox.outbox import OutboxUnavailable
from village_agent.report import Hub
from village_agent.roster import Roster
from village_agent.tables import DoorTable
from village_drivers.abilities import Colour, Door, Indicator
from village_drivers.kit import CardRead, DriverError
from village_wire.events import Alarm, DoorAccess, DoorUnlocked

_log = logging.getLogger(__name__)

#: Cards that may wait at one reader; more come only from a broken or malicious one.
MAX_WAITING = 10
#: What a good SD card needs for a commit, several times over; with the reader's next turn on the bus the lock acts within 0.1 s.
RECORD_SECONDS = 0.05
#: A lock that takes longer to confirm does not answer.
UNLOCK_SECONDS = 5.0
_DENIED_SECONDS = 2.0


class DoorRuntime:
    """All doors of the agent. `on_card` is what reports call."""

    def __init__(self, doors: Sequence[DoorTable], roster: Roster, hub: Hub) -> None:
        self._doors = {door.reader: (door, frozenset(door.cards)) for door in doors}
        self._roster = roster
        self._hub = hub
        self._failed: set[str] = set()
        self._queues: dict[str, asyncio.Queue[CardRead]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def on_card(self, reader: str, card: CardRead) -> None:
        """Take a card; neither blocks nor raises. Readers don't wait for each other, cards at one reader do."""
        queue = self._queues.get(reader)
        if queue is None:
            if self._group is None:
                return
            queue = self._queues[reader] = asyncio.Queue(MAX_WAITING)
            self._group.create_task(self._serve(reader, queue), name=f"door {reader}")
        try:
            queue.put_nowait(card)
        except asyncio.QueueFull:
            self._hub.complain(f"reader {reader}: more than {MAX_WAITING} cards wait; the new ones are ignored")

    async def _serve(self, reader: str, queue: asyncio.Queue[CardRead]) -> None:
        while True:
            card = await queue.get()
            try:
                await self._judge(reader, str(card))
            # The outermost edge of a door: one card must not end it.
            except Exception:  # noqa: BLE001
                _log.exception("door at reader %s failed", reader)

    async def _judge(self, reader: str, card: str) -> None:
        door, cards = self._doors.get(reader, (None, None))
        decision = decide(card, cards)
        await self._record(
            reader,
            DoorAccess(
                credential=card[:80],
                outcome="granted" if decision.granted else "denied",
                reason=decision.reason,
                door=door.lock if door is not None and decision.granted else None,
            ),
        )
        released = decision.granted and door is not None and await self._unlock(door.lock, door.unlock_seconds)
        if released and door is not None:
            self._hub.post(door.lock, DoorUnlocked(seconds=door.unlock_seconds, by="credential"))
        if door is not None:
            await self._indicate(
                reader, "green" if released else "red", door.unlock_seconds if released else _DENIED_SECONDS
            )

    async def _record(self, reader: str, access: DoorAccess) -> None:
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._hub.record(reader, access)
        except (TimeoutError, OutboxUnavailable) as error:
            _log.debug("reader %s: the access is not on disk yet: %s", reader, error)

    async def _unlock(self, lock: str, seconds: float) -> bool:
        device = self._roster.find(lock)
        try:
            if device is None or not isinstance(device.handle, Door):
                raise DriverError("misconfigured", f"there is no lock {lock!r}")
            async with asyncio.timeout(UNLOCK_SECONDS):
                await device.handle.unlock(seconds)
        except (DriverError, TimeoutError) as error:
            evidence = str(error)[:1000] or f"the lock did not confirm within {UNLOCK_SECONDS:.0f} s"
            if lock not in self._failed:
                self._failed.add(lock)
                _log.error("lock %s can't be released: %s", lock, evidence)
                self._hub.post(lock, Alarm(code="unlock_failed", active=True, evidence=evidence))
            return False
        if lock in self._failed:
            self._failed.discard(lock)
            _log.info("lock %s works again", lock)
            self._hub.post(lock, Alarm(code="unlock_failed", active=False))
        return True

    async def _indicate(self, reader: str, colour: Colour, seconds: float) -> None:
        device = self._roster.find(reader)
        if device is None or not isinstance(device.handle, Indicator):
            return
        try:
            async with asyncio.timeout(UNLOCK_SECONDS):
                await device.handle.indicate(colour, True, seconds)
        except (DriverError, TimeoutError) as error:
            _log.debug("reader %s shows nothing: %s", reader, error)
