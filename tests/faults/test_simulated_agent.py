"""The tools of the fault tests: a simulated agent sends until it is acknowledged, and the comparison finds what differs."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.agent.collector import Collector, acknowledge, collector
from tests.agent.kit import running, until
from tests.faults.compare import Comparison
from tests.faults.simulated_agent import SimulatedAgent
from tests.peers.mosquitto import Mosquitto
from village_wire.address import BrokerAddress
from village_wire.incoming import Received
from village_wire.presence import Ack


def stored(comparison: Comparison, agent: SimulatedAgent, far: Collector) -> Comparison:
    pressed = [(str(one.id), one.data.action) for one in far.events if one.data.kind == "button_pressed"]
    comparison.add_events(agent, pressed)
    lines = [line.rsplit(" ", 2) for line in far.lines]
    comparison.add_readings(
        agent, [(int(time) // 1000, float(value.removeprefix("value="))) for _, value, time in lines]
    )
    return comparison


async def test_keeps_sending_until_all_is_acknowledged(tmp_path: Path) -> None:
    seen: Counter[bytes] = Counter()

    def every_second_time(message: Received) -> Ack | None:
        seen[message.correlation] += 1
        return acknowledge(message) if seen[message.correlation] > 1 else None

    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        far.answer = every_second_time
        agent = SimulatedAgent([BrokerAddress(broker.url)], "a1", ack_seconds=0.2)
        agent.produce(3, 5)
        async with running(agent.run()), asyncio.timeout(10):
            await until(lambda: agent.connected)
            agent.produce(20, 0)
            agent.produce(0, 20)
            await agent.drained()
            await broker.kill()
            await until(lambda: not agent.connected)
            agent.produce(1, 1)
            assert agent.pending == 2
            await broker.start()
            await agent.drained()
        assert agent.connections == 2
        assert agent.resent >= 4
        result = stored(Comparison(), agent, far)
        assert (result.events, result.readings) == (24, 26)
        assert result.same, result


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([("1", "1")], "a1: event 2 (2) is lost"),
        ([("1", "1"), ("2", "2"), ("2", "2")], "a1: event 2 is stored 2 times"),
        ([("1", "1"), ("2", "3")], "a1: event 2 (2) is stored as 3"),
        ([("1", "1"), ("2", "2"), ("3", "3")], "a1: event 3 was never produced"),
    ],
)
def test_a_difference_is_found(found: list[tuple[str, str]], problem: str) -> None:
    agent = SimulatedAgent([], "a1", events={"1": 1, "2": 2})
    comparison = Comparison()
    comparison.add_events(agent, found)
    assert not comparison.same
    assert comparison.differences == [problem]
