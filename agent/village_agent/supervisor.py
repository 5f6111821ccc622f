"""Runs every driver in a task of its own, restarts it after a failure, and keeps the state of its devices."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from village_agent.report import Hub, UnitReport
from village_agent.roster import Roster, Unit
from village_drivers.kit import DriverError, Misconfigured
from village_wire.backoff import full_jitter

_log = logging.getLogger(__name__)

#: Longest wait between two tries to reach a device.
RETRY_CAP = 60.0
#: Somebody may have mended the site: a refused setting is tried again this seldom.
MISCONFIGURED_SECONDS = 300.0
#: A driver that worked for this long starts again with short waits.
STEADY_SECONDS = 30.0
#: A device of which nothing is heard for so long after its driver's start is called down.
SILENT_SECONDS = 60.0
#: Pace at which lasting conditions are told.
_WATCH_SECONDS = 1.0


class Supervisor:
    """One per agent. `restarts` counts driver runs that ended; `last_beat` is the monotonic time of its last sign of life."""

    def __init__(self, roster: Roster, hub: Hub) -> None:
        self._roster = roster
        self._hub = hub
        self._known_failures: dict[str, str] = {}
        self._starting: dict[str, float] = {}
        self.restarts = 0
        self.last_beat = time.monotonic()

    async def run(self) -> None:
        """Run until cancelled."""
        self.refresh()
        async with asyncio.TaskGroup() as group:
            for name, unit in self._roster.units.items():
                group.create_task(self._keep_running(name, unit), name=f"driver {name}")
            group.create_task(self._watch(), name="watch states")

    def refresh(self) -> None:
        """Note devices that came or went."""
        names = [name for name, _, _ in self._roster.devices()]
        self._hub.states.keep_only(names)
        for name in names:
            if self._hub.states.get(name) is None:
                self._hub.set_state(name, "unknown", "starting", "")

    async def _keep_running(self, name: str, unit: Unit) -> None:
        report = UnitReport(unit, self._hub)
        attempt = 0
        while True:
            begun = time.monotonic()
            try:
                await unit.driver.run(report)
                error: Exception = RuntimeError("the driver ended without a reason")
            # The outermost edge of a driver: whatever it raises must not reach another one.
            except Exception as raised:  # noqa: BLE001
                error = raised
            self.restarts += 1
            if time.monotonic() - begun >= STEADY_SECONDS:
                attempt = 0
            failure = self._failed(name, unit, error)
            seconds = full_jitter(attempt, random.random(), cap=RETRY_CAP)
            await asyncio.sleep(MISCONFIGURED_SECONDS if isinstance(failure, Misconfigured) else seconds)
            attempt += 1

    def _failed(self, name: str, unit: Unit, error: Exception) -> DriverError:
        failure = _driver_error(error)
        if failure is None:
            text = f"{type(error).__name__}: {error}"[:500]
            if self._known_failures.get(name) != text:
                self._known_failures[name] = text
                _log.error("driver %s failed; it will be started again", name, exc_info=error)
            failure = DriverError("driver_failed", text)
        for device in unit.rows():
            self._hub.set_state(device, "down", failure.code, str(failure))
        return failure

    async def _watch(self) -> None:
        while True:
            self.last_beat = time.monotonic()
            self._hub.settle()
            starting = [device for device, state in self._hub.states if state.code == "starting"]
            self._starting = {device: self._starting.get(device, self.last_beat) for device in starting}
            for device, since in self._starting.items():
                if self.last_beat - since > SILENT_SECONDS:
                    self._hub.set_state(
                        device,
                        "down",
                        "no_answer",
                        f"nothing heard for {SILENT_SECONDS:.0f} s after the driver's start",
                    )
            await asyncio.sleep(_WATCH_SECONDS)


def _driver_error(error: Exception) -> DriverError | None:
    """Return the driver's own error, also out of a task group's; None for anything else."""
    if isinstance(error, DriverError):
        return error
    if not isinstance(error, ExceptionGroup):
        return None
    found = [_driver_error(inner) for inner in error.exceptions]
    known = [inner for inner in found if inner is not None]
    if len(known) < len(found):
        return None
    return next((inner for inner in known if isinstance(inner, Misconfigured)), known[0])
