"""What agents say of themselves: status, inventory, and when each was last heard of."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from village_collector.allowance import INVENTORIES, MAX_AGENTS, STATUSES, Allowance
from village_collector.ports import ControlSink, StoreUnavailable
from village_collector.retry import StoreRetry
from village_wire.incoming import Received
from village_wire.presence import AgentStatus, InvalidMessage, Inventory, decode_message

_log = logging.getLogger(__name__)

SEEN_SECONDS = 5.0


class Agents:
    """Writes to the control store in threads. Lives in the event loop."""

    def __init__(self, control: ControlSink, retry: StoreRetry, now: Callable[[], datetime]) -> None:
        self._control = control
        self._retry = retry
        self._now = now
        self._seen: dict[str, datetime] = {}
        self._known: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._statuses = Allowance("status messages", STATUSES)
        self._inventories = Allowance("inventories", INVENTORIES)

    def note(self, agent: str) -> None:
        """The agent was heard of now."""
        if agent in self._heard or len(self._heard) < MAX_AGENTS:
            self._seen[agent] = self._now()
            self._heard[agent] = time.monotonic()

    def heard_at(self, agent: str) -> float:
        """Monotonic time at which the agent, or what the broker keeps of it, was last heard of; 0 for never."""
        return self._heard.get(agent, 0.0)

    async def store(self, agent: str, message: Received) -> str:
        """Store a status or inventory; return why it was refused, or an empty text. `agent` is that of the topic."""
        # An empty payload takes a retained message away; after a reconnect most retained ones repeat what is known.
        content = hash(message.payload)
        room = agent in self._heard or len(self._heard) < MAX_AGENTS
        if message.payload and agent and room:
            self._heard[agent] = time.monotonic()
        if not message.payload or not room or self._known.get(message.topic) == content:
            return ""
        allowed = self._statuses if message.topic.endswith("/status") else self._inventories
        if agent and not allowed.take(agent, 1):
            return ""
        try:
            work = self._read(agent, message)
        except InvalidMessage as error:
            return str(error)
        await self._retry.until_stored_in_thread("control", work)
        if len(self._known) >= MAX_AGENTS:
            self._known.clear()
        self._known[message.topic] = content
        if not message.retained:
            self.note(agent)
        return ""

    async def note_seen(self) -> None:
        """Write who was heard of, each few seconds in one go, until cancelled."""
        while True:
            await asyncio.sleep(SEEN_SECONDS)
            await self.write_seen()

    async def write_seen(self) -> None:
        """Write who was heard of; what can't be written now is kept for the next time."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await asyncio.to_thread(self._control.touch, seen)
        except StoreUnavailable as error:
            _log.debug("last seen: %s", error)
            self._seen = seen | self._seen

    def _read(self, agent: str, message: Received) -> Callable[[], None]:
        if not agent:
            raise InvalidMessage("not an agent's topic")
        if message.topic.endswith("/status"):
            return partial(self._control.store_status, agent, decode_message(AgentStatus, message.payload), self._now())
        inventory = decode_message(Inventory, message.payload)
        if inventory.agent != agent:
            raise InvalidMessage(f"the inventory of agent {inventory.agent}")
        return partial(self._control.store_inventory, inventory, self._now())
