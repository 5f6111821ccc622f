"""From messages to stores: receive, check, coalesce, store, acknowledge.

Telemetry is never taken apart here: each line's beginning is checked, and the store judges the rest. A batch is acknowledged only
once it is on disk, so whatever is lost before that is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial

from village_collector.acks import Acks
from village_collector.agents import Agents
from village_collector.allowance import EVENTS, READINGS, Allowance, Variety
from village_collector.mailbox import Mailbox
from village_collector.ports import BadLine, ControlSink, DeadLetter, Problem, ReceivedEvents, TelemetryStore
from village_collector.retry import StoreRetry
from village_wire.address import Subscription
from village_wire.events import Event, decode_events
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.points import InvalidBatch, check_batch, inflate
from village_wire.topics import PREFIX, AgentTopic, InvalidTopic, collector_subscription, parse_topic

_log = logging.getLogger(__name__)

#: Deflated telemetry, some 250 MB of lines: minutes of a county's agents while a store restarts.
MAX_TELEMETRY_BYTES = 32 * 1024 * 1024
#: A thousand full event messages would be 250 MB; this is 100,000 typical events.
MAX_EVENT_BYTES = 32 * 1024 * 1024
#: Status and inventory of 10,000 agents with some ten devices each come at once after a reconnect.
MAX_PRESENCE_BYTES = 64 * 1024 * 1024
#: A write of this size costs InfluxDB and SQLite some 50 ms; larger ones save nothing.
BLOCK_BYTES = 500_000
#: How long the first message of a block waits for others.
GATHER_SECONDS, GATHER_EVENTS_SECONDS = 0.1, 0.02
#: Refused lines of one block that are kept one by one.
MAX_LETTERS = 1000
MAX_LETTER_BYTES = 4096
_BATCH = re.compile(rb"[0-9a-f]{32}")
_LINE_AGENT = re.compile(rb"[a-z]+,agent=([a-z0-9-]{1,32}),")


def subscriptions(group: str) -> tuple[Subscription, ...]:
    """What ingest listens to; `group` is that in which collectors share the load."""
    return (
        # QoS 0 towards the collector: the acknowledgement from end to end makes the broker's superfluous, and saves a tenth of the time.
        Subscription(collector_subscription("telemetry", group), qos=0, retained=False),
        Subscription(collector_subscription("event", group), qos=1, retained=False),
        # Every collector needs these of all agents.
        Subscription(f"{PREFIX}/agent/+/status", qos=1, retained=True),
        Subscription(f"{PREFIX}/agent/+/inventory", qos=1, retained=True),
    )


@dataclass(slots=True)
class _Block:
    """What is to be answered once a block is stored: (agent, batch) and (agent, batch, reason)."""

    accepted: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


class Ingest:
    """Give `on_message` to the session and `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        telemetry: TelemetryStore,
        control: ControlSink,
        send: Callable[[Sequence[Publication]], Awaitable[None]],
        events_stored: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`send` raises `SessionError`; `events_stored` is called in the event loop after each batch of events."""
        self._telemetry = telemetry
        self._control = control
        self._events_stored = events_stored
        self._now = now
        self._acks = Acks(send)
        self._retry = StoreRetry(now)
        self._agents = Agents(control, self._retry, now)
        self._readings_allowed = Allowance("readings", READINGS)
        self._variety = Variety()
        self._events_allowed = Allowance("events", EVENTS)
        self._readings = Mailbox("telemetry", MAX_TELEMETRY_BYTES)
        self._events = Mailbox("events", MAX_EVENT_BYTES)
        self._presence = Mailbox("status and inventory", MAX_PRESENCE_BYTES)
        self._mailboxes = {
            "telemetry": self._readings,
            "event": self._events,
            "status": self._presence,
            "inventory": self._presence,
        }

    @property
    def problem(self) -> Problem | None:
        """What keeps data from being stored now."""
        return next(iter(self.problems()), None)

    def problems(self) -> Sequence[Problem]:
        """What keeps data from being stored now, each store's own; may be called in any thread."""
        return self._retry.problems()

    def heard_at(self, agent: str) -> float:
        """See `Agents.heard_at`; may be called in any thread."""
        return self._agents.heard_at(agent)

    def on_message(self, message: Received) -> None:
        """Take a message from the session; neither blocks nor raises."""
        mailbox = self._mailboxes.get(message.topic.rpartition("/")[2])
        if mailbox is not None:
            mailbox.put(message)

    async def run(self) -> None:
        """Open the telemetry store and store what comes, until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._acks.run(), name="acks")
            noting = group.create_task(self._agents.note_seen(), name="last seen")
            async with asyncio.TaskGroup() as drains:
                drains.create_task(
                    self._drain(self._readings, GATHER_SECONDS, self._store_readings, self._open), name="telemetry"
                )
                drains.create_task(self._drain(self._events, GATHER_EVENTS_SECONDS, self._store_events), name="events")
                drains.create_task(self._drain(self._presence, 0.0, self._store_presence), name="presence")
            self._acks.close()
            noting.cancel()
        await self._agents.write_seen()

    def stop(self) -> None:
        """Let `run` end once the blocks in hand are stored and acknowledged."""
        for mailbox in self._mailboxes.values():
            mailbox.close()

    async def _drain(
        self,
        mailbox: Mailbox,
        gather_seconds: float,
        store: Callable[[], Awaitable[None]],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        if prepare is not None:
            await prepare()
        while await mailbox.wait(BLOCK_BYTES, gather_seconds):
            try:
                await store()
            except Exception:  # noqa: BLE001 - a task's outermost edge
                # A fault of ours in one block must not stop the others; its agents send it again.
                _log.exception("a block of messages could not be stored")
                await asyncio.sleep(1.0)

    async def _open(self) -> None:
        await self._retry.until_stored("telemetry", self._telemetry.open)

    async def _store_readings(self) -> None:
        block = _Block()
        lines: list[bytes] = []
        size = 0
        while size < BLOCK_BYTES and (message := self._readings.pop()) is not None:
            place = _place(message.topic)
            try:
                self._check_source(message, place)
                part = inflate(message.content_type, message.payload).rstrip(b"\n")
                known = self._variety.knows(place[0], part)
                if not known:
                    check_batch(part, place[0])
            except InvalidBatch as error:
                self._refuse(block, message, place, str(error))
                continue
            if not (known or self._variety.takes(place[0], part)):
                continue
            if not self._readings_allowed.take(place[0], len(part)):
                continue
            lines.append(part)
            size += len(part) + 1
            self._accept(block, message, place)
        if lines:
            write = partial(self._telemetry.write, b"\n".join(lines))
            bad = await self._retry.until_stored("telemetry", write)
            block.letters += self._line_letters(bad)
        await self._answer(block)

    async def _store_events(self) -> None:
        block = _Block()
        messages: list[Received] = []
        size = 0
        while size < BLOCK_BYTES and (message := self._events.pop()) is not None:
            messages.append(message)
            size += len(message.payload)
        received = self._now()
        batches: list[ReceivedEvents] = []
        for message, events in zip(messages, await asyncio.to_thread(_decode_all, messages), strict=True):
            place = _place(message.topic)
            try:
                self._check_source(message, place)
                if isinstance(events, InvalidBatch):
                    raise events
            except InvalidBatch as error:
                self._refuse(block, message, place, str(error))
                continue
            if not self._events_allowed.take(place[0], len(message.payload)):
                continue
            batches.append(ReceivedEvents(place[0], received, events))
            self._accept(block, message, place)
        if batches:
            await self._retry.until_stored_in_thread("control", partial(self._control.store_events, batches))
            self._events_stored()
        await self._answer(block)

    async def _store_presence(self) -> None:
        message = self._presence.pop()
        if message is not None:
            agent = _place(message.topic)[0]
            reason = await self._agents.store(agent, message)
            if reason:
                await self._answer(_Block(letters=[self._letter(agent, message, reason)]))

    def _check_source(self, message: Received, place: tuple[str, str]) -> None:
        if not place[0]:
            raise InvalidBatch("not an agent's topic")
        if message.retained:
            raise InvalidBatch("a retained message: readings and events are sent once, never kept by the broker")
        self._agents.note(place[0])

    def _accept(self, block: _Block, message: Received, place: tuple[str, str]) -> None:
        batch = _batch(message, place)
        if batch:
            block.accepted.append((place[0], batch))

    def _refuse(self, block: _Block, message: Received, place: tuple[str, str], reason: str) -> None:
        batch = _batch(message, place)
        if batch:
            block.refused.append((place[0], batch, reason))
        block.letters.append(self._letter(place[0], message, reason))

    async def _answer(self, block: _Block) -> None:
        if block.letters:
            work = partial(self._control.store_dead_letters, block.letters)
            await self._retry.until_stored_in_thread("control", work)
        for agent, batch in block.accepted:
            self._acks.stored(agent, batch)
        for agent, batch, reason in block.refused:
            self._acks.refused(agent, batch, reason)

    def _letter(self, agent: str, message: Received, reason: str) -> DeadLetter:
        return DeadLetter(agent, message.topic, self._now(), reason, message.payload[:MAX_LETTER_BYTES])

    def _line_letters(self, bad: Sequence[BadLine]) -> list[DeadLetter]:
        letters = []
        for line in bad[:MAX_LETTERS]:
            match = _LINE_AGENT.match(line.line)
            agent = match[1].decode() if match else ""
            topic = str(AgentTopic(agent, "telemetry")) if agent else ""
            letters.append(DeadLetter(agent, topic, self._now(), line.reason, line.line[:MAX_LETTER_BYTES]))
        if len(bad) > MAX_LETTERS:
            letters.append(
                DeadLetter(
                    "", "", self._now(), f"{len(bad) - MAX_LETTERS} more lines of the same block were refused", b""
                )
            )
        return letters


@lru_cache(maxsize=20_000)
def _place(topic: str) -> tuple[str, str]:
    # The agent and where it wants its acks; two empty texts for a topic that is not an agent's.
    try:
        place = parse_topic(topic)
    except InvalidTopic:
        return "", ""
    return (place.agent, str(AgentTopic(place.agent, "ack"))) if isinstance(place, AgentTopic) else ("", "")


def _batch(message: Received, place: tuple[str, str]) -> str:
    # Only to the agent's own ack topic: another one would let a sender make the collector publish where it pleases.
    if message.response_topic and message.response_topic == place[1] and _BATCH.fullmatch(message.correlation):
        return message.correlation.decode()
    return ""


def _decode_all(messages: list[Received]) -> list[list[Event] | InvalidBatch]:
    decoded: list[list[Event] | InvalidBatch] = []
    for message in messages:
        try:
            decoded.append(decode_events(message.payload))
        except InvalidBatch as error:
            decoded.append(error)
    return decoded
