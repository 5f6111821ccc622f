"""Small drivers and a whole agent without a network, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from village_agent import report
from village_agent.disk import DiskThread
from village_agent.outbox.items import Lane
from village_agent.outbox.outbox import Outbox, OutboxUnavailable
from village_agent.report import Hub
from village_agent.roster import Roster, Unit
from village_agent.states import StateTable
from village_agent.steadiness import Holds
from village_drivers.abilities import Colour
from village_drivers.kit import Device, Driver, DriverConfig, Report
from village_wire.events import Event, EventData

SESSION = "5e" * 16
AREA = "330110101205"
Run = Callable[[Report], Awaitable[None]]


def make_event(device: str | None, data: EventData) -> Event:
    """An event that happens now."""
    return report.make_event(device, data, time.time_ns())


async def forever(report: Report) -> None:
    await asyncio.get_running_loop().create_future()


class ScriptedDriver:
    """A driver whose `run` is given by the test."""

    Config: ClassVar[type[DriverConfig]] = DriverConfig

    def __init__(self, run: Run = forever, devices: Mapping[str, Device] | None = None) -> None:
        self._run = run
        self.known = dict(devices or {})
        self.runs = 0

    def devices(self) -> Mapping[str, Device]:
        return self.known

    async def run(self, report: Report) -> None:
        self.runs += 1
        await self._run(report)


class Speaker:
    """Speaks until the test says that the sound is out."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.finish = asyncio.Event()
        self.speaking = asyncio.Event()
        self.error: Exception | None = None
        self.stopped = 0

    async def say(self, text: str, volume: float | None) -> str:
        self.said.append(text)
        self.speaking.set()
        await self.finish.wait()
        self.finish.clear()
        self.speaking.clear()
        if self.error is not None:
            raise self.error
        return f"{len(text)} characters"

    async def stop(self) -> None:
        self.stopped += 1
        self.finish.set()


class Gate:
    """A lock with a light."""

    def __init__(self) -> None:
        self.unlocked: list[float] = []
        self.lights: list[Colour] = []
        self.error: Exception | None = None
        self.changed = asyncio.Event()

    async def unlock(self, seconds: float) -> None:
        if self.error is not None:
            raise self.error
        self.unlocked.append(seconds)
        self.changed.set()

    async def indicate(self, colour: Colour, buzzer: bool, seconds: float) -> None:
        self.lights.append(colour)
        self.changed.set()


class HangingGate(Gate):
    """A lock that never says that it is done."""

    async def unlock(self, seconds: float) -> None:
        self.unlocked.append(seconds)
        await asyncio.get_running_loop().create_future()


def unit(name: str, driver: Driver, *tags: str) -> Unit:
    return Unit(DriverConfig(id=name, driver="test", tags=tags), driver)


def single(name: str, handle: object, run: Run = forever, tags: tuple[str, ...] = ()) -> Unit:
    return unit(name, ScriptedDriver(run, {name: Device("test", handle)}), *tags)


@dataclass
class Site:
    """The parts of an agent that need no broker."""

    disk: DiskThread
    outbox: Outbox
    hub: Hub
    roster: Roster
    seen: list[Event] = field(default_factory=list)

    def state(self, device: str) -> str:
        """`status code` of a device, as in `ok works`."""
        state = self.hub.states.get(device)
        return f"{state.status} {state.code}" if state else "none"

    async def events(self) -> list[Event]:
        """All events so far, in the order in which they were recorded."""
        with contextlib.suppress(OutboxUnavailable):
            await self.outbox.add_events([])
        while True:
            batch = await self.outbox.next_batch(Lane.EVENT)
            if batch is None:
                return self.seen
            self.seen += [Event.model_validate_json(content) for content in batch.contents]

    async def until(
        self, kind: str, condition: Callable[[list[Event]], bool] = bool, seconds: float = 5.0
    ) -> list[Event]:
        """Wait until the events of a kind fulfil a condition, and return them."""
        async with asyncio.timeout(seconds):
            while True:
                found = [event for event in await self.events() if event.data.kind == kind]
                if condition(found):
                    return found
                await asyncio.sleep(0.01)


@asynccontextmanager
async def site(folder: Path, *units: Unit) -> AsyncIterator[Site]:
    disk = DiskThread()
    outbox = Outbox(folder / "outbox.db", 10_000_000, disk)
    writer = asyncio.create_task(outbox.run())
    try:
        hub = Hub("box", SESSION, outbox, StateTable(Holds(worse=0, better=0)), time.time_ns)
        yield Site(disk, outbox, hub, Roster({one.config.id: one for one in units}))
    finally:
        writer.cancel()
        await asyncio.wait([writer])
        await outbox.close()
        await disk.close()


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something for the length of a block."""
    task = asyncio.ensure_future(work)
    assert isinstance(task, asyncio.Task)
    try:
        yield task
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll a condition of something that can't be awaited."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def toml(value: object) -> str:
    """A TOML value."""
    return json.dumps(value, ensure_ascii=False)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
