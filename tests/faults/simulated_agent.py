"""An agent without devices: it makes numbered events and readings, keeps them until they are acknowledged, and sends them again.

It uses nothing but `village_wire`, knows no disk, and is small enough for hundreds in one process. `compare` (`tests.faults.compare`)
tells what of its work is stored.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from village_wire.address import BrokerAddress, SessionError, SessionSettings, Subscription
from village_wire.commands import ABILITIES, InvalidCommand, read_command
from village_wire.connection import Connection, connect
from village_wire.events import (
    CONTENT_JSON,
    ButtonPressed,
    CommandResult,
    Event,
    EventData,
    StateChanged,
    encode_events,
)
from village_wire.ids import uuid7
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.points import CONTENT_DEFLATED, CONTENT_LINES, deflate, encode_point
from village_wire.presence import Ack, AgentStatus, DeviceEntry, Inventory, decode_message, encode_message
from village_wire.topics import AgentTopic, agent_subscriptions

AREA = "441900003001"
#: The devices that numbered work comes from, and a loudspeaker that obeys commands.
BUTTON, METER, SPEAKER = "button", "meter", "speaker"
KIND, FIELD = "register", "value"
DEVICES = (
    DeviceEntry(id=BUTTON, driver="simulated", kind="button"),
    DeviceEntry(id=METER, driver="simulated", kind="register"),
    DeviceEntry(id=SPEAKER, driver="simulated", kind="loudspeaker", abilities=("loudspeaker", "switch")),
)
#: As of the real agent's uplink.
WINDOW = 8

Lane = Literal["event", "telemetry"]


@dataclass(slots=True)
class _Batch:
    id: str
    lane: Lane
    payload: bytes
    content_type: str
    #: Monotonic time at which it is to be sent (again).
    due: float = 0.0


@dataclass(slots=True)
class SimulatedAgent:
    """One agent. `addresses` are tried in turn: an agent whose broker died goes to the next one.

    `key` verifies commands; without it commands are not obeyed. `ack_seconds` is the time after which a batch is sent again.
    """

    addresses: Sequence[BrokerAddress]
    agent: str
    area: str = AREA
    key: Ed25519PublicKey | None = None
    ack_seconds: float = 2.0
    keep_alive: int = 30
    devices: Sequence[DeviceEntry] = DEVICES
    compress: bool = True
    #: What was produced: event id -> number; microseconds since 1970 -> number.
    events: dict[str, int] = field(default_factory=dict)
    readings: dict[int, int] = field(default_factory=dict)
    #: Commands carried out: id -> monotonic time of the first delivery. Deliveries counts each, repeats too.
    commands: dict[UUID, float] = field(default_factory=dict)
    deliveries: defaultdict[UUID, int] = field(default_factory=lambda: defaultdict(int))
    refused: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    resent: int = 0
    session: str = field(default_factory=lambda: secrets.token_hex(16))
    _batches: dict[Lane, dict[str, _Batch]] = field(default_factory=lambda: {"event": {}, "telemetry": {}})
    _connection: Connection | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _empty: asyncio.Event = field(default_factory=asyncio.Event)
    _next_event: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _next_reading: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _last_us: int = 0

    @property
    def pending(self) -> int:
        """Batches that are not acknowledged."""
        return sum(map(len, self._batches.values()))

    @property
    def connected(self) -> bool:
        """Whether a broker has it now."""
        return self._connection is not None

    def produce(self, events: int, lines: int) -> None:
        """Make that many events and readings, as one batch of each."""
        if events:
            made: list[Event] = []
            for number in itertools.islice(self._next_event, events):
                made.append(self._event(ButtonPressed(action=str(number)), BUTTON))
                self.events[str(made[-1].id)] = number
            self._add("event", encode_events(made), CONTENT_JSON)
        if lines:
            content = b"\n".join(self._reading() for _ in range(lines))
            if self.compress:
                self._add("telemetry", deflate(content), CONTENT_DEFLATED)
            else:
                self._add("telemetry", content, CONTENT_LINES)

    async def drained(self) -> None:
        """Return once everything is acknowledged (or refused: see `refused`)."""
        while self.pending:
            self._empty.clear()
            await self._empty.wait()

    async def run(self) -> None:
        """Connect, send and listen until cancelled."""
        for attempt in itertools.count():
            settings = SessionSettings(
                self.addresses[attempt % len(self.addresses)],
                f"agent-{self.agent}",
                self._status(online=False),
                keep_alive=self.keep_alive,
            )
            try:
                async with connect(settings) as connection:
                    await self._live(connection)
            except* SessionError:
                pass
            finally:
                self._connection = None
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def _live(self, connection: Connection) -> None:
        topics = agent_subscriptions(self.agent, self.area)
        await connection.subscribe([Subscription(topic, retained=False) for topic in topics])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(connection), name=f"{self.agent} listens")
            inventory = Inventory(agent=self.agent, area=self.area, config_version="1", devices=tuple(self.devices))
            topic = str(AgentTopic(self.agent, "inventory"))
            await connection.publish(Publication(topic, encode_message(inventory), retain=True))
            await connection.publish(self._status(online=True))
            if not self.connections:
                works = StateChanged(status="ok", code="works", evidence="", since=_now(), session=self.session)
                self._add("event", encode_events([self._event(works, one.id) for one in self.devices]), CONTENT_JSON)
            self.connections += 1
            self._connection = connection
            for lane in self._batches.values():
                for batch in lane.values():
                    batch.due = 0.0
            while True:
                await self._send_due(connection)

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.messages():
            if message.topic.endswith("/ack"):
                self._acknowledge(decode_message(Ack, message.payload))
            else:
                self._obey(message)

    async def _send_due(self, connection: Connection) -> None:
        self._wake.clear()
        soonest = time.monotonic() + self.ack_seconds
        for lane in self._batches.values():
            for batch in list(itertools.islice(lane.values(), WINDOW)):
                if batch.id in lane and batch.due <= time.monotonic():
                    await self._send(connection, batch)
                soonest = min(soonest, batch.due)
        try:
            async with asyncio.timeout(max(0.0, soonest - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, connection: Connection, batch: _Batch) -> None:
        self.resent += batch.due > 0
        # Before the broker answers: the ack may be faster than that answer.
        batch.due = time.monotonic() + self.ack_seconds * random.uniform(0.8, 1.2)
        await connection.publish(
            Publication(
                str(AgentTopic(self.agent, batch.lane)),
                batch.payload,
                content_type=batch.content_type,
                response_topic=str(AgentTopic(self.agent, "ack")),
                correlation=batch.id.encode(),
            )
        )

    def _acknowledge(self, ack: Ack) -> None:
        self.refused.update({entry.batch: entry.reason for entry in ack.refused})
        for batch in (*ack.stored, *(entry.batch for entry in ack.refused)):
            for lane in self._batches.values():
                lane.pop(batch, None)
        self._wake.set()
        if not self.pending:
            self._empty.set()

    def _obey(self, message: Received) -> None:
        if self.key is None:
            return
        try:
            command = read_command(message.payload, self.key)
        except InvalidCommand:
            return
        self.deliveries[command.id] += 1
        if command.id in self.commands:
            return
        self.commands[command.id] = time.monotonic()
        able = set(ABILITIES[command.arguments.kind])
        concerned = [
            one.id for one in self.devices if able & set(one.abilities) and command.target.device in {None, one.id}
        ]
        done = CommandResult(command=command.id, outcome="done")
        if concerned:
            self._add("event", encode_events([self._event(done, device) for device in concerned]), CONTENT_JSON)

    def _add(self, lane: Lane, payload: bytes, content_type: str) -> None:
        batch = _Batch(secrets.token_hex(16), lane, payload, content_type)
        self._batches[lane][batch.id] = batch
        self._wake.set()

    def _status(self, *, online: bool) -> Publication:
        status = AgentStatus(online=online, session=self.session, version="simulated", since=_now())
        return Publication(str(AgentTopic(self.agent, "status")), encode_message(status), retain=True)

    def _event(self, data: EventData, device: str) -> Event:
        return Event(id=uuid7(time.time_ns() // 1_000_000), time=_now(), device=device, data=data)

    def _reading(self) -> bytes:
        # A time of its own for each reading, on whole microseconds: that is what every store keeps.
        self._last_us = max(self._last_us + 1, time.time_ns() // 1000)
        number = next(self._next_reading)
        self.readings[self._last_us] = number
        return encode_point(KIND, self.agent, METER, {FIELD: float(number)}, self._last_us * 1000)


def _now() -> datetime:
    return datetime.now(UTC)
