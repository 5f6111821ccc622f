"""The program itself on mosquitto and InfluxDB, configured as `deploy/samples/collector-influx.toml` says."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.collector.test_run import Agent, Program, agent
from tests.peers import free_port
from tests.peers.influx import ORGANISATION, TOKEN, influx_server
from tests.peers.mosquitto import Mosquitto
from village_collector.ingest import MAX_TELEMETRY_BYTES
from village_collector.stores.influx.plan import Admin, Wish
from village_collector.stores.influx.rest import Rest
from village_collector.stores.influx.setup import Setup
from village_wire.points import encode_point

_LINES = 550
_DIGITS = str.maketrans("abcdef", "012345")
_SAMPLE = Path(__file__).parents[2] / "deploy" / "samples" / "collector-influx.toml"


@asynccontextmanager
async def configured(folder: Path, influx: str, broker: str) -> AsyncIterator[Program]:
    """Run the sample's configuration; only addresses and folders are those of the test."""
    text = _SAMPLE.read_text()
    for key, value in {
        "/var/lib/village-collector": str(folder / "data"),
        "/etc/village-edge/influx-token": str(folder / "tokens" / "influx-token"),
        'url = "mqtts://localhost:8883"\npublic_url = "mqtts://broker.example.cn:8883"\nfiles_dir = "/var/lib/village-mosquitto"': (
            f'url = "{broker}"'
        ),
        'http://127.0.0.1:8086"\norg': f'{influx}"\norg',
        "port = 8480": "port = 0",
    }.items():
        assert key in text
        text = text.replace(key, value)
    (folder / "collector.toml").write_text(text)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "village_collector.cli", "run", "--config", str(folder / "collector.toml"),
        stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
    )  # fmt: skip
    made = Program(folder / "data", process)
    try:
        await made.ready()
        yield made
    finally:
        await made.close()
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _set_up(url: str, folder: Path) -> None:
    wish = Wish(url, ORGANISATION, "telemetry", folder / "tokens")
    await Setup(wish, Admin(TOKEN), dry=False, tell=lambda _: None).run()


async def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def _collector(it: Program) -> dict[str, Any]:
    found = (await it.get("/health"))["collector"]
    assert isinstance(found, dict)
    return found


async def _count(url: str) -> int:
    rest = Rest(url, TOKEN, ORGANISATION)
    rows = await rest.query(
        'from(bucket: "telemetry") |> range(start: -1d) |> filter(fn: (r) => r._field == "value") |> group() |> count()'
    )
    await rest.close()
    return int(rows[0]["_value"]) if rows else 0


async def test_from_a_store_that_is_away_to_the_history(tmp_path: Path) -> None:
    port = free_port()
    with influx_server(tmp_path, port) as server:
        await _set_up(server.url, tmp_path)
    async with Mosquitto(tmp_path) as broker, configured(tmp_path, server.url, broker.url) as it, agent(it) as a1:
        now = time.time_ns()
        batch = await a1.send("telemetry", encode_point("sensor", "a1", "speaker", {"value": 4.5}, now))
        async with asyncio.timeout(20):
            while (row := await _collector(it))["code"] != "store_away":
                await asyncio.sleep(0.05)
        assert (row["status"], "Connection refused" in row["evidence"]) == ("down", True)
        assert "agents keep their readings" in row["advice"]["en"]
        assert "代理会保留读数" in row["advice"]["zh"]
        with influx_server(tmp_path, port):
            await _until(lambda: a1.stored == {batch})
            assert (await _collector(it))["status"] == "ok"
            bad = await a1.send(
                "telemetry", encode_point("sensor", "a1", "speaker", {"value": 1.0}, now + 1)[:-19] + b"x"
            )
            good = await a1.send("telemetry", encode_point("sensor", "a1", "speaker", {"value": 5.5}, now + 2))
            await _until(lambda: {bad, good} <= a1.stored)
            found = await it.get("/devices/a1/speaker/history?field=value")
            assert [sample[1] for sample in found["samples"]] == [4.5, 5.5]  # type: ignore[attr-defined]
            letters = (await it.get("/dead-letters"))["letters"]
            assert len(letters) == 1  # type: ignore[arg-type]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "village_collector.cli", "check", "--json", "--config",
                str(tmp_path / "collector.toml"), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            rows = json.loads((await process.communicate())[0])["rows"]
            assert {row["part"]: row["status"] for row in rows} == {row["part"]: "ok" for row in rows}, rows
            assert process.returncode == 0


def _batches(number: int) -> Iterator[bytes]:
    """Messages of some 250 KB in few lines, for numbers may have as many digits as they like; each sample in its own nanosecond."""
    begin = time.time_ns() - 3600 * 10**9
    for batch in range(number):
        first = begin + batch * _LINES
        yield b"\n".join(
            b"sensor,agent=a1,device=d value=0.%s %d"
            % (secrets.token_bytes(190).hex().translate(_DIGITS).encode(), first + line)
            for line in range(_LINES)
        )


async def _send_until_stored(a1: Agent, waiting: dict[str, bytes]) -> None:
    while missing := waiting.keys() - a1.stored:
        for batch in missing:
            await a1.send("telemetry", waiting[batch], batch=batch)
        await asyncio.sleep(1)


async def test_memory_is_bounded_while_the_store_is_away(tmp_path: Path) -> None:
    port = free_port()
    with influx_server(tmp_path, port) as server:
        await _set_up(server.url, tmp_path)
    # mosquitto itself would drop what waits for a slow collector; the collector is the one under test.
    limits = "max_queued_messages 0\nmax_inflight_messages 0\n"
    async with (
        Mosquitto(tmp_path, limits) as broker,
        configured(tmp_path, server.url, broker.url) as it,
        agent(it) as a1,
    ):
        process = psutil.Process(it.process.pid)
        before = process.memory_info().rss
        waiting: dict[str, bytes] = {}
        for payload in _batches(200):
            waiting[await a1.send("telemetry", payload)] = payload
        size = sum(map(len, waiting.values()))
        assert size > 1.3 * MAX_TELEMETRY_BYTES
        async with asyncio.timeout(20):
            while (await _collector(it))["code"] != "store_away":
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        grown = process.memory_info().rss - before
        assert not a1.stored
        print(f"{size / 1e6:.0f} MB sent, {grown / 1e6:.0f} MB grown from {before / 1e6:.0f} MB")
        assert grown < 1.5 * MAX_TELEMETRY_BYTES
        with influx_server(tmp_path, port):
            async with asyncio.timeout(25):
                await _send_until_stored(a1, waiting)
            assert await _count(server.url) == _LINES * len(waiting)
        assert process.memory_info().rss - before < 3 * MAX_TELEMETRY_BYTES
