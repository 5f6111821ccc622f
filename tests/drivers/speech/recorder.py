"""Keeps what a driver reports, so that a test can wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from village_drivers.kit import BrokerPort, BrokerSettings, Driver, DriverEvent, Report
from village_wire.points import Value, encode_point
from village_wire.states import ADVICE, Status


@dataclass
class Recorder:
    """A `Report` that refuses what the wire would refuse."""

    readings: list[Mapping[str, Value]] = field(default_factory=list)
    states: list[tuple[Status, str, str]] = field(default_factory=list)
    events: list[DriverEvent] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        encode_point(kind, "agent-1", device, fields, 1)
        self.readings.append(fields)
        self._changed.set()

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        assert code in ADVICE
        self.states.append((status, code, evidence))
        self._changed.set()

    def event(self, device: str, event: DriverEvent) -> None:
        self.events.append(event)
        self._changed.set()

    def devices_changed(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[Recorder], bool], seconds: float = 15) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()


@dataclass
class LentServices:
    """`Services` for drivers that need no broker."""

    state_dir: Path = Path("/nonexistent")

    def connect_broker(self, settings: BrokerSettings) -> AbstractAsyncContextManager[BrokerPort]:
        raise NotImplementedError


@asynccontextmanager
async def running(driver: Driver, report: Report) -> AsyncIterator[asyncio.Task[None]]:
    """Run a driver for the length of the context and cancel it then; an error that it has raised comes out."""
    task = asyncio.create_task(driver.run(report), name="driver under test")
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
