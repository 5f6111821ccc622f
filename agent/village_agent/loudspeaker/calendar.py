"""What this agent plays by itself: its schedules and their programmes, tied to the rest of the agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from village_agent.clock.timekeeper import Timekeeper
from village_agent.commands.addressing import Addressee
from village_agent.disk import DiskThread
from village_agent.loudspeaker.programme import Around, Programmes
from village_agent.loudspeaker.schedules import FILE, Schedules
from village_agent.loudspeaker.stations import Stations
from village_agent.own_state import OwnState
from village_agent.report import Hub
from village_wire.events import Alarm


class Calendar:
    """Call `load` before the agent connects, give `run` to the program's `TaskGroup`, and call `close` after it has ended."""

    def __init__(
        self,
        addressee: Addressee,
        state_dir: Path,
        disk: DiskThread,
        stations: Stations,
        hub: Hub,
        timekeeper: Timekeeper,
        own_state: OwnState,
    ) -> None:
        self._hub = hub
        self._own_state = own_state
        self._schedules = Schedules(addressee, state_dir / FILE, disk, timekeeper.now, timekeeper.known)
        self._schedules.on_refused = self._refused
        around = Around(
            stations, stations.meant, stations.prefetch.want, hub.post, self._tell, timekeeper.now, timekeeper.known
        )
        self._programmes = Programmes(self._schedules, disk, around)
        timekeeper.schedules = self._schedules.digest

    async def load(self) -> None:
        """Read what is kept: the first request for the time says which schedules there are."""
        await self._schedules.load()

    async def run(self) -> None:
        """Keep what comes and play what is due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._schedules.run(), name="schedules")
            group.create_task(self._programmes.run(), name="programmes")

    async def close(self) -> None:
        """Close the file."""
        await self._schedules.close()

    def on_message(self, payload: bytes) -> None:
        """Take a message of our channel `schedule`; neither blocks nor raises."""
        self._schedules.on_message(payload)

    def clock_changed(self) -> None:
        """The clock was set."""
        self._programmes.wake()

    def _refused(self, reason: str) -> None:
        self._hub.post(None, Alarm(code="bad_command", active=True, evidence=f"schedule: {reason}"[:1000]))

    def _tell(self, code: str, evidence: str) -> None:
        self._own_state.set("schedule", "ok" if code == "works" else "degraded", code, evidence)
