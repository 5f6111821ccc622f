"""Compares what simulated agents produced with what is stored: event by event, sample by sample."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.faults.simulated_agent import FIELD, KIND, METER, SimulatedAgent
from village_collector.ports import TelemetryStore
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import EventFilter

_ALL = 10_000_000


@dataclass
class Comparison:
    """Counts, and the first things that differ, in words."""

    events: int = 0
    readings: int = 0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = (
            f"{len(self.differences)} differ: {self.differences[:5]}" if self.differences else "all are stored once"
        )
        return f"{self.events} events and {self.readings} readings produced, {verdict}"

    @property
    def same(self) -> bool:
        """Whether everything is stored once, and nothing else."""
        return not self.differences

    def add_events(self, agent: SimulatedAgent, stored: Iterable[tuple[str, str]]) -> None:
        """`stored` are (event id, number as text) of one agent's numbered events, as often as they are stored."""
        self.events += len(agent.events)
        self._add(agent.agent, "event", {key: str(number) for key, number in agent.events.items()}, stored)

    def add_readings(self, agent: SimulatedAgent, stored: Iterable[tuple[int, float]]) -> None:
        """`stored` are (microseconds since 1970, value) of one agent's readings, as often as they are stored."""
        self.readings += len(agent.readings)
        expected = {str(time): str(float(number)) for time, number in agent.readings.items()}
        self._add(agent.agent, "reading", expected, ((str(time), str(value)) for time, value in stored))

    def _add(self, agent: str, what: str, expected: dict[str, str], stored: Iterable[tuple[str, str]]) -> None:
        found = list(stored)
        times = Counter(key for key, _ in found)
        values = dict(found)
        for key, number in expected.items():
            if not times[key]:
                self.differences.append(f"{agent}: {what} {number} ({key}) is lost")
            elif values[key] != number:
                self.differences.append(f"{agent}: {what} {number} ({key}) is stored as {values[key]}")
        self.differences += [f"{agent}: {what} {key} is stored {n} times" for key, n in times.items() if n > 1]
        self.differences += [f"{agent}: {what} {key} was never produced" for key in times if key not in expected]


async def compare(
    agents: Sequence[SimulatedAgent], control: ControlStore | None, telemetry: TelemetryStore | None
) -> Comparison:
    """Compare with open stores; one that is None is left out."""
    comparison = Comparison()
    start, end = datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
    for agent in agents:
        if control is not None:
            wanted = EventFilter(agent=agent.agent, kind="button_pressed")
            page = await asyncio.to_thread(control.events, wanted, _ALL)
            comparison.add_events(agent, [(event.id, str(event.data["action"])) for event in page.events])
        if telemetry is not None:
            samples = await telemetry.history(agent.agent, METER, KIND, FIELD, start, end, _ALL)
            comparison.add_readings(
                agent, [(round(sample.time.timestamp() * 1e6), float(sample.value)) for sample in samples]
            )
    return comparison
