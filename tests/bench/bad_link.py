"""A bad link between a broker and an agent.

It is a proxy that does to MQTT what a lossy network does to TCP: 2 % of the segments come 200 ms
late (the least retransmission time-out of Linux), each takes a further 0 to 80 ms, and none overtakes another. `tc netem` would need a
kernel module that is not everywhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.peers import free_port

#: The share of lost segments, when TCP sends them again, and what else may come on top.
LOSS, RESEND_SECONDS, JITTER_SECONDS = 0.02, 0.2, 0.08


@asynccontextmanager
async def bad_link(target: int) -> AsyncIterator[int]:
    """Carry connections to a port of this machine; yield the port that takes them."""
    port, tasks = free_port(), set[asyncio.Task[None]]()
    rng = random.Random(7)

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                sink.write(data)
                await sink.drain()
                if not data:
                    return

        delivering = asyncio.create_task(deliver())
        try:
            while data := await source.read(1448):
                delay = rng.uniform(0, JITTER_SECONDS) + (RESEND_SECONDS if rng.random() < LOSS else 0.0)
                waiting.put_nowait((loop.time() + delay, data))
        except OSError:
            pass
        finally:
            delivering.cancel()
            sink.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        for pair in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(carry(*pair))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
