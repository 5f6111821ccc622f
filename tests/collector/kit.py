"""Real stores, signed commands as they leave, and events as agents send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder, Name, NameAttribute, load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from sqlalchemy import Connection, insert

from village_collector.ports import BadLine, Field, ReceivedEvents, Sample, StoreUnavailable
from village_collector.stores import tables
from village_collector.stores.control import ControlStore
from village_collector.trust.authority import Authority, own_certificate
from village_wire.address import SessionError
from village_wire.commands import Command, read_command
from village_wire.events import CommandResult, Event, EventData, StateChanged
from village_wire.ids import uuid7
from village_wire.outgoing import Publication
from village_wire.presence import AgentStatus, DeviceEntry, Inventory
from village_wire.states import Status

VILLAGE = "441900003001"
TOWNSHIP = "441900003000"
OTHER = "441900004001"
T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SESSION = "a" * 32
OLD_SESSION = "b" * 32


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def status(online: bool, session: str = SESSION) -> AgentStatus:
    return AgentStatus(online=online, session=session, version="0.1.0", since=T0)


def entry(
    device: str, *abilities: str, kind: str = "", name: str = "", firmware: str = "", tags: tuple[str, ...] = ()
) -> DeviceEntry:
    return DeviceEntry(
        id=device, driver="test", kind=kind or device, abilities=abilities, name=name, firmware=firmware, tags=tags
    )


def inventory(agent: str, *devices: DeviceEntry, area: str = VILLAGE) -> Inventory:
    return Inventory(agent=agent, area=area, config_version="1", devices=devices)


SITE = (
    entry("camera", "camera"),
    entry("reader", "door", "indicator", firmware="2.1"),
    entry("speaker", "loudspeaker", "file_player", name="村口"),
)


def event(data: EventData, device: str | None = None, *, time: datetime = T0, identity: UUID | None = None) -> Event:
    return Event(id=identity or uuid7(int(time.timestamp() * 1000)), time=time, device=device, data=data)


def state(
    device: str | None,
    value: Status = "ok",
    code: str = "works",
    *,
    time: datetime = T0,
    session: str = SESSION,
    evidence: str = "",
) -> Event:
    return event(
        StateChanged(status=value, code=code, evidence=evidence, since=time, session=session), device, time=time
    )


def batch(agent: str, *events: Event, received: datetime = T0) -> ReceivedEvents:
    return ReceivedEvents(agent, received, events)


def result(command: UUID | str, outcome: str, device: str | None, *, reason: str = "", time: datetime = T0) -> Event:
    data = CommandResult.model_validate({"command": str(command), "outcome": outcome, "reason": reason})
    return event(data, device, time=time)


def add_site(
    control: ControlStore, agent: str = "gate-1", *devices: DeviceEntry, area: str = VILLAGE, online: bool = True
) -> None:
    """An agent that is connected and has reported nothing yet."""
    control.store_status(agent, status(online), T0)
    control.store_inventory(inventory(agent, *(devices or SITE), area=area), T0)
    control.touch({agent: T0})


def settle(control: ControlStore, areas: Mapping[str, str], *devices: DeviceEntry) -> None:
    """Many agents with the same devices, as their inventories would leave them, in one transaction; `areas` by agent."""
    rows = [
        {
            "agent": agent,
            "device": device.id,
            "abilities": "".join(f" {ability} " for ability in device.abilities),
            "driver": device.driver,
            "kind": device.kind,
            "name": device.name,
            "firmware": device.firmware,
        }
        for agent in areas
        for device in devices
    ]

    def work(connection: Connection) -> None:
        connection.execute(insert(tables.agents), [{"agent": agent, "area": area} for agent, area in areas.items()])
        connection.execute(insert(tables.devices), rows)

    control._database.write(work)


def make_authority() -> Authority:
    """An authority of the day of `T0`, without files."""
    key = generate_private_key(SECP256R1())
    return Authority(key, load_pem_x509_certificate(own_certificate(key, T0)))


def signing_request(key: EllipticCurvePrivateKey, name: str = "") -> str:
    """What a box with this key sends (PEM)."""
    subject = Name([NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    request = CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return request.public_bytes(Encoding.PEM).decode()


@dataclass
class Outbox:
    """Takes what a command service publishes, as the broker would. `broken` is why it does not."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    sent: list[Publication] = field(default_factory=list)
    broken: str = ""

    def signer(self) -> Ed25519PrivateKey:
        return self.key

    async def publish(self, message: Publication) -> None:
        if self.broken:
            raise SessionError(self.broken)
        self.sent.append(message)

    async def send(self, messages: Sequence[Publication]) -> None:
        for message in messages:
            await self.publish(message)

    def commands(self) -> list[Command]:
        """Every command sent, its signature verified."""
        return [read_command(message.payload, self.key.public_key()) for message in self.sent]


class MemoryTelemetry:
    """A telemetry store without disk, for the API's reads. `broken` is why it can't be read."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, str, str, str], list[Sample]] = {}
        self.broken = ""

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def write(self, lines: bytes) -> Sequence[BadLine]:
        raise StoreUnavailable(f"takes no {len(lines)} bytes")

    async def fields(self, agent: str, device: str) -> Sequence[Field]:
        if self.broken:
            raise StoreUnavailable(self.broken)
        found = sorted((key, samples) for key, samples in self.samples.items() if key[:2] == (agent, device))
        return [Field(kind, name, samples[-1]) for (_, _, kind, name), samples in found]

    async def latest(self, kind: str, device: str) -> Mapping[str, Sequence[Field]]:
        agents = {key[0] for key in self.samples if key[1:3] == (device, kind)}
        return {agent: [found for found in await self.fields(agent, device) if found.kind == kind] for agent in agents}

    async def history(
        self, agent: str, device: str, kind: str, field: str, start: datetime, end: datetime, limit: int
    ) -> Sequence[Sample]:
        found = self.samples[agent, device, kind, field]
        return [sample for sample in found if start <= sample.time < end][:limit]
