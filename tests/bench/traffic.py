"""Row `traffic`: bytes on the wire of the six-device agent at default settings, idle, through a proxy that counts; scaled to a month.

A month has 30 days. How IP bytes are estimated is told in `village_wire.traffic`; the agent counts in the same way and reports
it, as `month_mb`. Readings are gathered ever longer in the first minutes of a connection, so counting begins when that is over and
goes from one batch to another.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from tests.bench import raw_mqtt
from tests.bench.rig import UNLIMITED, collector
from tests.bench.rows import Say
from tests.bench.six_devices import all_ok, six_devices
from tests.peers.mosquitto import Mosquitto
from village_agent.pace import Pace
from village_wire.traffic import Traffic

MONTH_SECONDS = 30 * 86_400
#: Gathering doubles with each batch until it reaches its full length.
_SETTLING_SECONDS = 2 * Pace().send_seconds
_BATCHES = 2
QUICK_SECONDS = 45.0
_ROUND_TRIP_SECONDS = 2.0
_NAMES = {
    1: "connect",
    2: "connack",
    3: "publish",
    4: "puback",
    8: "subscribe",
    9: "suback",
    12: "ping",
    13: "pong",
    14: "disconnect",
}

Way = Literal["up", "down"]


def run(quick: bool, say: Say) -> dict[str, Any]:
    """Return what a month comes to, under `month`, and what it consists of.

    The quick form has no time to wait for the steady state: it tells of the first minutes, under `while_settling`.
    """
    return asyncio.run(_measure(quick, say))


class Tally:
    """What went through the proxy."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.mqtt_bytes: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.plain, self.secure = Traffic(), Traffic(secure=True)
        self.batch = asyncio.Event()

    def chunk(self, way: Way, size: int) -> None:
        """So many bytes came from one side at once."""
        for traffic in (self.plain, self.secure):
            (traffic.wrote if way == "up" else traffic.read)(size, time.monotonic())

    def packet(self, way: Way, kind: int, flags: int, body: bytes) -> None:
        """One MQTT packet was complete."""
        name = _NAMES.get(kind, str(kind))
        if kind == raw_mqtt.PUBLISH:
            name = raw_mqtt.read_publish(flags, body).topic.rpartition("/")[2]
        length = len(body)
        self.mqtt_bytes[f"{way} {name}"] += length + (2 if length < 128 else 3 if length < 16_384 else 4)
        self.messages[f"{way} {name}"] += 1
        if (way, name) == ("up", "telemetry"):
            self.batch.set()

    def month(self, seconds: float) -> dict[str, Any]:
        """Scale to a month, in MB of a million bytes."""
        scale = MONTH_SECONDS / seconds / 1e6
        return {
            "mqtt_mb": round(sum(self.mqtt_bytes.values()) * scale, 2),
            "ip_mb": round(self.plain.total * scale, 2),
            "ip_tls_mb": round(self.secure.total * scale, 2),
            "up_mb": round(self.plain.sent * scale, 2),
            "down_mb": round(self.plain.received * scale, 2),
        }


async def _measure(quick: bool, say: Say) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="village-bench-") as name:
        folder, tally = Path(name), Tally()
        async with (
            Mosquitto(folder, UNLIMITED) as broker,
            collector(folder / "collector", broker.url) as running,
            _proxy(broker.port, tally) as port,
            six_devices(folder / "site", f"mqtt://127.0.0.1:{port}", running.command_key),
        ):
            await all_ok(running)
            start_bytes = sum(tally.mqtt_bytes.values())
            say(f"the start took {start_bytes} bytes of MQTT")
            if quick:
                tally.clear()
                return await _count(tally, QUICK_SECONDS, 0, "while_settling", start_bytes, say)
            say(f"readings are gathered for {Pace().send_seconds:.0f} s; waiting for that")
            await asyncio.sleep(_SETTLING_SECONDS)
            return await _count(tally, 0, _BATCHES, "month", start_bytes, say)


async def _count(tally: Tally, seconds: float, batches: int, name: str, start_bytes: int, say: Say) -> dict[str, Any]:
    """Count for so many seconds, or from one batch of readings to the one so many batches later."""
    if batches:
        await _next_batch(tally)
        # What belongs to the batch itself comes before its like at the end.
        await asyncio.sleep(_ROUND_TRIP_SECONDS)
    tally.clear()
    begun = time.monotonic()
    say("counting")
    await asyncio.sleep(seconds)
    for _ in range(batches):
        await _next_batch(tally)
    await asyncio.sleep(_ROUND_TRIP_SECONDS if batches else 0)
    elapsed = time.monotonic() - begun
    return {
        "seconds": round(elapsed),
        "start_mqtt_bytes": start_bytes,
        name: tally.month(elapsed),
        "per_hour": {
            kind: {
                "messages": round(count * 3600 / elapsed, 1),
                "bytes": round(tally.mqtt_bytes[kind] * 3600 / elapsed),
            }
            for kind, count in sorted(tally.messages.items())
        },
    }


async def _next_batch(tally: Tally) -> None:
    async with asyncio.timeout(3 * Pace().send_seconds):
        tally.batch.clear()
        await tally.batch.wait()


@asynccontextmanager
async def _proxy(target: int, tally: Tally) -> AsyncIterator[int]:
    """Listen, and pass what comes to the broker and back."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass("up", reader, far_writer, tally), name="up")
            group.create_task(_pass("down", far_reader, writer, tally), name="down")

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer), name="proxy")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass(way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally) -> None:
    packets = raw_mqtt.Packets()
    try:
        while data := await reader.read(65_536):
            tally.chunk(way, len(data))
            for kind, flags, body in packets.feed(data):
                tally.packet(way, kind, flags, body)
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
