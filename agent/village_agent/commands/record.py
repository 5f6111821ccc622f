"""What keeps "at most once" while the disk takes nothing: commands are remembered in memory, and a mark on disk says so.

A lock must open and a loudspeaker must speak although the disk is full. What was executed without a record can't be told after a
restart, so the mark makes the next session refuse whatever was issued before it. The mark is one byte of a file that exists already,
which a full disk takes too. A disk that takes not even that is read-only or broken; then only what expires soon is executed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, cast
from uuid import UUID

from village_agent.commands.table import CommandTable, Unfinished
from village_agent.disk import DiskThread, is_damage, put_aside
from village_wire.commands import Command
from village_wire.events import CommandResult, Event

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Commands remembered in memory (a few hundred bytes each) until the disk works or they expire; more are refused.
MAX_REMEMBERED = 1000
#: Where not even the mark could be set, a longer-lived command is refused: it might come again after a restart.
UNMARKED_LIFETIME = timedelta(minutes=10)
_NEVER = datetime.max.replace(tzinfo=UTC)


class NoRecord(Exception):
    """A command can be recorded neither on disk nor in memory."""


class Mark:
    """One byte on disk: whether something was executed without a record. Blocks on the disk; all methods raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> bool:
        """Make the file if there is none; return whether the mark is set."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.pread(descriptor, 1, 0)
            if not found:
                os.pwrite(descriptor, b"0", 0)
                os.fsync(descriptor)
            return found == b"1"
        finally:
            os.close(descriptor)

    def write(self, *, value: bool) -> None:
        """Set or clear the mark, safe from a power cut."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, b"1" if value else b"0", 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class _Remembered:
    """A command that is in memory only."""

    command: Command
    added: datetime
    results: dict[str | None, Event] = field(default_factory=dict)
    sent: list[Event] = field(default_factory=list)


class CommandRecord:
    """The table of commands, or memory in its place. No method raises but `add`."""

    def __init__(self, path: Path, disk: DiskThread) -> None:
        self._path = path
        self._disk = disk
        self._mark = Mark(path.with_suffix(".mark"))
        self._marked = False
        self._table: CommandTable | None = None
        self._memory: dict[UUID, _Remembered] = {}
        #: Results of commands in the table that the table did not take.
        self._results: list[Event] = []
        self._latest = datetime.fromtimestamp(0, UTC)
        self._begun = _NEVER
        self._problem = ""

    async def open(self) -> bool:
        """Open the table unless it is open, and write what is in memory. Return whether a table was opened."""
        opened = False
        try:
            if self._table is None:
                self._table = await self._disk.run(self._open)
                opened = True
            await self._catch_up(self._table)
        except sqlite3.Error as error:
            await self._failed(error)
        except OSError as error:
            await self._failed(sqlite3.OperationalError(f"{error.filename}: {error.strerror}"))
        else:
            if self._problem:
                _log.info("commands can be recorded again")
                self._problem = ""
        return opened and self._table is not None

    async def begin(self, now: datetime) -> None:
        """The time is known. Where a record is missing, commands issued before now are no longer told apart."""
        self._begun = min(self._begun, now)
        await self._try(lambda table: table.begin(now), None)

    async def known_results(self, command: UUID) -> list[Event] | None:
        """Return the latest result of each device, or None for a command that was never seen."""
        remembered = self._memory.get(command)
        if remembered is not None:
            return list(remembered.results.values())
        return await self._try(lambda table: table.known_results(command), None)

    async def add(self, command: Command, results: Sequence[Event], now: datetime) -> None:
        """Remember a command with its first results; when this returns nobody executes it again.

        Raises:
            NoRecord: the disk takes nothing, and memory is full or the command may outlive a restart.
        """
        self._latest = max(self._latest, command.issued)
        if self._table is not None and not self._memory:
            table = self._table
            try:
                await self._disk.run(lambda: table.add(command, results, now))
            except sqlite3.Error as error:
                await self._failed(error)
            else:
                return
        self._memory = {key: one for key, one in self._memory.items() if one.command.expires > now}
        if len(self._memory) >= MAX_REMEMBERED:
            raise NoRecord(self._problem)
        if not await self._set_mark() and command.expires > now + UNMARKED_LIFETIME:
            raise NoRecord(self._problem)
        self._memory[command.id] = _Remembered(command, now, {result.device: result for result in results})

    async def finish(self, result: Event) -> None:
        """Replace a device's `accepted` by its final result."""
        remembered = self._memory.get(cast("CommandResult", result.data).command)
        if remembered is not None:
            remembered.results[result.device] = result
        elif (
            not await self._try(partial(_finish, result=result), default=False) and len(self._results) < MAX_REMEMBERED
        ):
            self._results.append(result)

    async def mark_sent(self, results: Sequence[Event]) -> None:
        """Note that results are in the outbox."""
        for result in results:
            remembered = self._memory.get(cast("CommandResult", result.data).command)
            if remembered is not None:
                remembered.sent.append(result)
        await self._try(lambda table: table.mark_sent(results), None)

    async def unsent(self) -> list[Event]:
        """Results of the table that may not have reached the outbox."""
        return await self._try(lambda table: table.unsent(), [])

    async def unfinished(self) -> list[Unfinished]:
        """What the table has as accepted and without a final result."""
        return await self._try(lambda table: table.unfinished(), [])

    async def clock(self) -> tuple[datetime, datetime]:
        """Return two times: the latest at which a command was issued, and the one before which nothing is known of commands."""
        latest, not_before = await self._try(lambda table: table.clock(), (self._latest, self._begun))
        return max(latest, self._latest), not_before

    async def close(self) -> None:
        """Write what is in memory, if the disk takes it, and close the table."""
        if self._memory or self._results:
            await self.open()
        table, self._table = self._table, None
        if table is not None:
            await self._disk.run(table.close)

    def _open(self) -> CommandTable:
        marked = self._mark.prepare()
        table = CommandTable(self._path)
        try:
            if marked and not self._marked:
                table.distrust()
                self._mark.write(value=False)
        except (sqlite3.Error, OSError):
            table.close()
            raise
        return table

    async def _catch_up(self, table: CommandTable) -> None:
        for remembered in list(self._memory.values()):
            while True:
                results = dict(remembered.results)
                work = partial(_write, table, remembered.command, remembered.added, results, list(remembered.sent))
                await self._disk.run(work)
                # A result may have come while the disk was busy with those before it.
                if results == remembered.results:
                    break
            self._memory.pop(remembered.command.id, None)
        while self._results:
            await self._disk.run(partial(table.finish, self._results[0]))
            del self._results[0]
        if self._marked:
            await self._disk.run(partial(self._mark.write, value=False))
            self._marked = False

    async def _set_mark(self) -> bool:
        if not self._marked:
            try:
                await self._disk.run(partial(self._mark.write, value=True))
            except OSError as error:
                _log.debug("no mark: %s", error)
            else:
                self._marked = True
        return self._marked

    async def _try(self, work: Callable[[CommandTable], _T], default: _T) -> _T:
        table = self._table
        if table is None:
            return default
        try:
            return await self._disk.run(lambda: work(table))
        except sqlite3.Error as error:
            await self._failed(error)
            return default

    async def _failed(self, error: sqlite3.Error) -> None:
        if not self._problem:
            _log.error("commands can't be recorded, they are remembered in memory: %s: %s", self._path, error)
        self._problem = str(error)
        table = self._table
        if table is not None and is_damage(error):
            # What it held is unknown: as if it had been executed without a record.
            self._table = None
            await self._disk.run(table.close)
            await self._set_mark()
            self._marked = False
            try:
                await self._disk.run(lambda: put_aside(self._path))
            except sqlite3.Error as problem:
                _log.debug("%s", problem)


def _finish(table: CommandTable, result: Event) -> bool:
    table.finish(result)
    return True


def _write(
    table: CommandTable,
    command: Command,
    added: datetime,
    results: Mapping[str | None, Event],
    sent: Sequence[Event],
) -> None:
    if table.known_results(command.id) is None:
        table.add(command, [], added)
    for result in results.values():
        table.finish(result)
    table.mark_sent(sent)
