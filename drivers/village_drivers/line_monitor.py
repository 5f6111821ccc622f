"""Watching over a loudspeaker on a serial line, and reporting what it does, how it is, and how noisy its line is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from village_drivers.kit import NotConnected, Report
from village_drivers.line_noise import LineNoise
from village_wire.states import Status


@dataclass(frozen=True, slots=True)
class MonitorTiming:
    """Times in seconds."""

    #: Between status queries while nothing sounds.
    poll: float = 10.0
    #: Between readings that have not changed.
    reading: float = 300.0
    #: So long without noise is a clean line.
    quiet: float = 30.0


class LineMonitor:
    """Watches over one loudspeaker. It reports from `begin` to `end` of a connection."""

    def __init__(self, device: str, volume: float, condition: Callable[[], tuple[Status, str, str]]) -> None:
        """`condition` returns status, code and evidence of a device that answers; one that does not ends `watch`."""
        self.busy = False
        self._device = device
        self._volume = volume
        self._condition = condition
        self._timing = MonitorTiming()
        self._noise = LineNoise(self._timing.quiet)
        self._report: Report | None = None
        self._answered = False
        self._look_now = asyncio.Event()

    def begin(self, report: Report, timing: MonitorTiming) -> None:
        """Report to `report` from the device's first answer on."""
        self._report, self._timing, self._answered = report, timing, False
        self._noise.quiet = timing.quiet

    def end(self) -> None:
        """Report nothing more."""
        self._report = None

    async def serve(self, **tasks: Coroutine[Any, Any, None]) -> None:
        """Run tasks until one raises `NotConnected`, which is raised; repeat the reading meanwhile."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, task in tasks.items():
                    group.create_task(task, name=f"{self._device} {name}")
                group.create_task(self._tell(), name=f"{self._device} tells")
        except* NotConnected as errors:
            raise errors.exceptions[0] from None

    async def watch(self, look: Callable[[], Awaitable[None]]) -> None:
        """Call `look` every `poll` seconds and after `look_now`. It returns where the device has answered, and raises `NotConnected` otherwise."""
        while True:
            self._look_now.clear()
            await look()
            if not self._answered:
                self._answered = True
                self._read()
            self.judge()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.poll):
                    await self._look_now.wait()

    def look_now(self) -> None:
        """Let `watch` look without waiting."""
        self._look_now.set()

    def set(self, *, busy: bool, volume: float | None = None) -> None:
        """Take note of what the device does; `volume` None: as before."""
        before = self.busy, self._volume
        self.busy = busy
        self._volume = self._volume if volume is None else volume
        if before != (self.busy, self._volume):
            self._read()

    def heard_noise(self, count: int) -> None:
        """Take note of `count` strange bytes."""
        self._noise.heard(count, asyncio.get_running_loop().time())
        self.judge()

    def judge(self) -> None:
        """Report the condition of a device that has answered; of one without a fault, that of its line."""
        if self._report is None or not self._answered:
            return
        status, code, evidence = self._condition()
        now = asyncio.get_running_loop().time()
        if status == "ok" and self._noise.present(now):
            status, code, evidence = "degraded", "noise", self._noise.evidence(now)
        self._report.state(self._device, status, code, evidence)

    def no_answer(self, port: str, attempts: int) -> NotConnected:
        """Return the error for a device that answered none of so many status queries."""
        evidence = f"{port}: no answer to {attempts} status queries"
        if self._noise.present(asyncio.get_running_loop().time()):
            evidence += f", but {self._noise.count}"
        return NotConnected("no_answer", evidence)

    async def _tell(self) -> None:
        """Repeat the reading, so that its absence means something."""
        while True:
            await asyncio.sleep(self._timing.reading)
            self._read()

    def _read(self) -> None:
        if self._report is not None:
            fields = {"busy": self.busy, "volume_percent": float(self._volume)}
            self._report.reading(self._device, "loudspeaker", fields)
