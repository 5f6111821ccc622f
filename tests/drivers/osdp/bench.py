"""A driver and emulated readers at the two ends of a cable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from village_drivers.abilities import Door, Indicator
from village_drivers.kit import BrokerPort, BrokerSettings, DriverError, DriverEvent
from village_drivers.osdp.config import BusConfig
from village_drivers.osdp.driver import OsdpBus
from village_drivers.osdp.reader import Reader
from village_emulators.line import Cable
from village_emulators.osdp_device import Told
from village_emulators.osdp_reader import OsdpReaders
from village_wire.points import Value, encode_point
from village_wire.states import ADVICE, Status

KEY = bytes(range(16))
OTHER_KEY = bytes(range(16, 32))


class LentServices:
    """The driver uses none."""

    state_dir = Path("/nonexistent")

    def connect_broker(self, settings: BrokerSettings) -> AbstractAsyncContextManager[BrokerPort]:
        raise NotImplementedError


@dataclass
class Log:
    """A `Report` for several devices."""

    readings: list[tuple[str, Mapping[str, Value]]] = field(default_factory=list)
    events: list[tuple[str, DriverEvent]] = field(default_factory=list)
    states: list[tuple[str, Status, str, str]] = field(default_factory=list)
    changes: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        encode_point(kind, "agent-1", device, fields, 1)
        self.readings.append((device, fields))
        self._changed.set()

    def event(self, device: str, event: DriverEvent) -> None:
        self.events.append((device, event))
        self._changed.set()

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        assert code in ADVICE
        self.states.append((device, status, code, evidence))
        self._changed.set()

    def devices_changed(self) -> None:
        self.changes += 1

    def now(self, device: str) -> tuple[Status, str] | None:
        """The last status and code of a device."""
        return next(((status, code) for name, status, code, _ in reversed(self.states) if name == device), None)

    def evidence(self, device: str) -> str:
        """The last evidence of a device."""
        return next(text for name, _, _, text in reversed(self.states) if name == device)

    def last_reading(self, device: str) -> Mapping[str, Value]:
        return next(fields for name, fields in reversed(self.readings) if name == device)

    async def until(self, condition: Callable[[], bool], seconds: float = 12) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def heard(self, device: str, event: DriverEvent) -> None:
        await self.until(lambda: (device, event) in self.events)

    async def state_is(self, device: str, code: str, seconds: float = 12) -> None:
        await self.until(lambda: (now := self.now(device)) is not None and now[1] == code, seconds)


@dataclass
class Bench:
    """Everything a test touches."""

    cable: Cable
    readers: OsdpReaders
    driver: OsdpBus
    log: Log
    run: asyncio.Task[None]

    def door(self, device: str) -> Door:
        handle = self.driver.devices()[device].handle
        assert isinstance(handle, Door)
        return handle

    def indicator(self, device: str) -> Indicator:
        handle = self.driver.devices()[device].handle
        assert isinstance(handle, Indicator)
        return handle

    def reader(self, device: str) -> Reader:
        return cast("Reader", self.driver.devices()[device].handle)

    def outputs(self, address: int) -> list[Told]:
        return [
            told for told in self.readers.told if told["event"] == "output" and told["reader"] == address and told["on"]
        ]

    async def polled(self, times: int = 3) -> None:
        """Wait until every reader that works has been polled a few times: what was to be sent has been sent."""
        loop = asyncio.get_running_loop()
        await self.log_after(loop.time() + 0.051 * times + 0.1)

    async def log_after(self, time: float) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_at(time, done.set_result, None)
        await done


def reader_config(address: int, **changes: object) -> dict[str, object]:
    return {"id": f"r{address}", "address": address, "scbk": KEY.hex(), **changes}


def bus(port: str, *readers: dict[str, object]) -> OsdpBus:
    config: dict[str, Any] = {"id": "bus", "driver": "osdp", "port": port, "readers": list(readers)}
    return OsdpBus(BusConfig.model_validate(config), LentServices())


@asynccontextmanager
async def bench(
    *readers: dict[str, object],
    key: bytes | None = KEY,
    enforce_secure: bool = True,
    addresses: tuple[int, ...] | None = None,
) -> AsyncIterator[Bench]:
    """Run driver and readers; by default one reader with the right key at each configured address."""
    there = addresses if addresses is not None else tuple(cast("int", reader["address"]) for reader in readers)
    async with Cable() as cable, OsdpReaders(cable.b, there, key, enforce_secure=enforce_secure) as emulated:
        driver, log = bus(cable.a, *readers), Log()
        site = Bench(cable, emulated, driver, log, asyncio.create_task(driver.run(log), name="driver under test"))
        try:
            yield site
        finally:
            site.run.cancel()
            with suppress(asyncio.CancelledError, DriverError):
                await site.run
