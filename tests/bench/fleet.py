"""Thousands of agents on real connections, in one event loop: they connect, announce themselves, send batches until these are acknowledged.

Window, time-outs, back-off and drain pace are the agent's own. What a real agent has beside these (drivers, disk) is left out.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench import raw_mqtt
from tests.bench.content import Batch, Site
from village_agent.app import SESSION_EXPIRY_SECONDS
from village_agent.pace import Pace, TokenBucket
from village_agent.tables import CollectorTable
from village_agent.uplink import ACK_SECONDS, PROBE_CAP_SECONDS, WINDOW
from village_wire.backoff import full_jitter
from village_wire.connection import ANSWER_SECONDS
from village_wire.topics import agent_subscriptions

#: As agents are configured by default.
KEEP_ALIVE: int = CollectorTable.model_fields["keep_alive_seconds"].default
_SWEEP_SECONDS = 0.25


@dataclass(slots=True)
class _Lane:
    waiting: deque[Batch] = field(default_factory=deque)
    #: Batch id -> [batch, sent, due].
    flight: dict[str, tuple[Batch, float, float]] = field(default_factory=dict)
    unanswered: int = 0
    last_ack: float = 0.0

    def again(self) -> None:
        self.unanswered = 0
        self.flight = {key: (batch, sent, 0.0) for key, (batch, sent, _) in self.flight.items()}


class FleetAgent(asyncio.Protocol):
    """One agent. Its connection is this object, made anew by `Fleet`."""

    __slots__ = (
        "_bucket",
        "_fleet",
        "_last_sent",
        "_number",
        "_packets",
        "_transport",
        "closed",
        "lanes",
        "ready",
        "site",
    )

    def __init__(self, fleet: Fleet, site: Site) -> None:
        self._fleet = fleet
        self.site = site
        self.lanes = (_Lane(), _Lane())
        self.ready = False
        self._bucket = TokenBucket(fleet.pace.drain_bytes_per_second)
        self.closed: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._packets = raw_mqtt.Packets()
        self._number = 0
        self._last_sent = 0.0

    @property
    def unacknowledged(self) -> int:
        """Batches that are not known to be stored."""
        return sum(len(lane.waiting) + len(lane.flight) for lane in self.lanes)

    def add(self, batch: Batch) -> None:
        """Put a batch into the outbox and send it if it may go now."""
        self.lanes[batch.event].waiting.append(batch)
        if self.ready:
            self._pump(time.monotonic())

    def drop(self) -> None:
        """Lose the connection as a box does that loses its power: no goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._packets = raw_mqtt.Packets()
        site = self.site
        self._write(
            raw_mqtt.connect(
                f"agent-{site.agent}",
                KEEP_ALIVE,
                SESSION_EXPIRY_SECONDS,
                site.topic("status"),
                site.status(online=False),
                clean=False,
            )
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended; what was in flight is sent again by the next one."""
        self._transport = None
        self._fleet.ready -= self.ready
        self.ready = False
        if self.closed is not None and not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take what the broker sends."""
        for kind, flags, body in self._packets.feed(data):
            if kind == raw_mqtt.PUBLISH:
                self._published(raw_mqtt.read_publish(flags, body))
            elif kind == raw_mqtt.CONNACK:
                self._write(raw_mqtt.subscribe(1, agent_subscriptions(self.site.agent, self.site.area)))
            elif kind == raw_mqtt.SUBACK:
                self._announce()

    def sweep(self, now: float) -> None:
        """Ping, and send again what is due."""
        if self.ready:
            if now - self._last_sent > KEEP_ALIVE - 1:
                self._write(raw_mqtt.PINGREQ)
            self._pump(now)

    def _announce(self) -> None:
        site = self.site
        self._publish(site.topic("status"), site.status(online=True), retain=True)
        self._publish(site.topic("inventory"), site.inventory(), retain=True)
        for lane in self.lanes:
            lane.again()
        self.ready = True
        self._fleet.ready += 1
        now = time.monotonic()
        self._bucket.hold(now + self._fleet.pace.first_pause(self._fleet.backlog_age, random.random()))
        self._pump(now)

    def _published(self, message: raw_mqtt.Published) -> None:
        if message.number:
            self._write(raw_mqtt.puback(message.number))
        if message.topic.endswith("/ack"):
            answer = json.loads(message.payload)
            self._fleet.refused += len(answer["refused"])
            self._acknowledged([*answer["stored"], *(entry["batch"] for entry in answer["refused"])])
        else:
            self._fleet.on_command(self, message)

    def _acknowledged(self, batches: Sequence[str]) -> None:
        now = time.monotonic()
        for batch in batches:
            for lane in self.lanes:
                if lane.flight.pop(batch, None) is not None:
                    self._fleet.acknowledged += 1
                    lane.last_ack = now
                    if lane.unanswered:
                        lane.again()
        self._pump(now)

    def _pump(self, now: float) -> None:
        # The rules of `village_agent.uplink.LaneSender`.
        for lane in (self.lanes[1], self.lanes[0]):
            while lane.waiting and not lane.unanswered and len(lane.flight) < WINDOW and not self._bucket.wait(now):
                batch = lane.waiting.popleft()
                lane.flight[batch.id] = (batch, 0.0, 0.0)
                self._send(lane, batch, now)
            if not lane.flight:
                continue
            oldest = next(iter(lane.flight))
            _, sent, due = lane.flight[oldest]
            if 0 < due <= now and lane.last_ack < sent:
                lane.unanswered += 1
            for key, (batch, sent, due) in list(lane.flight.items()):
                may = key == oldest or (not lane.unanswered and (due == 0 or lane.last_ack >= sent))
                if due <= now and may and not self._bucket.wait(now):
                    self._send(lane, batch, now)

    def _send(self, lane: _Lane, batch: Batch, now: float) -> None:
        seconds = min(ACK_SECONDS * 2.0 ** min(lane.unanswered, 20), max(PROBE_CAP_SECONDS, ACK_SECONDS))
        lane.flight[batch.id] = (batch, now, now + seconds * random.uniform(0.75, 1.25))
        self._fleet.sent += 1
        self._bucket.take(len(batch.payload), now)
        site = self.site
        self._publish(
            site.topic("event" if batch.event else "telemetry"),
            batch.payload,
            content_type=batch.content_type,
            response_topic=site.topic("ack"),
            correlation=batch.id.encode(),
        )

    def _publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        content_type: str = "",
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> None:
        self._number = self._number % 60_000 + 1
        self._write(
            raw_mqtt.publish(
                topic,
                payload,
                self._number,
                retain=retain,
                content_type=content_type,
                response_topic=response_topic,
                correlation=correlation,
            )
        )

    def _write(self, packet: bytes) -> None:
        if self._transport is not None:
            self._transport.write(packet)
            self._last_sent = time.monotonic()


class Fleet:
    """All agents. `ready` counts those that are connected, subscribed and announced; the other counts are of batches."""

    def __init__(self, port: int, sites: Sequence[Site]) -> None:
        self.ready = self.sent = self.acknowledged = self.refused = self.failed_connects = 0
        self.on_command: Callable[[FleetAgent, raw_mqtt.Published], None] = lambda _agent, _message: None
        self.pace = Pace()
        #: Seconds since the oldest entry of the outboxes was made, when connections are made anew.
        self.backlog_age = 0.0
        self._port = port
        self._power = asyncio.Event()
        self.agents = [FleetAgent(self, site) for site in sites]

    @property
    def unacknowledged(self) -> int:
        """Batches in all outboxes."""
        return sum(agent.unacknowledged for agent in self.agents)

    def power_cut(self) -> None:
        """Drop all connections and make none until `power_on`."""
        self._power.clear()
        for agent in self.agents:
            agent.drop()

    def power_on(self) -> None:
        """Let all connect at once."""
        self._power.set()

    async def run(self) -> None:
        """Keep all connected while the power is on; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep(), name="sweep")
            for agent in self.agents:
                group.create_task(self._keep_connected(agent), name=agent.site.agent)

    async def wait_ready(self, seconds: float) -> None:
        """Wait until all are connected and announced; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while self.ready < len(self.agents):
                await asyncio.sleep(0.02)

    async def wait_drained(self, seconds: float) -> None:
        """Wait until every batch is acknowledged; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while self.unacknowledged:
                await asyncio.sleep(0.05)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for agent in self.agents:
                agent.sweep(now)

    async def _keep_connected(self, agent: FleetAgent) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            if not self._power.is_set():
                attempt = 0
                await self._power.wait()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    agent.closed = loop.create_future()
                    await loop.create_connection(lambda agent=agent: agent, "127.0.0.1", self._port)  # type: ignore[misc]
                await agent.closed
            except (OSError, TimeoutError):
                self.failed_connects += 1
            if self._power.is_set():
                await asyncio.sleep(full_jitter(attempt, random.random(), cap=60.0))
                attempt += 1
