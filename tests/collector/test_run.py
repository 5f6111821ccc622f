"""The program itself: started, used over MQTT and HTTP, stopped, killed, started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.collector.kit import SITE, inventory, state, status
from tests.collector.people import api_client
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.events import Event, encode_events
from village_wire.outgoing import Publication
from village_wire.points import CONTENT_DEFLATED, CONTENT_LINES, MAX_INFLATED_BYTES, deflate, encode_point
from village_wire.presence import Ack, AgentStatus, decode_message, encode_message
from village_wire.signed import decode_public_key

_TOPIC = "village/1/agent/a1/"


class Program:
    """A collector that runs in `folder`."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self.process = process
        self.addresses: dict[str, str] = {}
        self._client: httpx.AsyncClient | None = None

    async def ready(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(15):
            while len(self.addresses) < 2:
                line = (await self.process.stdout.readline()).decode()
                assert line, await self._rest()
                name, url = line.split()
                self.addresses[name] = url

    async def _rest(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def ended(self) -> tuple[int, str]:
        """Wait for the end; return exit code and log."""
        async with asyncio.timeout(10):
            log = await self._rest()
            return await self.process.wait(), log

    async def get(self, path: str) -> dict[str, object]:
        if self._client is None:
            self._client = await asyncio.to_thread(api_client, self.folder, self.addresses["api"])
        found: dict[str, object] = (await self._client.get(path)).json()
        return found

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class Agent:
    """An MQTT client that sends as agent `a1` and collects its acks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.stored: set[str] = set()
        self.refused: dict[str, str] = {}

    async def listen(self) -> None:
        async for message in self._connection.messages():
            ack = decode_message(Ack, message.payload)
            self.stored |= set(ack.stored)
            self.refused |= {entry.batch: entry.reason for entry in ack.refused}

    async def send(self, channel: str, payload: bytes, content: str = CONTENT_LINES, batch: str | None = None) -> str:
        batch = batch or uuid4().hex
        answer = _TOPIC + "ack"
        await self._connection.publish(
            Publication(
                _TOPIC + channel, payload, content_type=content, response_topic=answer, correlation=batch.encode()
            )
        )
        return batch

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def program(folder: Path, api_port: int = 0, broker: str = "port = 0") -> AsyncIterator[Program]:
    config = folder.parent / "collector.toml"
    config.write_text(f"[broker]\n{broker}\n[api]\nport = {api_port}\n")
    command = [sys.executable, "-m", "village_collector.cli", "run", "--config", str(config), "--data-dir", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    made = Program(folder, process)
    try:
        yield made
    finally:
        await made.close()
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def agent(it: Program) -> AsyncIterator[Agent]:
    async with connect(
        SessionSettings(BrokerAddress(it.addresses["broker"]), f"agent-{uuid4().hex[:8]}")
    ) as connection:
        await connection.subscribe([Subscription(_TOPIC + "ack")])
        made = Agent(connection)
        listening = asyncio.create_task(made.listen(), name="acks")
        try:
            yield made
        finally:
            listening.cancel()
            await asyncio.wait([listening])


def line(value: float = 1.0, agent_id: str = "a1") -> bytes:
    return encode_point("sensor", agent_id, "speaker", {"value": value}, time.time_ns())


def _rows(folder: Path, name: str, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / name)) as connection:
        return connection.execute(query).fetchall()


async def test_takes_what_agents_send_and_ends_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with program(folder) as it:
        await it.ready()
        assert json.loads((folder / "addresses.json").read_text()) == it.addresses
        async with agent(it) as a1:
            since = AgentStatus(online=True, session=uuid4().hex, version="1", since=status(online=True).since)
            await a1.send("status", encode_message(since))
            await a1.send("inventory", encode_message(inventory("a1", *SITE)))
            happened: list[Event] = [state("speaker", session=since.session), state("reader", session=since.session)]
            good = [
                await a1.send("telemetry", line(1.0)),
                await a1.send("telemetry", deflate(line(2.0) + b"\n" + line(3.0)), CONTENT_DEFLATED),
                await a1.send("event", encode_events(happened), "application/json"),
                await a1.send("event", encode_events(happened), "application/json"),
            ]
            wrong = [
                await a1.send("telemetry", line(agent_id="a2")),
                await a1.send("telemetry", b"\x00\xff nonsense"),
                await a1.send("telemetry", zlib.compress(b" " * (MAX_INFLATED_BYTES * 50), 9), CONTENT_DEFLATED),
                await a1.send("telemetry", b"x" * 300_000),
                await a1.send("event", b"[]", "application/json"),
            ]
            await a1.until(lambda: len(a1.stored) + len(a1.refused) >= len(good) + len(wrong))
            assert a1.stored == set(good)
            assert set(a1.refused) == set(wrong)
            found = await it.get("/devices/a1/speaker/history?field=value")
            assert [sample[1] for sample in found["samples"]] == [1.0, 2.0, 3.0]  # type: ignore[attr-defined]
            letters = (await it.get("/dead-letters"))["letters"]
            assert isinstance(letters, list)
            assert sorted(letter["reason"][:12] for letter in letters) == sorted(
                a1.refused[batch][:12] for batch in wrong
            )
            health = await it.get("/health")
            assert health["collector"]["status"] == "ok"  # type: ignore[index]
        children = psutil.Process(it.process.pid).children()
        start = time.monotonic()
        it.process.send_signal(signal.SIGTERM)
        code, log = await it.ended()
        assert time.monotonic() - start < 5
        assert (code, "Traceback" in log, "WARNING" in log) == (0, False, False), log
        assert not (folder / "addresses.json").exists()
        assert not [child for child in children if child.is_running()]
    assert _rows(folder, "telemetry.db", "SELECT count(*) FROM samples") == [(3,)]
    assert _rows(folder, "control.db", "SELECT count(*) FROM events") == [(2,)]


async def test_whatever_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    sent: dict[str, float] = {}
    events: dict[str, str] = {}
    acknowledged: set[str] = set()
    for round_ in range(2):
        async with program(folder) as it:
            await it.ready()
            async with agent(it) as a1:
                for n in range(60):
                    value = float(round_ * 1000 + n)
                    sent[await a1.send("telemetry", line(value))] = value
                    happened = state("speaker")
                    events[await a1.send("event", encode_events([happened]), "application/json")] = str(happened.id)
                await a1.until(lambda: len(a1.stored) >= 30)
                it.process.kill()
                await it.process.wait()
                acknowledged |= a1.stored
    async with program(folder) as it:
        await it.ready()
        it.process.terminate()
        assert (await it.ended())[0] == 0
    stored = {row[0] for row in _rows(folder, "telemetry.db", "SELECT value FROM samples")}
    assert {sent[batch] for batch in acknowledged if batch in sent} <= stored
    kept = {row[0] for row in _rows(folder, "control.db", "SELECT id FROM events")}
    assert {events[batch] for batch in acknowledged if batch in events} <= kept
    assert len(acknowledged) >= 60


async def test_a_broker_that_is_away_is_shown(tmp_path: Path) -> None:
    async with program(tmp_path / "data", broker='url = "mqtt://127.0.0.1:1"') as it:
        await it.ready()
        async with asyncio.timeout(10):
            while "mqtt://127.0.0.1:1" not in str((await it.get("/health"))["collector"]):
                await asyncio.sleep(0.05)
        it.process.send_signal(signal.SIGINT)
        code, log = await it.ended()
        assert (code, log.count("mqtt://127.0.0.1:1")) == (0, 1), log


async def test_keeps_a_second_one_out_and_names_taken_ports(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as first:
        await first.ready()
        async with program(tmp_path / "data") as second:
            code, said = await second.ended()
            assert (code, said) == (
                4,
                f"another collector uses {tmp_path / 'data'}; stop it, or give this one another data_dir\n",
            )
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with program(tmp_path / "data", port) as third:
            code, said = await third.ended()
            assert (code, f"can't listen on 127.0.0.1 port {port}: Address already in use" in said) == (1, True), said


async def _run(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "village_collector.cli", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_prints_the_key_for_agents(tmp_path: Path) -> None:
    code, first = await _run("command-key", "--data-dir", str(tmp_path / "data"))
    assert code == 0
    decode_public_key(first.strip())
    assert await _run("command-key", "--data-dir", str(tmp_path / "data")) == (0, first)
    assert (tmp_path / "data" / "command_key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "data" / "command_key").chmod(0o644)
    code, said = await _run("command-key", "--data-dir", str(tmp_path / "data"))
    assert (code, "chmod 600" in said) == (1, True)


async def test_says_what_answers(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[broker]\nurl = "mqtt://127.0.0.1:1"\n[collector]\ndata_dir = "data"\n')
    code, said = await _run("check", "--config", str(config), "--json")
    rows = {row["part"]: row for row in json.loads(said)["rows"]}
    assert (code, rows["broker"]["status"], rows["data_dir"]["status"]) == (2, "down", "ok")
    assert "mqtt://127.0.0.1:1" in rows["broker"]["evidence"]
    assert not (tmp_path / "data").exists()
    config.write_text('[telemetry]\nstore = "influx"\n')
    code, said = await _run("check", "--config", str(config))
    assert (code, f"{config}, line 1: telemetry: " in said) == (3, True)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
async def test_help_is_quick(arguments: list[str]) -> None:
    def best() -> float:
        return min(_seconds(arguments) for _ in range(3))

    assert await asyncio.to_thread(best) < 0.2


def _seconds(arguments: list[str]) -> float:
    start = os.times()
    subprocess.run([sys.executable, "-m", "village_collector.cli", *arguments], check=True, capture_output=True)
    end = os.times()
    return end.children_user + end.children_system - start.children_user - start.children_system
