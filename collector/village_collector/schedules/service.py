"""Brings agents their schedules: to those who are connected at each change, and to whoever says that it has others.

An agent says what it has with each request for the time: after each connection, and once an hour. So nothing need be remembered of who
was told, and a document that got lost on the way is there within the hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.ports import StoreUnavailable
from village_collector.stores.schedule_records import ScheduleRecord
from village_wire.address import SessionError
from village_wire.areas import chain
from village_wire.commands import Target
from village_wire.outgoing import Publication
from village_wire.schedules import (
    Held,
    Programme,
    Schedule,
    concerns,
    content_digest,
    digest_of,
    sign_schedule,
    target_text,
)
from village_wire.signed import encode_public_key
from village_wire.topics import AgentTopic

_log = logging.getLogger(__name__)

#: As for command keys: a county of 10,000 agents is told in less than two minutes.
PER_SECOND = 100
#: A store or broker that is away is tried again after this.
AGAIN_SECONDS = 5.0
#: Agents whose word waits to be looked at: more than any county has. The rest says it again within the hour.
MAX_WAITING = 100_000
#: So many are looked at in one read of the store.
_AT_ONCE = 300


class Records(Protocol):
    """What is needed of the control store; all block and raise `StoreUnavailable`."""

    def schedules(self) -> list[ScheduleRecord]:
        """All schedules."""

    def schedules_revision(self) -> int:
        """A number that grows with each change."""

    def change_schedule(
        self, target: Target, change: Callable[[Sequence[Programme]], Iterable[Programme]], now: datetime, by: str
    ) -> ScheduleRecord:
        """Change the programmes of one target."""

    def areas_of_agents(self, wanted: Iterable[str]) -> dict[str, str]:
        """Where agents are."""

    def connected_in(self, target: Target) -> list[str]:
        """Agents whom a target concerns and that are connected."""


class _Signed(NamedTuple):
    schedule: Schedule
    key: str
    payload: bytes
    held: Held


class ScheduleService:
    """Lives in the event loop. Give `run` to the program's `TaskGroup`, and `has` to whoever hears agents."""

    def __init__(
        self,
        records: Records,
        signer: Callable[[], Ed25519PrivateKey],
        publish: Callable[[Publication], Awaitable[None]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`publish` raises `SessionError`."""
        self._records = records
        self._signer = signer
        self._publish = publish
        self._now = now
        self._revision = -1
        self._schedules: Mapping[str, Schedule] = {}
        self._signed: dict[str, _Signed] = {}
        self._asked: dict[str, str] = {}
        self._changed: dict[str, Target] = {}
        #: What agents said that they have when they were last sent something.
        self._sent: dict[str, str] = {}
        self._stubborn = False
        self._wake = asyncio.Event()

    async def change(
        self, target: Target, change: Callable[[Sequence[Programme]], Iterable[Programme]], by: str
    ) -> ScheduleRecord:
        """Change what a target plays, and let its agents know.

        Raises:
            ValueError: too many programmes, or too long a document; nothing was stored.
            StoreUnavailable: nothing was stored.
        """
        signer = self._signer()

        def checked(before: Sequence[Programme]) -> list[Programme]:
            programmes = list(change(before))
            # The longest number is a digit longer than today's.
            sign_schedule(Schedule(target=target, number=2**53 - 1, programmes=tuple(programmes)), signer)
            return programmes

        record = await asyncio.to_thread(self._records.change_schedule, target, checked, self._now(), by)
        self._changed[target_text(target)] = target
        self._wake.set()
        return record

    def has(self, agent: str, digest: str) -> None:
        """An agent says which schedules it has; neither blocks nor raises."""
        if len(self._asked) < MAX_WAITING or agent in self._asked:
            self._asked[agent] = digest
            self._wake.set()

    async def run(self, again_seconds: float = AGAIN_SECONDS) -> None:
        """Bring schedules to agents until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._changed:
                    await self._tell_of_change(next(iter(self._changed)))
                await self._load()
                while self._asked:
                    await self._answer_some()
            except (SessionError, StoreUnavailable) as error:
                _log.info("not every agent has its schedules yet: %s", error)
                await asyncio.sleep(again_seconds)
                self._wake.set()

    async def _load(self) -> None:
        revision = await asyncio.to_thread(self._records.schedules_revision)
        if revision == self._revision:
            return
        # The revision first: what changes in between is read twice, never missed.
        records = await asyncio.to_thread(self._records.schedules)
        self._schedules = {target_text(record.schedule.target): record.schedule for record in records}
        self._revision = revision

    async def _tell_of_change(self, key: str) -> None:
        target = self._changed.pop(key)
        try:
            await self._load()
            for agent in await asyncio.to_thread(self._records.connected_in, target):
                await self._send(agent, self._document(key))
        except (SessionError, StoreUnavailable):
            self._changed.setdefault(key, target)
            raise

    async def _answer_some(self) -> None:
        asked = dict(list(self._asked.items())[:_AT_ONCE])
        areas = await asyncio.to_thread(self._records.areas_of_agents, list(asked))
        for agent, digest in asked.items():
            documents = [self._document(key) for key in self._keys_of(agent, areas.get(agent, ""))]
            if digest_of(document.held for document in documents) != digest:
                self._note_stubborn(agent, digest)
                for document in documents:
                    await self._send(agent, document)
            if self._asked.get(agent) == digest:
                del self._asked[agent]

    def _note_stubborn(self, agent: str, digest: str) -> None:
        if self._sent.get(agent) == digest and not self._stubborn:
            self._stubborn = True
            _log.warning(
                "agent %s goes on with schedules that this collector does not have, as after the loss of its database:"
                " import programmes for its area and for itself, and remove them again; more agents are not logged",
                agent,
            )
        if len(self._sent) >= MAX_WAITING:
            self._sent.clear()
        self._sent[agent] = digest

    def _keys_of(self, agent: str, area: str) -> list[str]:
        """The schedules that concern an agent."""
        areas = frozenset(chain(area) if area else ())
        return [key for key, schedule in self._schedules.items() if concerns(schedule.target, agent, areas)]

    def _document(self, key: str) -> _Signed:
        schedule, signer = self._schedules[key], self._signer()
        name = encode_public_key(signer.public_key())
        known = self._signed.get(key)
        if known is None or known.schedule is not schedule or known.key != name:
            payload = sign_schedule(schedule, signer)
            known = _Signed(schedule, name, payload, Held(key, schedule.number, content_digest(payload)))
            self._signed[key] = known
        return known

    async def _send(self, agent: str, document: _Signed) -> None:
        await self._publish(Publication(str(AgentTopic(agent, "schedule")), document.payload, qos=1))
        await asyncio.sleep(1 / PER_SECOND)
