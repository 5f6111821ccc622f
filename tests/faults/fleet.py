"""A fleet of simulated agents at work, and how fast one of them obeys."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.faults.collectors import CollectorProgram
from tests.faults.simulated_agent import SPEAKER, SimulatedAgent


@asynccontextmanager
async def fleet(agents: Sequence[SimulatedAgent]) -> AsyncIterator[None]:
    """Run agents, each producing some events and readings every moment, for the length of a block."""

    async def produce(agent: SimulatedAgent) -> None:
        while True:
            agent.produce(random.randint(1, 4), random.randint(5, 20))
            await asyncio.sleep(random.uniform(0.1, 0.4))

    running = [asyncio.create_task(agent.run(), name=agent.agent) for agent in agents]
    producing = [asyncio.create_task(produce(agent), name=f"{agent.agent} produces") for agent in agents]
    try:
        yield
        for task in producing:
            task.cancel()
        async with asyncio.timeout(40):
            for agent in agents:
                await agent.drained()
    finally:
        for task in (*producing, *running):
            task.cancel()
        await asyncio.wait([*producing, *running])


async def obeyed(asked: CollectorProgram, agent: SimulatedAgent) -> float:
    """Seconds from a command to the news that it was done, all asked of one collector."""
    began = time.monotonic()
    body = {"target": {"agent": agent.agent, "device": SPEAKER}, "arguments": {"kind": "stop"}, "expires_in": 20}
    command = await asked.ask("POST", "/commands", body)
    while command["state"] == "waiting":
        seen = command["counts"]["answered"]
        command = await asked.ask("GET", f"/commands/{command['id']}?wait=20&seen={seen}")
    assert command["state"] == "done", command
    return time.monotonic() - began
