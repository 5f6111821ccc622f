"""Commands from the collector: verified, at most once, never after their expiry, never because something was retained.

A command is written to the table as accepted before anything is done. If the agent ends between that and the result, the
next start reports `failed`: nobody can know whether the lock was released, and executing it again would be worse.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from village_agent.command_table import CommandTable
from village_agent.disk import DiskThread
from village_agent.execution import Executor
from village_agent.outbox import Outbox, OutboxUnavailable
from village_agent.report import Hub, make_event
from village_agent.roster import Roster
from village_drivers.abilities import abilities_of
from village_drivers.kit import Device
from village_wire.areas import contains
from village_wire.commands import ABILITIES, BadSignature, Command, InvalidCommand, read_command
from village_wire.events import Alarm, CommandResult, Event
from village_wire.session import Received

_log = logging.getLogger(__name__)

#: Messages that wait to be looked at; a burst of commands for a whole county is far smaller.
MAX_WAITING = 100
#: Executions that run or wait for their device; more are refused.
MAX_UNDER_WAY = 200
#: A command issued later than this after our time means that our clock is behind, and no expiry can be judged.
MAX_CLOCK_LAG = timedelta(minutes=5)
#: A stream of forged commands must not fill the outbox.
ALARM_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose commands count, and which are meant for us."""

    agent: str
    area: str
    key: Ed25519PublicKey


class CommandRuntime:
    """All commands of the agent. `on_message` is what the session calls."""

    def __init__(
        self,
        identity: Identity,
        path: Path,
        disk: DiskThread,
        outbox: Outbox,
        roster: Roster,
        hub: Hub,
        ca_file: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._identity = identity
        self._path = path
        self._disk = disk
        self._outbox = outbox
        self._roster = roster
        self._hub = hub
        self._now = now
        self._executor = Executor(hub, now, ca_file)
        self._messages: asyncio.Queue[Received] = asyncio.Queue(MAX_WAITING)
        self._under_way: set[asyncio.Task[None]] = set()
        self._bad: dict[str, int] = {}
        self._alarm_due = 0.0
        self._table: CommandTable | None = None

    async def close(self) -> None:
        """Close the table. Call it after `run` has ended."""
        table, self._table = self._table, None
        if table is not None:
            await self._disk.run(table.close)

    def on_message(self, message: Received) -> None:
        """Take a message from a command topic; neither blocks nor raises."""
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self._count_bad(f"more than {MAX_WAITING} commands wait", "")

    async def run(self) -> None:
        """Report what a former session left open, then serve until cancelled. Nothing is executed while the disk refuses."""
        try:
            await self._opened()
        except (OutboxUnavailable, sqlite3.Error) as error:
            _log.error("commands can't be executed: %s", error)
        async with asyncio.TaskGroup() as group:
            while True:
                message = await self._messages.get()
                try:
                    await self._handle(message, group)
                except (OutboxUnavailable, sqlite3.Error) as error:
                    _log.error("a command was not executed because it can't be recorded: %s", error)

    async def drain(self) -> None:
        """Return when no execution is under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _opened(self) -> CommandTable:
        if self._table is None:
            table = await self._disk.run(lambda: CommandTable(self._path, self._now()))
            reason = "unknown outcome: the agent restarted while executing"
            for entry in await self._disk.run(table.unfinished):
                lost = make_event(entry.device, CommandResult(command=entry.command, outcome="failed", reason=reason))
                await self._disk.run(partial(table.finish, lost))
            await self._send(table, await self._disk.run(table.unsent))
            self._table = table
        return self._table

    async def _handle(self, message: Received, group: asyncio.TaskGroup) -> None:
        try:
            command = read_command(message.payload, self._identity.key)
        except InvalidCommand as error:
            kind = "bad signature" if isinstance(error, BadSignature) else "malformed"
            self._count_bad(kind, f"on {message.topic[:80]}: {error}")
            return
        try:
            devices = await self._accept(command, message.retained)
        except (OutboxUnavailable, sqlite3.Error):
            reason = "the agent's disk takes no record of it"
            self._hub.post(None, CommandResult(command=command.id, outcome="refused", reason=reason))
            raise
        for name, device in devices.items():
            task = group.create_task(
                self._execute(command, name, device), name=f"command {command.arguments.kind} {name}"
            )
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _accept(self, command: Command, retained: bool) -> dict[str, Device]:
        """Return the devices that execute a command, once that is on disk; none if it was refused or is known."""
        table = await self._opened()
        first = await self._disk.run(lambda: table.known_results(command.id))
        if first is not None:
            _log.info("command %s came again; answering the first results", command.id)
            await self._outbox.add_events(first)
            return {}
        devices, refusal = await self._judge(table, command, retained)
        if refusal:
            results = [make_event(None, CommandResult(command=command.id, outcome="refused", reason=refusal))]
            _log.info("command %s (%s by %s) refused: %s", command.id, command.arguments.kind, command.issuer, refusal)
        else:
            results = [make_event(name, CommandResult(command=command.id, outcome="accepted")) for name in devices]
        await self._disk.run(lambda: table.add(command, results, self._now()))
        await self._send(table, results)
        return devices

    async def _send(self, table: CommandTable, results: list[Event]) -> None:
        if results:
            await self._outbox.add_events(results)
            await self._disk.run(lambda: table.mark_sent(results))

    async def _judge(self, table: CommandTable, command: Command, retained: bool) -> tuple[dict[str, Device], str]:
        """Return the devices that execute the command, or why none does."""
        target = command.target
        if retained:
            return {}, "retained"
        if target.agent is not None and target.agent != self._identity.agent:
            return {}, "meant for another agent"
        if target.area is not None and not contains(target.area, self._identity.area):
            return {}, "meant for another area"
        latest, not_before = await self._disk.run(table.clock)
        now = self._now()
        if command.issued < not_before:
            return {}, "the agent lost its record of commands; whether this one was executed is unknown"
        # A clock that was set back must not revive a command that is expired by the collector's own account.
        if max(now, latest) >= command.expires:
            return {}, "expired"
        if command.issued > now + MAX_CLOCK_LAG:
            return {}, f"the agent's clock is behind by {command.issued - now}: expiry can't be judged"
        if target.device is not None and self._roster.find(target.device) is None:
            return {}, "no such device"
        kind = command.arguments.kind
        able = {
            name: device
            for name, _, device in self._roster.devices()
            if target.device in {None, name} and ABILITIES[kind] in abilities_of(device.handle)
        }
        if not able:
            return {}, f"this device can't {kind}" if target.device else f"no device here can {kind}"
        if len(self._under_way) + len(able) > MAX_UNDER_WAY:
            return {}, "too many commands are under way"
        return able, ""

    async def _execute(self, command: Command, name: str, device: Device) -> None:
        result = await self._executor.execute(command, name, device)
        _log.info(
            "command %s (%s by %s) on %s: %s %s",
            command.id,
            command.arguments.kind,
            command.issuer,
            name,
            result.outcome,
            result.reason,
        )
        event = make_event(name, result)
        try:
            table = await self._opened()
            await self._disk.run(lambda: table.finish(event))
            await self._send(table, [event])
        except (OutboxUnavailable, sqlite3.Error) as error:
            _log.error("the result of command %s can't be recorded: %s", command.id, error)
            self._hub.sink.post_event(event)

    def _count_bad(self, kind: str, detail: str) -> None:
        self._bad[kind] = self._bad.get(kind, 0) + 1
        if self._bad[kind] == 1:
            _log.warning(
                "a message on a command topic is ignored: %s %s; more of this kind are counted, not logged",
                kind,
                detail,
            )
        now = time.monotonic()
        if now >= self._alarm_due:
            self._alarm_due = now + ALARM_SECONDS
            counts = ", ".join(f"{name}: {count}" for name, count in self._bad.items())
            self._hub.post(
                None, Alarm(code="bad_command", active=True, evidence=f"{kind} {detail}; so far {counts}"[:1000])
            )
