"""Two collectors and a fleet on a real cluster of three MQTT 5 brokers. One node is killed: nothing is lost, nothing is stored twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.collectors import Stores, collector_program, shared_stores
from tests.faults.compare import compare
from tests.faults.fleet import fleet, obeyed
from tests.faults.simulated_agent import SimulatedAgent
from tests.peers import peer
from tests.peers.rmqtt import rmqtt_cluster

AGENTS = 8
#: RMQTT 0.24 goes on giving the dead node's subscribers their share, so that every second message is lost until that node is back:
#: the last of a thousand batches needs some ten tries.
_ACK_SECONDS = 0.7
#: How long the fleet goes on after the node's end, at least.
_AFTER_SECONDS = 1.0


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    peer("rmqttd")
    with shared_stores(tmp_path) as made:
        yield made


@pytest.mark.timeout(150)
async def test_a_node_that_dies_takes_nothing_with_it(tmp_path: Path, stores: Stores) -> None:
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(rmqtt_cluster(tmp_path))
        living, other, victim = nodes
        stays, loses = [
            await stack.enter_async_context(collector_program(name, node.url, stores))
            for name, node in (("collector-1", living), ("collector-2", victim))
        ]
        near, far = [victim.address, other.address], [other.address, living.address]
        agents = [
            SimulatedAgent((near, far)[n % 2], f"sim-{n}", key=stores.key, ack_seconds=_ACK_SECONDS)
            for n in range(AGENTS)
        ]
        async with fleet(agents):
            for program in (stays, loses):
                async with asyncio.timeout(20):
                    while len((await program.ask("GET", "/agents"))["agents"]) < AGENTS:
                        await asyncio.sleep(0.1)
            assert max([await obeyed(stays, agent) for agent in agents[:4]]) < 3
            await asyncio.sleep(random.uniform(0.5, 1.5))
            await victim.kill()
            died = time.monotonic()
            await asyncio.sleep(_AFTER_SECONDS)
            async with asyncio.timeout(40):
                while not all(agent.connected for agent in agents):
                    await asyncio.sleep(0.1)
            print(f"all agents are connected {time.monotonic() - died:.1f} s after the node's end")
            # Its result may be lost to the collector without a broker, and then comes again.
            assert await obeyed(stays, agents[0]) < 15
        print(f"all is acknowledged {time.monotonic() - died:.1f} s after the node's end")
        assert all(agent.connections > 1 for agent in agents[::2])
        async with stores.control() as control, stores.telemetry() as telemetry:
            result = await compare(agents, control, telemetry)
        print(result)
        assert result.same, result
        assert result.events > 100
        assert result.readings > 400
