"""What keeping a connection alive costs: a link that is used needs no probe, one that is not gets one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.peers.mosquitto import Mosquitto
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.outgoing import Publication
from village_wire.session import Session

_PING = b"\xc0\x00"


@asynccontextmanager
async def recorded(target: int, sent: bytearray) -> AsyncIterator[int]:
    """Pass one connection on and keep what its client sends."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)

        async def up() -> None:
            while data := await reader.read(65_536):
                sent.extend(data)
                far_writer.write(data)
            far_writer.close()

        async def down() -> None:
            while data := await far_reader.read(65_536):
                writer.write(data)
            writer.close()

        try:
            await asyncio.gather(up(), down())
        finally:
            done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(5):
            await done.wait()


async def test_only_a_quiet_link_is_probed(tmp_path: Path) -> None:
    sent = bytearray()
    async with Mosquitto(tmp_path) as broker, recorded(broker.port, sent) as port:
        settings = SessionSettings(BrokerAddress(f"mqtt://127.0.0.1:{port}"), "agent", keep_alive=1)
        session = Session(settings, [Subscription("else")], lambda _: None)
        running = asyncio.create_task(session.run(_nothing))
        async with asyncio.timeout(10):
            await session.wait_connected()
            for _ in range(7):
                await session.publish(Publication("t", b"x"))
                await asyncio.sleep(0.25)
            assert _PING not in sent
            while _PING not in sent:
                await asyncio.sleep(0.05)
        # CONNECT, seven messages and a probe, each with the headers of its segment.
        assert session.traffic.sent >= len(sent) + 9 * 52
        assert session.traffic.received > 9 * 52
        running.cancel()
        await asyncio.wait([running])


async def _nothing() -> None:
    return
