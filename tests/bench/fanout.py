"""Row `fanout`: one command to an area of thousands of agents, beside a bare publisher's message of the same size on the same topic.

Both are timed from the moment at which whoever wants it acts (the HTTP request is sent, the MQTT packet is written) until the
last agent has it. The agents' subscriptions are those of households: their own two and seven areas each.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench import raw_mqtt
from tests.bench.content import COUNTY, DEVICES, Batch, sites
from tests.bench.fleet import Fleet, FleetAgent
from tests.bench.rig import UNLIMITED, RunningCollector, Usage, collector, known, room_for
from tests.bench.rows import Say
from tests.collector.people import bearer
from tests.peers.mosquitto import Mosquitto
from village_wire.events import CONTENT_JSON
from village_wire.ids import uuid7
from village_wire.topics import AreaCommandTopic

_TEXT = "各位村民请注意，今晚有大雨，请不要到河边去，请关好门窗，照看好老人和孩子。"
_SPEAKERS = [device for device, _, _, ability, _, _ in DEVICES if ability == "loudspeaker"]
_TOPIC = str(AreaCommandTopic(COUNTY))


def run(quick: bool, say: Say) -> dict[str, Any]:
    """Return seconds (medians) until the last agent has it, `raw_s` and `command_s`, and their `ratio`."""
    return measure(1_000 if quick else 10_000, 5 if quick else 9, say)


def measure(count: int, rounds: int, say: Say) -> dict[str, Any]:
    """Measure with so many agents, so many times."""
    return asyncio.run(_measure(count, rounds, say))


class _Arrivals:
    """Waits until all agents have the same message."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._last = 0.0
        self._first = 0.0
        self._count = 0
        self.payload = b""
        self.answering = False
        fleet.on_command = self._arrived

    def expect(self) -> None:
        self._count = 0

    async def all(self, seconds: float = 60) -> tuple[float, float]:
        """Return when the first and the last agent had it, as monotonic times; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while self._count < len(self._fleet.agents):
                await asyncio.sleep(0.01)
        return self._first, self._last

    def _arrived(self, agent: FleetAgent, message: raw_mqtt.Published) -> None:
        self._last = time.monotonic()
        if not self._count:
            self._first, self.payload = self._last, message.payload
        self._count += 1
        if self.answering:
            agent.add(_answer(json.loads(message.payload)["id"]))


async def _measure(count: int, rounds: int, say: Say) -> dict[str, Any]:
    room_for(count)
    with tempfile.TemporaryDirectory(prefix="village-bench-") as folder:
        async with (
            Mosquitto(Path(folder), UNLIMITED) as broker,
            collector(Path(folder) / "collector", broker.url) as running,
        ):
            assert broker._process is not None
            fleet = Fleet(broker.port, sites(count, household=True))
            task = asyncio.create_task(fleet.run(), name="fleet")
            try:
                fleet.power_on()
                await fleet.wait_ready(300)
                await known(running, count * len(DEVICES))
                say(f"{count} agents are known")
                usages = {
                    "collector": Usage(running.pid),
                    "broker": Usage(broker._process.pid),
                    "agents": Usage(os.getpid()),
                }
                return await _rounds(fleet, broker.port, running, usages, rounds, say)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _rounds(
    fleet: Fleet, port: int, running: RunningCollector, usages: dict[str, Usage], rounds: int, say: Say
) -> dict[str, Any]:
    arrivals = _Arrivals(fleet)
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.fanout", str(port), running.api,
        stdin=-1, stdout=-1, limit=1 << 20, env={**os.environ, "VILLAGE_TOKEN": running.token},
    )  # fmt: skip
    raw: list[float] = []
    commands: list[float] = []
    first: list[float] = []
    try:
        # The first of each warms up.
        for _ in range(rounds + 1):
            begun = await _act(publisher, arrivals, {"command": True})
            at_first, at_last = await arrivals.all()
            commands.append(at_last - begun)
            first.append(at_first - begun)
            await _quiet(usages)
            begun = await _act(publisher, arrivals, {"raw": arrivals.payload.decode()})
            raw.append((await arrivals.all())[1] - begun)
            await _quiet(usages)
        say(f"raw {raw}, command {commands}")
        arrivals.answering = True
        begun = await _act(publisher, arrivals, {"command": True})
        expected = len(fleet.agents) * len(_SPEAKERS)
        answered = await _answered(running, json.loads(await _payload(arrivals))["id"], expected)
    finally:
        publisher.kill()
        await publisher.wait()
    raw_s, command_s = statistics.median(raw[1:]), statistics.median(commands[1:])
    return {
        "agents": len(fleet.agents),
        "loudspeakers": expected,
        "rounds": rounds,
        "message_bytes": len(arrivals.payload),
        "raw_s": round(raw_s, 4),
        "raw_spread_s": [round(min(raw[1:]), 4), round(max(raw[1:]), 4)],
        "command_s": round(command_s, 4),
        "command_spread_s": [round(min(commands[1:]), 4), round(max(commands[1:]), 4)],
        "command_first_s": round(statistics.median(first[1:]), 4),
        "ratio": round(command_s / raw_s, 3),
        "all_answers_stored_s": round(answered - begun, 2),
        "collector_rss_mb": round(usages["collector"].rss_mb(), 1),
        "broker_rss_mb": round(usages["broker"].rss_mb(), 1),
    }


async def _act(publisher: asyncio.subprocess.Process, arrivals: _Arrivals, order: dict[str, Any]) -> float:
    """Let the other process act; return the monotonic time (the machine's, the same in all processes) at which it began."""
    assert publisher.stdin is not None
    assert publisher.stdout is not None
    arrivals.expect()
    publisher.stdin.write(json.dumps(order).encode() + b"\n")
    await publisher.stdin.drain()
    return float(await publisher.stdout.readline())


async def _payload(arrivals: _Arrivals) -> bytes:
    await arrivals.all()
    return arrivals.payload


async def _quiet(usages: dict[str, Usage]) -> None:
    """Wait until broker, collector and agents have nothing left to do of the last message."""
    async with asyncio.timeout(60):
        while True:
            for usage in usages.values():
                usage.lap()
            await asyncio.sleep(0.2)
            if sum(usage.lap() for usage in usages.values()) <= 0.02:
                return


async def _answered(running: RunningCollector, command: str, expected: int) -> float:
    """Wait until the collector has a final answer of all; return when."""
    async with asyncio.timeout(120):
        while await asyncio.to_thread(_final, running, command) < expected:
            await asyncio.sleep(0.1)
    return time.monotonic()


def _final(running: RunningCollector, command: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(running.api).netloc, timeout=60)
    try:
        connection.request("GET", "/api/v1/broadcasts?limit=5", headers=bearer(running.token))
        found = json.loads(connection.getresponse().read())["broadcasts"]
        return next((int(entry["counts"]["heard"]) for entry in found if entry["id"] == command), 0)
    finally:
        connection.close()


def _answer(command: str) -> Batch:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    events = [
        {
            "id": str(uuid7(int(now * 1000))),
            "time": stamp,
            "device": device,
            "data": {"kind": "receipt", "broadcast": command, "stage": stage},
        }
        for device in _SPEAKERS
        for stage in ("started", "finished")
    ]
    return Batch(uuid.uuid4().hex, True, json.dumps({"events": events}).encode(), CONTENT_JSON, len(events))


def _publisher(port: int, api: str) -> None:
    """Act on each line of stdin, and print when it began."""
    bare = socket.create_connection(("127.0.0.1", port))
    bare.sendall(raw_mqtt.connect("bare-publisher", 0, 0, "bench/will", b"", clean=True))
    bare.recv(1000)
    request = {
        "targets": [{"area": COUNTY}],
        "text": _TEXT,
        "expires_in": 300,
    }
    connection = http.client.HTTPConnection(urlsplit(api).netloc, timeout=60)
    for number, line in enumerate(sys.stdin, 1):
        order = json.loads(line)
        begun = time.monotonic()
        if "raw" in order:
            bare.sendall(raw_mqtt.publish(_TOPIC, order["raw"].encode(), number, expiry=300))
            print(begun, flush=True)
            bare.recv(1000)
        else:
            headers = {"Content-Type": "application/json", **bearer(os.environ["VILLAGE_TOKEN"])}
            connection.request("POST", "/api/v1/broadcasts", json.dumps(request), headers)
            print(begun, flush=True)
            connection.getresponse().read()


if __name__ == "__main__":
    _publisher(int(sys.argv[1]), sys.argv[2])
