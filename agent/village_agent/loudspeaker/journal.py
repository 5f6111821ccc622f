"""Writes what happens at the loudspeakers to `loudspeaker.db`, and passes receipts on to the outbox once they are there.

While the disk takes nothing, announcements are heard from memory and receipts travel from there.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

from village_agent.disk import DiskThread, is_damage, put_aside
from village_agent.loudspeaker.store import Key, Stored, StoreFile
from village_agent.outbox.outbox import OutboxUnavailable
from village_agent.report import Sink
from village_wire.events import Event

_log = logging.getLogger(__name__)

#: A power cut takes the position back by so much at the most; flushing the card each second would wear it out.
SYNC_SECONDS = 10.0
_RETRY_SECONDS = 5.0


class Journal:
    """Give `run` to a task. No method raises because of the disk; `problem` is why it refuses, empty if it does not."""

    def __init__(self, path: Path, disk: DiskThread, sink: Sink) -> None:
        self._path = path
        self._disk = disk
        self._sink = sink
        self._file: StoreFile | None = None
        self._entries: dict[Key, Stored | None] = {}
        self._receipts: list[Event] = []
        self._amplifiers: dict[str, bool] = {}
        #: Receipts that the sink has, and the file too.
        self._handed: list[UUID] = []
        self._urgent = False
        self._synced = 0.0
        self._waiters: list[asyncio.Future[bool]] = []
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self.problem = ""
        #: Called once with what an earlier run of the agent left: what is not over, and amplifiers that are on.
        self.on_loaded: Callable[[list[Stored], list[str]], None] = lambda _stored, _amplifiers: None

    async def run(self) -> None:
        """Write until cancelled; a disk that refuses is tried again."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._write():
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def close(self) -> None:
        """Write what is left and close the file. Call it after `run` has ended."""
        await self._write()
        file, self._file = self._file, None
        if file is not None:
            await self._disk.run(file.close)

    def put(self, stored: Stored) -> None:
        """An entry is new or has changed."""
        self._entries[stored.key] = stored
        self._urgent = True
        self._wake.set()

    def note(self, stored: Stored) -> None:
        """An entry sounds on; the disk need not hurry."""
        self._entries[stored.key] = stored
        self._wake.set()

    def drop(self, key: Key) -> None:
        """An entry is over; its receipts are given to `tell` before anything else is awaited."""
        self._entries[key] = None
        self._urgent = True
        self._wake.set()

    def tell(self, receipt: Event) -> None:
        """Let a receipt reach the collector, after the state that it tells of is on disk."""
        self._receipts.append(receipt)
        self._urgent = True
        self._wake.set()

    def note_amplifier(self, device: str, *, on: bool) -> None:
        """An amplifier is about to be switched on, or is off."""
        self._amplifiers[device] = on
        self._wake.set()

    async def saved(self) -> bool:
        """Return whether everything so far is on disk, once that is decided."""
        if self.problem:
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._urgent = True
        self._wake.set()
        return await waiter

    async def _write(self) -> bool:
        async with self._writing:
            waiters, self._waiters = self._waiters, []
            receipts = list(self._receipts)
            on_disk = False
            try:
                on_disk = await self._save(receipts)
            finally:
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(on_disk)
            await self._hand_over(receipts, on_disk=on_disk)
            return on_disk

    async def _save(self, receipts: list[Event]) -> bool:
        entries, amplifiers = dict(self._entries), dict(self._amplifiers)
        sync, self._urgent = self._urgent or time.monotonic() - self._synced > SYNC_SECONDS, False
        try:
            file = self._file or await self._open()
            if entries or receipts or amplifiers:
                await self._disk.run(partial(file.apply, entries, receipts, amplifiers, sync=sync))
        except sqlite3.Error as error:
            await self._refused(error)
            return False
        if sync:
            self._synced = time.monotonic()
        for key, stored in entries.items():
            # It may have changed while the disk was busy.
            if key in self._entries and self._entries[key] is stored:
                del self._entries[key]
        for device, on in amplifiers.items():
            if self._amplifiers.get(device) is on:
                del self._amplifiers[device]
        if self.problem:
            _log.info("what the loudspeakers have to say can be written to the disk again")
            self.problem = ""
        return True

    async def _hand_over(self, receipts: list[Event], *, on_disk: bool) -> None:
        if not receipts:
            return
        try:
            await self._sink.add_events(receipts)
            safe = True
        except OutboxUnavailable as error:
            _log.debug("receipts are not on disk: %s", error)
            safe = False
        del self._receipts[: len(receipts)]
        if on_disk:
            self._handed += [receipt.id for receipt in receipts]
        file, handed = self._file, list(self._handed)
        if not safe or file is None or not handed:
            return
        try:
            await self._disk.run(lambda: file.forget(handed))
        except sqlite3.Error as error:
            await self._refused(error)
            return
        del self._handed[: len(handed)]

    async def _open(self) -> StoreFile:
        file = await self._disk.run(lambda: StoreFile(self._path))
        if file.damaged:
            _log.error("%s was damaged and has been put aside; broadcasts that it held are lost", self._path)
        try:
            stored, receipts, amplifiers = await self._disk.run(
                lambda: (file.load(), file.receipts(), file.amplifiers())
            )
        except sqlite3.Error:
            await self._disk.run(file.close)
            raise
        self._file = file
        self._handed += [receipt.id for receipt in receipts]
        if receipts:
            try:
                await self._sink.add_events(receipts)
            except OutboxUnavailable as error:
                _log.debug("receipts of an earlier run are not on disk: %s", error)
        self.on_loaded(stored, amplifiers)
        return file

    async def _refused(self, error: sqlite3.Error) -> None:
        self._urgent = True
        if not self.problem:
            _log.error("broadcasts can't be written to disk, they are heard from memory: %s: %s", self._path, error)
        self.problem = f"{self._path.name}: {error}"
        file = self._file
        if file is not None and is_damage(error):
            self._file = None
            await self._disk.run(file.close)
            try:
                await self._disk.run(lambda: put_aside(self._path))
            except sqlite3.Error as problem:
                _log.debug("%s", problem)
