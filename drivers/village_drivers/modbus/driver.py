"""The Modbus driver: polls a board, reports what changed and switches its relays."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from pymodbus.pdu.bit_message import ReadCoilsRequest, WriteSingleCoilRequest

from village_drivers.kit import Device, DriverConfig, DriverError, NotConnected, Refused, Report, Services
from village_drivers.modbus.blocks import Block, Entry, blocks_of, request_of, scaled
from village_drivers.modbus.config import ModbusConfig, Register, Relay
from village_drivers.modbus.handles import RegisterMeter, RelayLock, RelaySwitch
from village_drivers.modbus.link import Link, RtuLink, TcpLink
from village_drivers.serial_line import SerialLine
from village_wire.points import Value

#: An unchanged value is reported this often, so that a reader can tell a steady value from a dead device.
REPEAT_SECONDS = 300.0
#: More commands than this wait for one board only when something has gone mad.
MAX_WAITING = 64
#: How long an open lock may hold up the driver's end.
SECURE_SECONDS = 2.0
#: A board that refuses to secure a lock is asked again after this time.
RETRY_SECONDS = 1.0


@dataclass(slots=True)
class _Switching:
    relay: Relay
    on: bool
    #: Switch back after this many seconds.
    seconds: float | None
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Measuring:
    register: Register
    done: asyncio.Future[float]


_Job = _Switching | _Measuring


@dataclass(slots=True)
class _Seen:
    value: float
    at: float


@dataclass(slots=True)
class _Session:
    """What lives as long as one connection."""

    link: Link
    report: Report
    jobs: asyncio.Queue[_Job] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    seen: dict[str, _Seen] = field(default_factory=dict)
    #: Locks that the board refused to secure.
    stuck: set[str] = field(default_factory=set)


class ModbusBoard:
    """One Modbus unit. Each configured relay, input and register is a device of kind `relay` or `lock`, `contact`, `register`.

    A lock is secured when its time is over, when the driver ends, and, in case power or line failed in between, when it
    connects again.
    """

    Config: ClassVar[type[DriverConfig]] = ModbusConfig

    def __init__(self, config: ModbusConfig, services: Services) -> None:  # noqa: ARG002 - the contract of all drivers
        self._config = config
        self._devices = {
            **{relay.id: self._relay_device(relay) for relay in config.relays},
            **{entry.id: Device("contact", None, entry.name) for entry in config.inputs},
            **{entry.id: Device("register", RegisterMeter(self, entry), entry.name) for entry in config.registers},
        }
        self._blocks = blocks_of(config)
        #: Locks that are open, with the time of the loop's clock at which to secure them.
        self._open: dict[str, float] = {}
        self._session: _Session | None = None
        self._lost = ("starting", "the board is not connected yet")

    def devices(self) -> Mapping[str, Device]:
        """As `kit.Driver.devices`; the board itself is none."""
        return self._devices

    async def run(self, report: Report) -> None:
        """As `kit.Driver.run`."""
        try:
            session = _Session(await self._connect(), report)
        except DriverError as error:
            self._lost = (error.code, str(error))
            raise
        self._session = session
        self._lost = ("stopped", "the driver was stopped")
        try:
            await self._serve(session)
        except DriverError as error:
            self._lost = (error.code, str(error))
            raise
        finally:
            self._session = None
            try:
                await self._secure_all(session)
            finally:
                session.link.close()
                while not session.jobs.empty():
                    _fail(session.jobs.get_nowait(), NotConnected(*self._lost))

    async def command(self, relay: Relay, on: bool, seconds: float | None) -> None:
        """Switch a relay, for some seconds or for good, and return when its coil was read back. Raises as `abilities.Switch`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(_Switching(relay, on, seconds, done))
        await done

    async def measure(self, register: Register) -> float:
        """Read a register now and return its scaled value. Raises as `abilities.Meter`."""
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._submit(_Measuring(register, done))
        return await done

    def _submit(self, job: _Job) -> None:
        if self._session is None:
            raise NotConnected(*self._lost)
        try:
            self._session.jobs.put_nowait(job)
        except asyncio.QueueFull:
            raise Refused("rejected", f"{MAX_WAITING} commands are waiting already") from None

    def _relay_device(self, relay: Relay) -> Device:
        if relay.door:
            return Device("lock", RelayLock(self, relay), relay.name)
        return Device("relay", RelaySwitch(self, relay), relay.name)

    async def _connect(self) -> Link:
        config = self._config
        if config.port is not None:
            return RtuLink(SerialLine.open(config.port, config.baudrate), config.unit, config.baudrate)
        return await TcpLink.connect(config.host or "", config.tcp_port, config.unit)

    async def _serve(self, session: _Session) -> None:
        """One request at a time: locks that are due, then commands, then reading."""
        clock = asyncio.get_running_loop().time
        now = clock()
        for relay in self._config.relays:
            if relay.door:
                self._open.setdefault(relay.id, now)
        next_poll = now
        to_read: deque[Block] = deque()
        while True:
            now = clock()
            due = [relay for relay in self._config.relays if self._open.get(relay.id, now + 1) <= now]
            if due:
                await self._secure(session, due[0])
            elif not session.jobs.empty():
                await self._perform(session, session.jobs.get_nowait())
            elif to_read:
                await self._read(session, to_read)
            elif now >= next_poll:
                to_read.extend(self._blocks)
                next_poll = now + self._config.poll_seconds
            else:
                job = None
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min([next_poll, *self._open.values()])):
                        job = await session.jobs.get()
                if job is not None:
                    await self._perform(session, job)

    async def _perform(self, session: _Session, job: _Job) -> None:
        if job.done.done():
            return
        try:
            if isinstance(job, _Measuring):
                value = await self._measure(session, job.register)
                if not job.done.done():
                    job.done.set_result(value)
            else:
                await self._switch(session, job)
                if not job.done.done():
                    job.done.set_result(None)
        except Refused as error:
            _fail(job, error)
        except NotConnected as error:
            _fail(job, NotConnected(error.code, str(error)))
            raise
        finally:
            _fail(job, NotConnected("stopped", "the driver was stopped"))

    async def _switch(self, session: _Session, job: _Switching) -> None:
        if job.seconds is not None:
            # Before the coil is written: should the answer get lost, the lock may be open all the same.
            until = asyncio.get_running_loop().time() + job.seconds
            self._open[job.relay.id] = max(until, self._open.get(job.relay.id, until))
        await self._set(session, job.relay, job.on)

    async def _measure(self, session: _Session, register: Register) -> float:
        [raw] = await session.link.ask(request_of(register))
        self._tell(session, register, raw)
        return scaled(register, raw)

    async def _set(self, session: _Session, relay: Relay, on: bool) -> None:
        coil = on != relay.normally_closed
        await session.link.ask(WriteSingleCoilRequest(address=relay.coil, bits=[coil]))
        found = await session.link.ask(ReadCoilsRequest(address=relay.coil, count=1))
        self._tell(session, relay, found[0])
        if bool(found[0]) != coil:
            raise Refused("rejected", f"coil {relay.coil} stayed {'on' if found[0] else 'off'}")

    async def _secure(self, session: _Session, relay: Relay) -> None:
        try:
            await self._set(session, relay, False)
        except Refused as error:
            self._open[relay.id] = asyncio.get_running_loop().time() + RETRY_SECONDS
            session.stuck.add(relay.id)
            session.report.state(relay.id, "degraded", error.code, f"the lock can't be secured: {error}")
        else:
            self._open.pop(relay.id, None)
            session.stuck.discard(relay.id)

    async def _secure_all(self, session: _Session) -> None:
        """Secure what is open before the line is given up; a line that is gone is tried again by the next `run`."""
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(SECURE_SECONDS):
                for relay in self._config.relays:
                    if relay.id in self._open:
                        await self._set(session, relay, False)
                        del self._open[relay.id]

    async def _read(self, session: _Session, to_read: deque[Block]) -> None:
        block = to_read.popleft()
        try:
            values = await session.link.ask(block.request)
        except Refused as error:
            singles = block.singles()
            if len(singles) > 1:
                # One address that the board lacks makes it refuse the whole block: find out which.
                self._blocks = [part for other in self._blocks for part in (singles if other is block else [other])]
                to_read.extendleft(reversed(singles))
                return
            session.report.state(block.entries[0].id, "degraded", error.code, f"{block}: {error}")
            return
        for entry, value in zip(block.entries, values, strict=True):
            self._tell(session, entry, value)
            if entry.id not in session.stuck:
                session.report.state(entry.id, "ok", "works", f"unit {self._config.unit} answers")

    def _tell(self, session: _Session, entry: Entry, raw: int) -> None:
        """Report a value if it is new, has moved or has not been reported for a while."""
        kind, field_name, value = _reading(entry, raw)
        now = asyncio.get_running_loop().time()
        seen = session.seen.get(entry.id)
        if seen is not None and now - seen.at < REPEAT_SECONDS:
            moved = abs(float(value) - seen.value)
            deadband = entry.deadband if isinstance(entry, Register) else 0.0
            if deadband is None or moved <= deadband:
                return
        session.seen[entry.id] = _Seen(float(value), now)
        session.report.reading(entry.id, kind, {field_name: value})


def _reading(entry: Entry, raw: int) -> tuple[str, str, Value]:
    """Return kind, field and value of a reading."""
    if isinstance(entry, Relay):
        on = bool(raw) != entry.normally_closed
        return ("lock", "locked", not on) if entry.door else ("switch", "on", on)
    if isinstance(entry, Register):
        return "register", "value", scaled(entry, raw)
    return "contact", "on", bool(raw)


def _fail(job: _Job, error: DriverError) -> None:
    if not job.done.done():
        job.done.set_exception(error)
