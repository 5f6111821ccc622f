"""The driver and the emulated board at the two ends of an emulated cable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.drivers.recorder import NoServices, Recorder
from village_drivers.dfplayer.config import DfPlayerConfig, Timing
from village_drivers.dfplayer.driver import DfPlayer
from village_drivers.kit import NotConnected
from village_emulators.dfplayer import DfPlayerEmulator
from village_emulators.line import Cable

#: Life, some twenty times as fast.
SPEED = 20.0
QUICK = Timing(answer=0.3, poll=0.1, watch=0.1, settle=0.05, start=0.5, twice=0.1, reading=0.3, quiet=0.4)


def make_driver(port: str, timing: Timing = QUICK, **settings: Any) -> DfPlayer:
    """Make a driver as the agent does: from plain settings."""
    plain = {"id": "horn-1", "driver": "dfplayer", "port": port, "gap_seconds": 0.02}
    driver = DfPlayer(DfPlayerConfig.model_validate(plain | settings), NoServices())
    driver.timing = timing
    return driver


@dataclass
class Site:
    """What a test acts on."""

    driver: DfPlayer
    board: DfPlayerEmulator
    cable: Cable
    report: Recorder
    run: asyncio.Task[None]

    @property
    def heard(self) -> list[tuple[str, int]]:
        """The tracks that came to their end."""
        return [(played.folder, played.number) for played in self.board.played if played.complete]

    async def playing(self) -> None:
        """Wait until the driver knows that a track sounds."""
        await self.report.until(lambda: bool(self.report.fields) and self.report.fields[-1]["busy"] is True)

    async def state(self, *wanted: str) -> None:
        """Wait for a status and code."""
        await self.report.until(lambda: self.report.history[-1:] != [] and self.report.history[-1][:2] == wanted)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def site(
    *faults: str, timing: Timing = QUICK, speed: float = SPEED, wanted: str = "works", **settings: Any
) -> AsyncIterator[Site]:
    """Connect a driver and a board, run both, and wait until the driver reports a code."""
    report = Recorder()
    async with AsyncExitStack() as stack:
        cable = await stack.enter_async_context(Cable())
        board = await stack.enter_async_context(DfPlayerEmulator(cable.b, speed=speed, faults=frozenset(faults)))
        driver = make_driver(cable.a, timing, **settings)
        run = asyncio.create_task(driver.run(report), name="driver under test")
        stack.push_async_callback(_end, run)
        await report.until(lambda: wanted in [state[1] for state in report.history])
        yield Site(driver, board, cable, report, run)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, NotConnected):
        await task
