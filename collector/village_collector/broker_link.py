"""What the collector hears: whether its broker is there, and whether an agent was heard of since it came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from village_collector.health_model import Doubt
from village_collector.ports import Problem
from village_wire.session import Session

#: A broker may be away for so long before what is known of agents is doubted.
LOST_SECONDS = 20.0
#: After the collector's return agents may take so long to be heard of: they wait up to 60 s between two tries to connect.
RETURN_SECONDS = 75.0
_LINK_SECONDS = 1.0


class BrokerLink:
    """Watches a session and says since when it is away, and whether an agent was heard of since it came back."""

    def __init__(self, session: Session, heard_at: Callable[[str], float]) -> None:
        """`heard_at` gives the monotonic time at which an agent was last heard of."""
        self._session = session
        self._heard_at = heard_at
        self._problem: Problem | None = None
        self._last_connected = time.monotonic()

    def doubt(self, agent: str) -> Doubt:
        """Say whether an agent's last known status still counts; may be called in any thread."""
        return self.doubt_at(agent, time.monotonic())

    def doubt_at(self, agent: str, now: float) -> Doubt:
        """As `doubt`, at a monotonic time."""
        connected_at = self._session.connected_at
        if connected_at is None:
            return "collector_lost" if now - self._last_connected > LOST_SECONDS else ""
        if self._heard_at(agent) >= connected_at or now - connected_at < RETURN_SECONDS:
            return ""
        return "not_heard"

    def problems(self) -> Sequence[Problem]:
        """What is wrong now; may be called in any thread."""
        problem = self._problem
        return () if problem is None else (problem,)

    async def watch(self) -> None:
        """Look each second, until cancelled."""
        while True:
            text = self._session.last_problem
            if self._session.connected:
                self._last_connected = time.monotonic()
            if self._session.connected or not text:
                self._problem = None
            elif self._problem is None or self._problem.text != text:
                since = self._problem.since if self._problem else datetime.now(UTC)
                self._problem = Problem("broker", since, text)
            await asyncio.sleep(_LINK_SECONDS)
