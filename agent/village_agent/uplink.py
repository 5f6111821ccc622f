"""Outbox to broker: a window of unacknowledged batches per lane, sent again after a time-out and after each reconnect.

Fresh events travel at once. What piled up during an outage, and telemetry, keep to a rate and begin at a random moment, so that a
county that comes back after a power cut does not flood the collector. While acks stay away (the collector is down, the broker is not) only the oldest batch is sent, ever more seldom: a box on a 4G
card must not pay for what nobody stores.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from village_agent.outbox.items import Batch, Lane
from village_agent.outbox.outbox import BATCH_BYTES, Outbox, OutboxUnavailable
from village_agent.pace import Pace, TokenBucket
from village_wire.address import SessionError
from village_wire.events import CONTENT_JSON
from village_wire.outgoing import Publication
from village_wire.points import CONTENT_DEFLATED, CONTENT_LINES, deflate
from village_wire.presence import Ack, InvalidMessage, decode_message
from village_wire.topics import AgentTopic

_log = logging.getLogger(__name__)

#: Unacknowledged batches of one lane: half a megabyte of memory at the most, and enough to fill any link.
WINDOW = 8
#: Counted from the broker's answer, so the link is behind us: the collector answers once its store has committed. A broker may take
#: what nobody hears yet, when it comes back before the collector does.
ACK_SECONDS = 10.0
#: Longest wait between two tries while acks stay away.
PROBE_CAP_SECONDS = 120.0
#: So much telemetry travels without waiting for more.
_ENOUGH_BYTES = BATCH_BYTES // 2
_RETRY_SECONDS = 5.0


class Link(Protocol):
    """What the uplink needs of a `Session`."""

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""

    async def publish(self, message: Publication) -> None:
        """Send a message and wait for the broker's answer; raises `SessionError`."""


@dataclass(slots=True)
class _InFlight:
    batch: Batch
    #: Monotonic times; 0 is "not yet" and "now".
    sent: float = 0.0
    due: float = 0.0


class LaneSender:
    """Sends one lane. All methods but `run` are callbacks that neither block nor raise."""

    def __init__(
        self, lane: Lane, agent: str, outbox: Outbox, link: Link, ack_seconds: float, pace: Pace, bucket: TokenBucket
    ) -> None:
        self._lane = lane
        self._topic = str(AgentTopic(agent, "telemetry" if lane is Lane.TELEMETRY else "event"))
        self._ack_topic = str(AgentTopic(agent, "ack"))
        self._outbox = outbox
        self._link = link
        self._ack_seconds = ack_seconds
        self._pace = pace
        self._bucket = bucket
        self._in_flight: dict[str, _InFlight] = {}
        self._acked: dict[str, str | None] = {}
        self._last_ack = 0.0
        #: How often in a row the oldest batch was sent without any ack.
        self._unanswered = 0
        self._connected_at = 0.0
        #: Monotonic time before which readings are gathered.
        self._gather_until = 0.0
        #: What is done once before anything is sent over a new connection.
        self._prepare: Callable[[], Awaitable[None]] | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something waits in the outbox."""
        self._wake.set()

    def connected(self, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
        """A new connection: everything is sent again, after `prepare`."""
        self._prepare = prepare
        self._connected_at = time.monotonic()
        self._gather_until = 0.0
        self._send_all_again()
        self._wake.set()

    def void(self, batches: Sequence[str] | None) -> None:
        """These batches, or all, exist no more."""
        for batch in list(self._in_flight) if batches is None else batches:
            self._in_flight.pop(batch, None)
            self._acked.pop(batch, None)
        self._wake.set()

    def acknowledged(self, batch: str, refused: str | None) -> None:
        """The collector stored a batch, or refuses it for the given reason."""
        if batch in self._in_flight:
            self._acked[batch] = refused
            self._last_ack = time.monotonic()
            self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            try:
                wait = await self._step()
            except (OutboxUnavailable, SessionError) as error:
                _log.debug("%s not sent: %s", self._lane.name.lower(), error)
                wait = _RETRY_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _step(self) -> float | None:
        """Do what can be done now; return how long to wait for more, None for as long as nobody wakes us."""
        await self._forget_acknowledged()
        if not self._link.connected:
            return None
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        pause = await self._send_new()
        if not self._in_flight:
            return pause
        oldest = next(iter(self._in_flight.values()))
        if 0 < oldest.due <= time.monotonic() and self._last_ack < oldest.sent:
            if not self._unanswered:
                _log.warning(
                    "the collector acknowledges no %s; sending the oldest batch from time to time",
                    self._lane.name.lower(),
                )
            self._unanswered += 1
        entries = (
            [oldest]
            if self._unanswered
            else [entry for entry in self._in_flight.values() if self._may_be_due(entry, oldest)]
        )
        for entry in entries:
            if entry.due <= time.monotonic() and entry.batch.id not in self._acked:
                if hold := self._hold():
                    return hold
                await self._send(entry)
        wait = max(0.0, min(entry.due for entry in entries) - time.monotonic())
        return wait if pause is None else min(wait, pause)

    async def _send_new(self) -> float | None:
        """Send what is in no batch yet, as far as window and pace allow; return how long to wait for more."""
        while not self._unanswered and len(self._in_flight) < WINDOW:
            if pause := self._hold() or self._gather():
                return pause
            batch = await self._outbox.next_batch(self._lane)
            if batch is None:
                return None
            now = time.monotonic()
            self._gather_until = now + self._pace.gathering(now - self._connected_at)
            entry = self._in_flight[batch.id] = _InFlight(batch)
            await self._send(entry)
            await self._forget_acknowledged()
        return None

    def _hold(self) -> float:
        # Fresh events pass whatever the pace.
        return 0.0 if self._lane is Lane.EVENT else self._bucket.wait(time.monotonic())

    def _gather(self) -> float:
        if self._lane is not Lane.TELEMETRY or self._outbox.unsent_telemetry_bytes >= _ENOUGH_BYTES:
            return 0.0
        return max(0.0, self._gather_until - time.monotonic())

    def _may_be_due(self, entry: _InFlight, oldest: _InFlight) -> bool:
        # As long as no ack at all comes, the oldest batch speaks for the others.
        return entry is oldest or entry.due == 0 or self._last_ack >= entry.sent

    async def _send(self, entry: _InFlight) -> None:
        content, content_type = _payload(entry.batch)
        correlation = entry.batch.id.encode()
        entry.due = 0.0
        self._bucket.take(len(content), time.monotonic())
        await self._link.publish(
            Publication(
                self._topic, content, content_type=content_type, response_topic=self._ack_topic, correlation=correlation
            )
        )
        seconds = min(self._ack_seconds * 2.0 ** min(self._unanswered, 20), max(PROBE_CAP_SECONDS, self._ack_seconds))
        entry.sent = time.monotonic()
        entry.due = entry.sent + seconds * random.uniform(0.75, 1.25)

    async def _forget_acknowledged(self) -> None:
        if not self._acked:
            return
        acked = dict(self._acked)
        refused = [(batch, reason) for batch, reason in acked.items() if reason is not None]
        await self._outbox.remove([batch for batch, reason in acked.items() if reason is None], refused)
        for batch, reason in refused:
            _log.error(
                "the collector refuses batch %s of %s: %s; it is dropped and counted as lost",
                batch,
                self._topic,
                reason,
            )
        for batch in acked:
            self._acked.pop(batch, None)
            self._in_flight.pop(batch, None)
        if self._unanswered:
            _log.info("the collector acknowledges %s again", self._lane.name.lower())
            self._send_all_again()

    def _send_all_again(self) -> None:
        self._unanswered = 0
        for entry in self._in_flight.values():
            entry.due = 0.0


class Uplink:
    """All lanes. Fresh events wait behind nothing."""

    def __init__(
        self, agent: str, outbox: Outbox, link: Link, ack_seconds: float = ACK_SECONDS, pace: Pace | None = None
    ) -> None:
        self._pace = pace or Pace()
        self._outbox = outbox
        self._bucket = TokenBucket(self._pace.drain_bytes_per_second)
        self._lanes = {
            lane: LaneSender(lane, agent, outbox, link, ack_seconds, self._pace, self._bucket) for lane in Lane
        }
        outbox.on_added = self.wake
        outbox.on_void = self._void
        self._bad_acks = 0

    def wake(self, lane: Lane) -> None:
        """Something waits in the outbox."""
        self._lanes[lane].wake()

    def connected(self) -> None:
        """A new connection: fresh events are sent at once, the others and readings at their pace."""
        now = time.monotonic()
        self._bucket.hold(now + self._pace.first_pause(self._outbox.age_seconds, random.random()))
        for lane, sender in self._lanes.items():
            sender.connected(self._mark_backlog if lane is Lane.EVENT else None)

    async def _mark_backlog(self) -> None:
        with contextlib.suppress(OutboxUnavailable):
            await self._outbox.mark_backlog()
        self._lanes[Lane.BACKLOG].wake()

    def _void(self, batches: Sequence[str] | None) -> None:
        for sender in self._lanes.values():
            sender.void(batches)

    def on_ack(self, payload: bytes) -> None:
        """Take an ack message; neither blocks nor raises. Acks of unknown batches are ignored."""
        try:
            ack = decode_message(Ack, payload)
        except InvalidMessage as error:
            self._bad_acks += 1
            if self._bad_acks == 1:
                _log.warning("an ack that is none: %s; more of them are not logged", error)
            return
        for sender in self._lanes.values():
            for batch in ack.stored:
                sender.acknowledged(batch, None)
            for refused in ack.refused:
                sender.acknowledged(refused.batch, refused.reason)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane, sender in self._lanes.items():
                group.create_task(sender.run(), name=f"uplink {lane.name.lower()}")


def _payload(batch: Batch) -> tuple[bytes, str]:
    if batch.lane is not Lane.TELEMETRY:
        return b'{"events":[' + b",".join(batch.contents) + b"]}", CONTENT_JSON
    lines = b"\n".join(batch.contents)
    deflated = deflate(lines)
    return (deflated, CONTENT_DEFLATED) if len(deflated) < len(lines) else (lines, CONTENT_LINES)
