"""Commands from the collector: verified, at most once, never after their expiry, never because something was retained.

A command is written to the table as accepted before anything is done. If the agent ends between that and the result, the
next start reports `failed`: nobody can know whether the lock was released, and executing it again would be worse. What happens
while the disk takes nothing stands in `record`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from village_agent.commands.addressing import Addressee, is_ignored, receivers, why_nobody
from village_agent.commands.bad_messages import BadMessages
from village_agent.commands.execution import Executor
from village_agent.commands.overtaking import Overtaking
from village_agent.commands.record import CommandRecord, NoRecord
from village_agent.disk import DiskThread
from village_agent.loudspeaker.stations import Stations
from village_agent.outbox.outbox import Outbox, OutboxUnavailable
from village_agent.report import Hub, Sink
from village_agent.roster import Roster
from village_drivers.kit import Device
from village_wire.commands import BadSignature, Command, InvalidCommand, read_command
from village_wire.events import CommandResult, Event
from village_wire.incoming import Received

_log = logging.getLogger(__name__)

#: Messages that wait to be looked at; a burst of commands for a whole county is far smaller.
MAX_WAITING = 100
#: Executions that run or wait for their device; more are refused.
MAX_UNDER_WAY = 200
#: A command that comes while the time, or a newer key, is not known waits for so long for the collector's answer about the time.
CLOCK_SECONDS = 5.0
#: A command issued later than this after our time means that our clock is behind, and no expiry can be judged.
MAX_CLOCK_LAG = timedelta(minutes=1)


class CommandClock(Protocol):
    """What judging an expiry needs of a `Timekeeper`."""

    @property
    def known(self) -> asyncio.Event:
        """Set once dates are true."""

    @property
    def signed(self) -> bool:
        """Whether the time comes from the collector."""

    def now(self) -> datetime:
        """The time; not a date before it is known."""

    def connected(self) -> None:
        """Ask the collector for the time."""


class CommandRuntime:
    """All commands of the agent. `on_message` is what the session calls."""

    def __init__(
        self,
        addressee: Addressee,
        path: Path,
        disk: DiskThread,
        outbox: Outbox,
        roster: Roster,
        hub: Hub,
        clock: CommandClock,
        loudspeakers: Stations,
        ca_file: Path | None = None,
        check_time: Callable[[], bool] = lambda: True,
    ) -> None:
        """`ca_file` and `check_time` are for uploads, see `upload_jpeg`."""
        self._addressee = addressee
        self._outbox = outbox
        self._roster = roster
        self._hub = hub
        self._clock = clock
        self._loudspeakers = loudspeakers
        self._executor = Executor(hub, clock.now, loudspeakers, ca_file, check_time)
        #: Each with the monotonic time of its arrival.
        self._messages: asyncio.Queue[tuple[float, Received]] = asyncio.Queue(MAX_WAITING)
        self._under_way: set[asyncio.Task[None]] = set()
        self._overtaking = Overtaking()
        self._executing: set[tuple[UUID, str | None]] = set()
        self._bad = BadMessages(hub)
        self._record = CommandRecord(path, disk)
        self._settled = False
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close the record. Call it after `run` has ended."""
        await self._record.close()

    def on_message(self, message: Received) -> None:
        """Take a message from a command topic; neither blocks nor raises."""
        try:
            self._messages.put_nowait((time.monotonic(), message))
        except asyncio.QueueFull:
            self._bad.count(f"more than {MAX_WAITING} commands wait", "")

    async def run(self) -> None:
        """Report what a former session left open, then serve until cancelled."""
        await self._prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settle_when_dated(), name="settle commands")
            while True:
                arrived, message = await self._messages.get()
                await self._await_clock(arrived + CLOCK_SECONDS)
                await self._handle(message, arrived + CLOCK_SECONDS, group)

    async def drain(self) -> None:
        """Return when no execution is under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _await_clock(self, deadline: float) -> None:
        if not self._clock.known.is_set():
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._clock.known.wait()
            except TimeoutError:
                return

    async def _settle_when_dated(self) -> None:
        await self._clock.known.wait()
        await self._prepare()

    async def _prepare(self) -> None:
        async with self._opening:
            if await self._record.open():
                await self._send(await self._record.unsent())
                self._settled = False
            if not self._settled and self._clock.known.is_set():
                self._settled = True
                await self._settle()

    async def _settle(self) -> None:
        """Give what a former session left open its final result, with the date of now."""
        await self._record.begin(self._clock.now())
        reason = "unknown outcome: the agent restarted while executing"
        for entry in await self._record.unfinished():
            if (entry.command, entry.device) in self._executing:
                continue
            lost = CommandResult(command=entry.command, outcome="failed", reason=reason)
            if entry.device is not None and await self._loudspeakers.holds(entry.command, entry.device):
                lost = CommandResult(command=entry.command, outcome="done")
            await self._record.finish(self._hub.event(entry.device, lost))
        await self._send(await self._record.unsent())

    async def _handle(self, message: Received, deadline: float, group: asyncio.TaskGroup) -> None:
        try:
            command = await self._verified(message.payload, deadline)
        except InvalidCommand as error:
            kind = "bad signature" if isinstance(error, BadSignature) else "malformed"
            self._bad.count(kind, f"on {message.topic[:80]}: {error}")
            return
        try:
            devices = await self._accept(command, message.retained)
        except NoRecord as error:
            _log.error("command %s is not executed because it can't be recorded: %s", command.id, error)
            reason = "the agent's disk takes no record of it"
            self._hub.post(None, CommandResult(command=command.id, outcome="refused", reason=reason))
            return
        for name, device in devices.items():
            task = group.create_task(
                self._execute(command, name, device), name=f"command {command.arguments.kind} {name}"
            )
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _verified(self, payload: bytes, deadline: float) -> Command:
        """Return a command that is signed with a key that counts now; raises `InvalidCommand`."""
        keys = self._addressee.keys
        try:
            return read_command(payload, *self._keys_now())
        except BadSignature:
            # After an outage a command may come before the document that names its key.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await keys.settled.wait()
        try:
            return read_command(payload, *self._keys_now())
        except BadSignature:
            read_command(payload, *keys.at(None))
        raise BadSignature("signed with a command key that has ended")

    def _keys_now(self) -> tuple[Ed25519PublicKey, ...]:
        return self._addressee.keys.at(self._clock.now() if self._clock.known.is_set() else None)

    async def _accept(self, command: Command, retained: bool) -> dict[str, Device]:
        """Return the devices that execute a command, once that is on disk; none if it was refused or is known."""
        await self._prepare()
        first = await self._record.known_results(command.id)
        if first is not None:
            _log.info("command %s came again; answering the first results", command.id)
            await self._hand_over(first, self._outbox)
            return {}
        devices, refusal = await self._judge(command, retained)
        if not devices and not refusal:
            return {}
        if refusal:
            results = [self._hub.event(None, CommandResult(command=command.id, outcome="refused", reason=refusal))]
            _log.info("command %s (%s by %s) refused: %s", command.id, command.arguments.kind, command.issuer, refusal)
        else:
            results, devices = self._first_results(command, devices)
        if not self._clock.known.is_set():
            # A result without a date can't be answered again: whoever delivers the command twice hears nothing the second time.
            await self._record.add(command, [], self._clock.now())
            await self._hand_over(results, self._hub.sink)
            return {}
        await self._record.add(command, results, self._clock.now())
        self._executing |= {(command.id, name) for name in devices}
        await self._send(results)
        return devices

    def _first_results(self, command: Command, devices: dict[str, Device]) -> tuple[list[Event], dict[str, Device]]:
        """Return a result for each device, and those that execute: not what a later command has overtaken on its way."""
        results: list[Event] = []
        executing: dict[str, Device] = {}
        for name, device in devices.items():
            overtaken = self._overtaking.why_not(command, name)
            if overtaken:
                result = CommandResult(command=command.id, outcome="refused", reason=overtaken)
            else:
                result = CommandResult(command=command.id, outcome="accepted")
                executing[name] = device
                self._overtaking.acts(command, name)
            results.append(self._hub.event(name, result))
        return results, executing

    async def _send(self, results: list[Event]) -> None:
        if results and await self._hand_over(results, self._outbox):
            await self._record.mark_sent(results)

    async def _hand_over(self, results: list[Event], sink: Sink) -> bool:
        """Return whether the results are on disk; if not they are on their way from memory, and a lock does not wait for that."""
        try:
            await sink.add_events(results)
        except OutboxUnavailable as error:
            _log.debug("results are not on disk: %s", error)
            return False
        return True

    async def _judge(self, command: Command, retained: bool) -> tuple[dict[str, Device], str]:
        """Return the devices that execute the command, or why none does; neither where it is for others of its area."""
        target = command.target
        if retained:
            return {}, "retained"
        elsewhere = self._addressee.why_not(target)
        if elsewhere:
            return {}, elsewhere
        able = receivers(command, self._roster, self._loudspeakers.has)
        if not able and is_ignored(target):
            return {}, ""
        if not self._clock.known.is_set():
            return {}, "clock unsure: the agent does not know the time and can't judge the expiry"
        latest, not_before = await self._record.clock()
        now = self._clock.now()
        if command.issued < not_before:
            return {}, "the agent lost its record of commands; whether this one was executed is unknown"
        # A system clock that was set back must not revive a command that is expired by the collector's own account.
        if (now if self._clock.signed else max(now, latest)) >= command.expires:
            return {}, "expired"
        if command.issued > now + MAX_CLOCK_LAG:
            self._clock.connected()
            return {}, f"clock unsure: the command was issued {command.issued - now} after the agent's time"
        if target.device is not None and self._roster.find(target.device) is None:
            return {}, "no such device"
        if not able:
            return {}, why_nobody(command)
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
        event = self._hub.event(name, result)
        await self._record.finish(event)
        self._executing.discard((command.id, name))
        await self._send([event])
