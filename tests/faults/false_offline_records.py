"""What the control store keeps of an agent, in memory: the same rules as `ControlStore.store_status`, compared with it in a test."""

from __future__ import annotations

from datetime import datetime

from tests.faults.false_offline_world import at
from village_collector.health_model import AgentRecord
from village_collector.links import Known, Verdict, judge
from village_wire.presence import AgentStatus


class Records:
    """One agent."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._known = Known()
        self._received: datetime | None = None
        self._losses: dict[tuple[str, int], datetime] = {}
        #: When a reading or event was last noted, in seconds of the simulation.
        self.seen: float | None = None

    def take(self, status: AgentStatus, received: datetime) -> Verdict:
        """Keep a status."""
        known = self._known
        verdict = judge(known, status)
        if not status.online and (verdict == "new" or (verdict == "stale" and status.session in known.connections)):
            self._losses.setdefault((status.session, status.connection or 0), received)
        if verdict != "stale":
            connections = {**known.connections, status.session: status.connection}
            self._known = Known(status.online, status.session, connections)
            if verdict == "new":
                self._received = received
        return verdict

    def record(self) -> AgentRecord:
        """The agent as `health.evaluate` takes it. Losses of more than some minutes ago don't matter there."""
        seen = None if self.seen is None else at(self.seen)
        recent = [*self._losses.values()][-20:]
        known = self._known
        return AgentRecord(
            self._agent, "", known.online, known.session, "1", self._received, seen, None, None, None, None, recent
        )


class Naive:
    """An online flag that follows every status of the present session, and every greeting."""

    def __init__(self) -> None:
        self.online: bool | None = None
        self._session: str | None = None

    def take(self, status: AgentStatus) -> bool:
        """Keep a status; return whether the agent is now called gone that was not before."""
        if not status.online and self._session not in {None, status.session}:
            return False
        alarm = self.online is not False and not status.online
        self.online, self._session = status.online, status.session
        return alarm
