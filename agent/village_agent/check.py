"""`village-agent check`: runs every driver for some seconds and tells what answers, what doesn't, and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from village_agent.clock.clock import from_ns
from village_agent.clock.system import synchronised_ns
from village_agent.config import Settings
from village_agent.exposed import exposed_files
from village_agent.identity.folder import Identity
from village_agent.roster import Roster, Unit
from village_drivers.kit import Driver, DriverError, DriverEvent
from village_wire.address import BrokerAddress, CertificateRefused, NotAuthorised, SessionError, SessionSettings
from village_wire.connection import connect
from village_wire.points import Value
from village_wire.states import Status, advice
from village_wire.tls import refused_certificate, tls_context

#: A refusal follows the handshake within a round trip.
_REFUSAL_SECONDS = 2.0
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
    """Return a row for an enrolled agent's identity, one for the collector's broker and one per device; ends early when all have answered."""
    identity = [] if settings.identity is None else [await asyncio.to_thread(_check_identity, settings.identity)]
    identity += await asyncio.to_thread(_check_secrets, settings)
    async with asyncio.TaskGroup() as group:
        broker = group.create_task(_check_broker(settings, seconds), name="check broker")
        units = [
            group.create_task(_check_unit(unit, seconds), name=f"check {name}") for name, unit in roster.units.items()
        ]
    return [*identity, broker.result(), *(row for unit in units for row in unit.result())]


def worst(rows: list[Row]) -> Literal["ok", "degraded", "down"]:
    """Return the worst status; what is not known counts as down."""
    found = {row.status for row in rows}
    if found & {"down", "unknown"}:
        return "down"
    return "degraded" if "degraded" in found else "ok"


def _check_identity(identity: Identity) -> Row:
    from village_agent.identity.telling import examine

    time_ns = synchronised_ns()
    now = None if time_ns is None else from_ns(time_ns)
    return Row("", "", "identity", *examine(identity, now))


def _check_secrets(settings: Settings) -> list[Row]:
    return [
        Row("", "", "secrets", "degraded", "secret_exposed", f"others may open {path}: chmod o= it")
        for path in exposed_files(settings)
    ]


async def _check_broker(settings: Settings, seconds: float) -> Row:
    address = settings.address
    try:
        async with asyncio.timeout(seconds):
            if settings.identity is not None and address.secure:
                await _shake_hands(address, settings.agent.trust_system_clock)
            else:
                async with connect(SessionSettings(address, f"agent-{settings.agent_id}{CLIENT_SUFFIX}")):
                    pass
            return Row("", "", "collector", "ok", "works", f"{address.url} accepts this agent")
    except CertificateRefused as error:
        return Row("", "", "collector", "down", "certificate_refused", str(error))
    except NotAuthorised as error:
        return Row("", "", "collector", "down", "unauthorised", str(error))
    except SessionError as error:
        return Row("", "", "collector", "down", "collector_lost", str(error))
    except TimeoutError:
        return Row("", "", "collector", "down", "collector_lost", f"{address.url} did not answer within {seconds:g} s")


async def _shake_hands(address: BrokerAddress, trust_clock: bool) -> None:
    """Find out whether the broker takes our certificate; raises `SessionError`.

    To log in besides would push a running agent off its broker, which gives each certificate one connection.
    """

    def trust() -> ssl.SSLContext:
        return tls_context(address, check_time=trust_clock and synchronised_ns() is not None)

    context = await asyncio.to_thread(trust)
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        try:
            # In TLS 1.3 a refusal comes after the handshake; otherwise the broker waits for us to speak.
            async with asyncio.timeout(_REFUSAL_SECONDS):
                if not await reader.read(1):
                    raise SessionError(f"{address.url} closes the connection")
        except TimeoutError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except OSError as error:
        refusal = refused_certificate(str(error))
        if refusal:
            raise CertificateRefused(f"{address.url} refuses this box's certificate: {refusal}") from None
        raise SessionError(f"{address.url}: {error}") from None


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
