"""Keeps what a driver reports, so that a test can wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from village_drivers.kit import BrokerPort, BrokerSettings, Driver, DriverError, DriverEvent, Report
from village_wire.points import Value, encode_point
from village_wire.states import ADVICE, Status


class Recorder:
    """A `Report` that refuses what the wire would refuse, and lets a test wait for a condition.

    `readings` are of all devices, `fields` their values alone; `states` is the present one of each device, `history` all there were.
    """

    def __init__(self) -> None:
        self.readings: list[tuple[str, str, dict[str, Value]]] = []
        self.events: list[tuple[str, DriverEvent]] = []
        self.states: dict[str, tuple[Status, str, str]] = {}
        self.history: list[tuple[Status, str, str]] = []
        self.changes = 0
        self._heard = asyncio.Event()

    @property
    def fields(self) -> list[dict[str, Value]]:
        return [fields for _, _, fields in self.readings]

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
        self.history.append((status, code, evidence))
        self._heard.set()

    def devices_changed(self) -> None:
        self.changes += 1
        self._heard.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        """Wait until `condition` holds; it is judged again after everything that is heard."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    def status(self, device: str) -> str:
        """Return `status code` of a device, as in `ok works`."""
        return " ".join(self.states.get(device, ("unknown", "starting", ""))[:2])


class NoServices:
    """`Services` for drivers that need no broker."""

    state_dir = Path("/nonexistent")

    def connect_broker(self, settings: BrokerSettings) -> AbstractAsyncContextManager[BrokerPort]:
        raise NotImplementedError


@asynccontextmanager
async def running(driver: Driver, report: Report, *, may_end: bool = False) -> AsyncIterator[asyncio.Task[None]]:
    """Run a driver for the length of the context and cancel it then.

    An error that it has raised comes out, unless it `may_end` and the test looks at the task itself.
    """
    task = asyncio.create_task(driver.run(report), name="driver under test")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not may_end and not task.cancelled():
            task.result()


async def ended(task: asyncio.Task[None], seconds: float = 10.0) -> DriverError:
    """Wait for a driver to end; return why it did."""
    async with asyncio.timeout(seconds):
        await asyncio.wait([task])
    error = task.exception()
    assert isinstance(error, DriverError), error
    return error
