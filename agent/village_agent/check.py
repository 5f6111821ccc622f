"""`village-agent check`: runs every driver for some seconds and tells what answers, what doesn't, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from village_agent.config import Settings
from village_agent.roster import Roster, Unit
from village_drivers.kit import Driver, DriverError, DriverEvent
from village_wire.points import Value
from village_wire.session import NotAuthorised, SessionError, SessionSettings, connect
from village_wire.states import Status, advice

#: Appended to the client ids, so that a check does not push a running agent off its brokers.
CLIENT_SUFFIX = "-check"


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one device; of the collector's broker with an empty `device`."""

    device: str
    driver: str
    kind: str
    status: Status
    code: str
    evidence: str

    def as_json(self) -> dict[str, object]:
        """The row for programs."""
        texts = {"en": advice(self.code, "en"), "zh": advice(self.code, "zh")}
        return {
            "device": self.device,
            "driver": self.driver,
            "kind": self.kind,
            "status": self.status,
            "code": self.code,
            "evidence": self.evidence,
            "advice": texts,
        }


class _Findings:
    """A `kit.Report` that keeps the states and lets readings and events go."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[Status, str, str]] = {}
        self.heard = asyncio.Event()

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        """See `kit.Report`."""

    def event(self, device: str, event: DriverEvent) -> None:
        """See `kit.Report`."""

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        """See `kit.Report`."""
        self.states[device] = (status, code, evidence)
        self.heard.set()

    def devices_changed(self) -> None:
        """See `kit.Report`."""
        self.heard.set()


async def check(settings: Settings, roster: Roster, seconds: float) -> list[Row]:
    """Return a row for the collector's broker and one per device; ends early when everything has answered."""
    async with asyncio.TaskGroup() as group:
        broker = group.create_task(_check_broker(settings, seconds), name="check broker")
        units = [
            group.create_task(_check_unit(unit, seconds), name=f"check {name}") for name, unit in roster.units.items()
        ]
    return [broker.result(), *(row for unit in units for row in unit.result())]


def worst(rows: list[Row]) -> Literal["ok", "degraded", "down"]:
    """Return the worst status; what is not known counts as down."""
    found = {row.status for row in rows}
    if found & {"down", "unknown"}:
        return "down"
    return "degraded" if "degraded" in found else "ok"


async def _check_broker(settings: Settings, seconds: float) -> Row:
    address = settings.address
    try:
        async with asyncio.timeout(seconds):
            async with connect(SessionSettings(address, f"agent-{settings.agent.id}{CLIENT_SUFFIX}")):
                return Row("", "", "collector", "ok", "works", f"{address.url} accepts this agent")
    except NotAuthorised as error:
        return Row("", "", "collector", "down", "unauthorised", str(error))
    except SessionError as error:
        return Row("", "", "collector", "down", "collector_lost", str(error))
    except TimeoutError:
        return Row("", "", "collector", "down", "collector_lost", f"{address.url} did not answer within {seconds:g} s")


async def _check_unit(unit: Unit, seconds: float) -> list[Row]:
    findings = _Findings()
    running = asyncio.create_task(unit.driver.run(findings), name=f"driver {unit.config.id}")
    running.add_done_callback(lambda _: findings.heard.set())
    try:
        async with asyncio.timeout(seconds):
            while not running.done() and not _answered(unit.driver, findings):
                await findings.heard.wait()
                findings.heard.clear()
    except TimeoutError:
        pass
    failure = _failure(running) if running.done() else None
    devices = dict(unit.devices())
    running.cancel()
    await asyncio.wait([running])
    rows = []
    for name, device in devices.items():
        silent: tuple[Status, str, str] = ("unknown", "starting", f"nothing heard within {seconds:g} s")
        status, code, evidence = failure or findings.states.get(name, silent)
        rows.append(Row(name, unit.config.driver, device.kind, status, code, evidence))
    if not devices:
        status, code, evidence = failure or (
            "unknown",
            "not_announced",
            f"no device announced itself within {seconds:g} s",
        )
        rows.append(Row(unit.config.id, unit.config.driver, "", status, code, evidence))
    return rows


def _answered(driver: Driver, findings: _Findings) -> bool:
    devices = driver.devices()
    return bool(devices) and all(findings.states.get(name, ("", "", ""))[0] in {"ok", "degraded"} for name in devices)


def _failure(task: asyncio.Task[None]) -> tuple[Status, str, str] | None:
    error = None if task.cancelled() else task.exception()
    if error is None:
        return None
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DriverError):
        return "down", error.code, str(error)
    return "down", "driver_failed", f"{type(error).__name__}: {error}"[:500]
