"""A report that remembers, so that a test can wait for what a driver says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from village_drivers.kit import Driver, DriverEvent
from village_wire.points import Value, encode_point
from village_wire.states import ADVICE, Status


class Recorder:
    """Keeps readings, events and states, checks them against the wire's tables, and lets a test wait for a condition."""

    def __init__(self) -> None:
        self.readings: list[tuple[str, str, dict[str, Value]]] = []
        self.events: list[tuple[str, DriverEvent]] = []
        self.states: dict[str, tuple[Status, str, str]] = {}
        self.changes = 0
        self._heard = asyncio.Event()

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        encode_point(kind, "a", device, fields, 1)
        self.readings.append((device, kind, dict(fields)))
        self._heard.set()

    def event(self, device: str, event: DriverEvent) -> None:
        self.events.append((device, event))
        self._heard.set()

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        assert code in ADVICE, code
        self.states[device] = (status, code, evidence)
        self._heard.set()

    def devices_changed(self) -> None:
        self.changes += 1
        self._heard.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until `condition` holds; it is judged again after everything that is heard."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    def status(self, device: str) -> str:
        """Return `status code` of a device, as in `ok works`."""
        return " ".join(self.states.get(device, ("unknown", "starting", ""))[:2])


@asynccontextmanager
async def running(driver: Driver, report: Recorder) -> AsyncIterator[asyncio.Task[None]]:
    """Run a driver in a task that ends with the block; whatever it raises is left in the task."""
    task = asyncio.create_task(driver.run(report), name="driver")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class NoServices:
    """Services for drivers that use none."""

    state_dir = Path("/nonexistent")

    def connect_broker(self, settings: object) -> object:
        raise AssertionError("this driver has no broker")
