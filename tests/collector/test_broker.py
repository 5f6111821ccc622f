from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.peers import free_port
from village_collector import broker
from village_collector.broker import BrokerFailed, EmbeddedBroker
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.points import MAX_MESSAGE_BYTES


@asynccontextmanager
async def running(folder: Path, port: int = 0) -> AsyncIterator[EmbeddedBroker]:
    made = EmbeddedBroker(folder, port)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def _receive(connection: Connection, count: int) -> list[Received]:
    found: list[Received] = []
    async with asyncio.timeout(10):
        async for message in connection.messages():
            found.append(message)
            if len(found) == count:
                break
    return found


def _child_of(process: int) -> psutil.Process:
    return next(child for child in psutil.Process(process).children() if "iotcore" in " ".join(child.cmdline()))


async def test_carries_our_longest_message_to_one_of_a_group_and_keeps_retained_ones(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        address = BrokerAddress(it.url)
        async with connect(SessionSettings(address, "a")) as agent, connect(SessionSettings(address, "c")) as collector:
            await collector.subscribe([Subscription("$share/c/x/+", retained=False)])
            long = Publication(
                "x/1", os.urandom(MAX_MESSAGE_BYTES + 1000), content_type="t", response_topic="r", correlation=b"0" * 32
            )
            await agent.publish(long)
            await agent.publish(Publication("s/1", b"online", retain=True))
            (got,) = await _receive(collector, 1)
            assert (got.payload, got.content_type, got.response_topic, got.correlation) == (
                long.payload,
                "t",
                "r",
                b"0" * 32,
            )
        async with connect(SessionSettings(address, "d")) as late:
            await late.subscribe([Subscription("s/+")])
            assert [(m.payload, m.retained) for m in await _receive(late, 1)] == [(b"online", True)]


async def test_listens_on_the_loopback_only(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::"):
        with pytest.raises(ValueError, match="listens on 127"):
            EmbeddedBroker(tmp_path, 1883, host)
    async with running(tmp_path) as it:
        port = int(it.url.rpartition(":")[2])
        connections = await asyncio.to_thread(psutil.net_connections, "inet")
        listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN and c.laddr]
        assert [address.ip for address in listening if address.port == port] == ["127.0.0.1"]


async def test_a_taken_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_PREDECESSOR_SECONDS", 0.1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerFailed, match=rf"port {port}: Address already in use\..*\[broker\] port"):
            await EmbeddedBroker(tmp_path, port).start()


async def test_a_folder_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match=r"broker\.toml: No such file"):
        await EmbeddedBroker(tmp_path / "absent", 0).start()


async def test_is_started_again_when_it_dies(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        watching = asyncio.create_task(it.watch(), name="watch")
        os.kill((await asyncio.to_thread(_child_of, os.getpid())).pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while it.problem is None:
                await asyncio.sleep(0.01)
            assert it.problem.part == "broker"
            assert "is started again" in it.problem.text
            while it.problem is not None:
                await asyncio.sleep(0.01)
        async with connect(SessionSettings(BrokerAddress(it.url), "a")):
            pass
        watching.cancel()
        await asyncio.wait([watching])


async def test_ends_with_its_parent_whatever_kills_it(tmp_path: Path) -> None:
    port = free_port()
    program = textwrap.dedent(f"""
        import asyncio, pathlib
        from village_collector.broker import EmbeddedBroker
        async def main():
            broker = EmbeddedBroker(pathlib.Path({str(tmp_path)!r}), {port})
            await broker.start()
            print("ready", flush=True)
            await asyncio.Event().wait()
        asyncio.run(main())
    """)

    def kill_parent() -> psutil.Process:
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"ready\n"
            child = _child_of(parent.pid)
            parent.kill()
        psutil.wait_procs([child], timeout=10)
        return child

    assert not (await asyncio.to_thread(kill_parent)).is_running()
    async with running(tmp_path, port):
        pass
