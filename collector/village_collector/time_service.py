"""Answers agents that ask for the time, at once and signed. The collector's own clock is assumed to be right.

The answer needs no store. An agent that takes no answer can send nothing that has a date, its own state included; so the collector
records that state in its stead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.ports import ReceivedEvents, StoreUnavailable
from village_collector.trust.live_keys import keys_for
from village_wire.address import SessionError, Subscription
from village_wire.events import Event, StateChanged
from village_wire.ids import uuid7
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.time_answer import (
    EXPIRY_SECONDS,
    InvalidTime,
    TimeAnswer,
    TimeRequest,
    read_time_request,
    sign_time_answer,
)
from village_wire.topics import AgentTopic, InvalidTopic, collector_subscription, parse_topic

_log = logging.getLogger(__name__)

#: Requests taken in one second: a signature and a publication cost some 0.3 ms. A county that comes back asks again with jitter.
MAX_PER_SECOND = 1000
#: Of one agent: an honest one asks once and waits.
MAX_PER_AGENT = 2
#: An agent that has been connected for so long and knows no time has a fault that a person must look at.
UNSURE_SECONDS = 60
#: More such agents at once are recorded again.
MAX_UNSURE = 10_000
#: Publications under way at once; each waits for the broker's answer.
_AT_ONCE = 20


def subscription(group: str) -> Subscription:
    """What the service listens to; `group` is that in which collectors share the load."""
    return Subscription(collector_subscription("time", group), qos=0, retained=False)


class TimeService:
    """Give `on_message` to the session and `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        signer: Callable[[], Ed25519PrivateKey],
        publish: Callable[[Publication], Awaitable[None]],
        store_events: Callable[[Sequence[ReceivedEvents]], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        document: Callable[[], tuple[int, bytes]] | None = None,
        has_schedules: Callable[[str, str], None] = lambda _agent, _digest: None,
    ) -> None:
        """`publish` raises `SessionError` when the broker did not take the message; `store_events` blocks, and raises `StoreUnavailable`.

        `signer` returns the key of the moment; `document` number and payload of the command keys that agents should have.
        `has_schedules` is told, after the answer, the digest of the schedules that an agent has; it must not block.
        """
        self._signer = signer
        self._document = document
        self._has_schedules = has_schedules
        self._newer_known = False
        self._publish = publish
        self._store_events = store_events
        self._now = now
        self._waiting: asyncio.Queue[tuple[str, TimeRequest]] = asyncio.Queue(MAX_PER_SECOND)
        self._second = 0
        self._taken: Counter[str] = Counter()
        self._refused = 0
        #: Agents that were recorded as unsure, with their session.
        self._unsure: dict[str, str] = {}

    def on_message(self, message: Received) -> None:
        """Take a message of an agent's channel `time`; neither blocks nor raises. What is too much is dropped, and asked again."""
        try:
            place = parse_topic(message.topic)
            request = read_time_request(message.payload)
        except (InvalidTopic, InvalidTime) as error:
            self._refuse(f"{message.topic[:80]}: {error}")
            return
        if not isinstance(place, AgentTopic) or place.channel != "time" or message.retained:
            self._refuse(f"{message.topic[:80]}: not a request of this moment")
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._taken.clear()
        if self._taken[place.agent] >= MAX_PER_AGENT or self._taken.total() >= MAX_PER_SECOND or self._waiting.full():
            self._refuse(f"{place.agent} asks too often, or too many do")
            return
        self._taken[place.agent] += 1
        self._waiting.put_nowait((place.agent, request))

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(_AT_ONCE):
                group.create_task(self._answer_each(), name=f"time answers {number}")

    async def _answer_each(self) -> None:
        while True:
            agent, request = await self._waiting.get()
            try:
                # An agent that does not know the key could not read the answer.
                await self._send_keys(agent, request.keys)
                answer = TimeAnswer(agent=agent, nonce=request.nonce, time=self._now())
                payload = sign_time_answer(answer, self._signer())
                await self._publish(Publication(str(AgentTopic(agent, "clock")), payload, expiry=EXPIRY_SECONDS))
            except SessionError as error:
                _log.debug("agent %s was not told the time: %s", agent, error)
            if request.schedules is not None:
                self._has_schedules(agent, request.schedules)
            await self._note_unsure(agent, request)

    async def _send_keys(self, agent: str, known: int | None) -> None:
        if known is None or self._document is None:
            return
        number, payload = self._document()
        if known < number:
            await self._publish(keys_for(agent, payload))
        elif known > number and not self._newer_known:
            self._newer_known = True
            _log.error(
                "agent %s knows command keys number %d, and this collector only %d: its commands will be refused;"
                " copy command_key, command_key.next and command_keys.json from the collector on which they were rotated",
                agent,
                known,
                number,
            )

    async def _note_unsure(self, agent: str, request: TimeRequest) -> None:
        session, seconds = request.session, request.unsure_seconds
        if session is None or seconds is None or seconds < UNSURE_SECONDS or self._unsure.get(agent) == session:
            return
        if len(self._unsure) >= MAX_UNSURE:
            self._unsure.clear()
        self._unsure[agent] = session
        now = self._now()
        state = StateChanged(
            status="degraded",
            code="clock_unsure",
            evidence=f"connected for {seconds} s and takes no answer about the time",
            since=now - timedelta(seconds=seconds),
            session=session,
        )
        event = Event(id=uuid7(int(now.timestamp() * 1000)), time=now, data=state)
        try:
            await asyncio.to_thread(self._store_events, [ReceivedEvents(agent, now, [event])])
        except StoreUnavailable as error:
            self._unsure.pop(agent, None)
            _log.debug("agent %s does not know the time; that can't be stored: %s", agent, error)

    def _refuse(self, problem: str) -> None:
        self._refused += 1
        if self._refused == 1:
            _log.warning("a request for the time is not answered: %s; more of them are not logged", problem)
