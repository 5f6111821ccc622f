"""Whose messages the collector takes: not those of an agent that was declared lost, whatever the broker still lets through."""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import Protocol

from village_collector.ports import StoreUnavailable
from village_wire.topics import AgentTopic, InvalidTopic, parse_topic

_log = logging.getLogger(__name__)

#: A change that another collector, or a command, made is noticed within this.
LOOK_SECONDS = 1.0


class TrustRecords(Protocol):
    """What is needed of the control store; both block and raise `StoreUnavailable`."""

    def trust_revision(self) -> int:
        """A number that grows with each change of who may connect."""

    def revoked_agents(self) -> frozenset[str]:
        """Agents that were declared lost."""


class Admission:
    """Lives in the event loop. `load` comes first, then `run` in the program's `TaskGroup`."""

    def __init__(self, records: TrustRecords) -> None:
        self._records = records
        self._revision = -1
        self._revoked: frozenset[str] = frozenset()
        self._told: set[str] = set()

    def admits(self, topic: str) -> bool:
        """Tell whether a message on this topic is to be looked at; what is not is told once per agent, and neither kept nor answered."""
        if not self._revoked:
            return True
        agent = _agent_of(topic)
        if agent not in self._revoked:
            return True
        if agent not in self._told:
            self._told.add(agent)
            _log.warning(
                "agent %s is revoked and still sends: its messages are dropped; see that the broker has the list of revoked certificates",
                agent,
            )
        return False

    async def load(self) -> bool:
        """Read who is revoked, if anything changed; return whether it did. Raises `StoreUnavailable`."""
        revision = await asyncio.to_thread(self._records.trust_revision)
        if revision == self._revision:
            return False
        # The revision first: what changes in between is read twice, never missed.
        self._revoked = await asyncio.to_thread(self._records.revoked_agents)
        self._told &= self._revoked
        self._revision = revision
        return True

    async def refresh(self) -> None:
        """Look at once, because something changed here; a store that can't be read is looked at again soon."""
        try:
            await self.load()
        except StoreUnavailable as error:
            _log.debug("who is revoked can't be read now: %s", error)

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Follow the records until cancelled."""
        while True:
            await asyncio.sleep(look_seconds)
            await self.refresh()


@lru_cache(maxsize=20_000)
def _agent_of(topic: str) -> str:
    try:
        place = parse_topic(topic)
    except InvalidTopic:
        return ""
    return place.agent if isinstance(place, AgentTopic) else ""
