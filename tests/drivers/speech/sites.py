"""A speech chip's driver and emulator at the two ends of an emulated cable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.drivers.recorder import NoServices, Recorder
from village_drivers.kit import NotConnected
from village_drivers.serial_line import SerialLine
from village_drivers.speech.chip import SpeechChip
from village_drivers.speech.chip_type import Timing
from village_drivers.speech.syn6288 import Syn6288
from village_drivers.speech.xfs5152 import Xfs5152
from village_emulators.line import Cable
from village_emulators.speech_chip import SpeechChipEmulator
from village_emulators.syn6288 import Syn6288Emulator
from village_emulators.xfs5152 import Xfs5152Emulator

#: Life, some twenty times as fast.
SPEED = 20.0
QUICK = Timing(
    answer=0.4, poll=0.05, reading=0.2, quiet=0.3, expected_per_character=0.02, limit_per_character=0.05, slack=0.2,
    limit_slack=1.0, overdue_poll=0.1,
)  # fmt: skip

Kind = tuple[type[Syn6288] | type[Xfs5152], type[SpeechChipEmulator]]
KINDS: dict[str, Kind] = {"syn6288": (Syn6288, Syn6288Emulator), "xfs5152": (Xfs5152, Xfs5152Emulator)}


def make_driver(kind: Kind, port: str, timing: Timing = QUICK, **settings: Any) -> SpeechChip:
    """Make a driver as the agent does: from plain settings."""
    name = kind[0].__name__.lower()
    config = kind[0].Config.model_validate({"id": "horn-1", "driver": name, "port": port} | settings)
    driver = kind[0](config, NoServices())  # type: ignore[arg-type]
    driver.timing = timing
    return driver


@dataclass
class Site:
    """What a test acts on."""

    driver: SpeechChip
    emulator: SpeechChipEmulator
    cable: Cable
    #: The cable at the emulator's end; the same one, but for a dripping line.
    far: Cable
    report: Recorder
    run: asyncio.Task[None]

    @property
    def heard(self) -> list[str]:
        """The texts that came to their end."""
        return [spoken.text for spoken in self.emulator.spoken if spoken.complete]

    async def speaking(self) -> None:
        """Wait until the chip speaks."""
        await until(lambda: self.emulator.busy)


@dataclass
class Drip:
    """Joins two cables by a relay that passes one byte at a time."""

    near: Cable
    far: Cable

    async def run(self) -> None:
        """Relay until cancelled."""
        with SerialLine.open(self.near.b, 9600) as near, SerialLine.open(self.far.a, 9600) as far:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(near, far))
                group.create_task(self._relay(far, near))

    @staticmethod
    async def _relay(source: SerialLine, target: SerialLine) -> None:
        while True:
            await target.write(await source.read(1))
            await asyncio.sleep(0)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def site(
    kind: Kind, *, timing: Timing = QUICK, speed: float = SPEED, drip: bool = False, **settings: Any
) -> AsyncIterator[Site]:
    """Connect a driver and an emulator, run both, and wait until the driver reports that the chip works."""
    report = Recorder()
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(Cable())
        far = near
        if drip:
            far = await stack.enter_async_context(Cable())
            dripping = asyncio.create_task(Drip(near, far).run(), name="drip")
            stack.push_async_callback(_end, dripping)
        emulator = await stack.enter_async_context(kind[1](far.b, speed=speed))
        driver = make_driver(kind, near.a, timing, **settings)
        run = asyncio.create_task(driver.run(report), name="driver under test")
        stack.push_async_callback(_end, run)
        await report.until(lambda: ("ok", "works") in [state[:2] for state in report.history])
        yield Site(driver, emulator, near, far, report, run)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, NotConnected):
        await task
