"""A tiny collector behind a real broker: keeps what it acknowledges, and misbehaves as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.kit import until
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.commands import Command, sign_command
from village_wire.events import CommandResult, Event, decode_events
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.points import inflate
from village_wire.presence import Ack, AgentStatus, Inventory, RefusedBatch, decode_message, encode_message
from village_wire.session import Session
from village_wire.time_answer import TimeAnswer, read_time_request, sign_time_answer

CHANNELS = ("status", "inventory", "telemetry", "event", "time")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def acknowledge(message: Received) -> Ack:
    return Ack(stored=(message.correlation.decode(),))


def lose(message: Received) -> None:
    return None


def refuse(message: Received) -> Ack:
    return Ack(refused=(RefusedBatch(batch=message.correlation.decode(), reason="because"),))


@dataclass
class Collector:
    """What came in. `answer` decides what becomes of a batch; None is no ack."""

    session: Session | None = None
    answer: Callable[[Received], Ack | None] = acknowledge
    received: list[Received] = field(default_factory=list)
    stored: dict[str, Received] = field(default_factory=dict)
    statuses: list[AgentStatus] = field(default_factory=list)
    inventories: list[Inventory] = field(default_factory=list)
    #: Messages that are still to be sent: topic and payload.
    answers: asyncio.Queue[tuple[str, bytes]] = field(default_factory=asyncio.Queue)
    #: What the collector says that the time is; None gives no answer.
    time: Callable[[], datetime] | None = lambda: datetime.now(UTC)

    def on_message(self, message: Received) -> None:
        if message.topic.endswith("/time"):
            if self.time is not None:
                agent = message.topic.split("/")[3]
                answer = TimeAnswer(agent=agent, nonce=read_time_request(message.payload).nonce, time=self.time())
                self.answers.put_nowait((message.topic.replace("/time", "/clock"), sign_time_answer(answer, KEY)))
            return
        if message.topic.endswith("/status"):
            self.statuses.append(decode_message(AgentStatus, message.payload))
            return
        if message.topic.endswith("/inventory"):
            self.inventories.append(decode_message(Inventory, message.payload))
            return
        self.received.append(message)
        ack = self.answer(message)
        if ack is not None:
            batch = message.correlation.decode()
            if batch in ack.stored:
                earlier = self.stored.setdefault(batch, message)
                assert earlier.payload == message.payload, "a batch changed between two sends"
            self.answers.put_nowait((message.response_topic, encode_message(ack)))

    async def run(self) -> None:
        assert self.session is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(self.session.run(self._nothing), name="collector session")
            while True:
                topic, payload = await self.answers.get()
                await self.session.publish(Publication(topic, payload))

    async def _nothing(self) -> None:
        return

    async def send(self, command: Command, topic: str) -> None:
        assert self.session is not None
        await self.session.publish(Publication(topic, sign_command(command, KEY), expiry=60))

    @property
    def lines(self) -> list[str]:
        """All stored lines of telemetry."""
        found: list[str] = []
        for message in self.stored.values():
            if message.topic.endswith("/telemetry"):
                found += inflate(message.content_type, message.payload).decode().split("\n")
        return found

    @property
    def events(self) -> list[Event]:
        """All stored events, each once."""
        found: dict[UUID, Event] = {}
        for message in self.stored.values():
            if message.topic.endswith("/event"):
                found |= {event.id: event for event in decode_events(message.payload)}
        return list(found.values())

    def results(self, command: UUID) -> list[tuple[str | None, str, str]]:
        """What came back for a command, in order of time."""
        return [
            (event.device, event.data.outcome, event.data.reason)
            for event in sorted(self.events, key=lambda event: event.time)
            if isinstance(event.data, CommandResult) and event.data.command == command
        ]


@asynccontextmanager
async def collector(url: str) -> AsyncIterator[Collector]:
    """A connected collector."""
    made = Collector()
    topics = [Subscription(f"village/1/agent/+/{channel}") for channel in CHANNELS]
    made.session = Session(SessionSettings(BrokerAddress(url), "collector"), topics, made.on_message)
    task = asyncio.create_task(made.run(), name="collector")
    try:
        await until(lambda: made.session is not None and made.session.connected)
        yield made
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
