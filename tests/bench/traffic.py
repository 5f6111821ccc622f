"""Row `traffic`: bytes on the wire of the six-device agent at default settings, idle, through a proxy that counts; scaled to a month.

A month has 30 days. IP bytes are estimated as a 4G operator counts them: each chunk that one side sent is one segment (more if
it is longer than a segment), every segment has an IPv4 and TCP header with time stamps, and a burst that is answered by nothing
but an acknowledgement costs one more header.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.bench import raw_mqtt
from tests.bench.rig import UNLIMITED, collector
from tests.bench.rows import Say
from tests.bench.six_devices import all_ok, six_devices
from tests.peers.mosquitto import Mosquitto

MONTH_SECONDS = 30 * 86_400
#: IPv4 20, TCP 20, time stamps 12: what Linux sends.
HEADER_BYTES = 52
_SEGMENT_BYTES = 1400
#: TLS 1.3: five bytes of record header, one of content type, 16 of AES-GCM's tag, for each write.
TLS_BYTES = 22
#: Linux acknowledges at the latest after 40 ms; data that goes back sooner carries the acknowledgement.
_DELAYED_ACK_SECONDS = 0.04
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
    """Return megabytes (of a million bytes) a month: `month.ip_mb`, `month.ip_tls_mb`, `month.mqtt_mb`, and what they consist of."""
    return asyncio.run(_measure(60 if quick else 600, say))


@dataclass
class Tally:
    """What went through the proxy."""

    mqtt_bytes: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    segments: int = 0
    writes: int = 0
    bare_acks: int = 0
    _open: dict[Way, float] = field(default_factory=dict)

    def clear(self) -> None:
        """Begin anew."""
        self.mqtt_bytes.clear()
        self.messages.clear()
        self.segments = self.writes = self.bare_acks = 0
        self._open.clear()

    def chunk(self, way: Way, size: int, now: float) -> None:
        """So many bytes came from one side at once."""
        self.writes += 1
        self.segments += -(-size // _SEGMENT_BYTES)
        back: Way = "down" if way == "up" else "up"
        asked = self._open.pop(back, None)
        if asked is not None and now - asked > _DELAYED_ACK_SECONDS:
            self.bare_acks += 1
        if way in self._open and now - self._open[way] > _DELAYED_ACK_SECONDS:
            self.bare_acks += 1
        self._open[way] = now

    def packet(self, way: Way, kind: int, flags: int, body: bytes) -> None:
        """One MQTT packet was complete."""
        name = _NAMES.get(kind, str(kind))
        if kind == raw_mqtt.PUBLISH:
            name = raw_mqtt.read_publish(flags, body).topic.rpartition("/")[2]
        length = len(body)
        self.mqtt_bytes[f"{way} {name}"] += length + (2 if length < 128 else 3 if length < 16_384 else 4)
        self.messages[f"{way} {name}"] += 1

    def month(self, seconds: float) -> dict[str, Any]:
        """Scale to a month."""
        scale = MONTH_SECONDS / seconds / 1e6
        mqtt = sum(self.mqtt_bytes.values())
        headers = (self.segments + self.bare_acks + len(self._open)) * HEADER_BYTES
        return {
            "mqtt_mb": round(mqtt * scale, 2),
            "header_mb": round(headers * scale, 2),
            "ip_mb": round((mqtt + headers) * scale, 2),
            "ip_tls_mb": round((mqtt + headers + self.writes * TLS_BYTES) * scale, 2),
        }


async def _measure(seconds: int, say: Say) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="village-bench-") as name:
        folder, tally = Path(name), Tally()
        async with (
            Mosquitto(folder, UNLIMITED) as broker,
            collector(folder / "collector", broker.url) as running,
            _proxy(broker.port, tally) as port,
            six_devices(folder / "site", f"mqtt://127.0.0.1:{port}", running.command_key),
        ):
            await all_ok(running.api)
            # What a start costs is no part of idling.
            await asyncio.sleep(15)
            start_bytes = sum(tally.mqtt_bytes.values())
            say(f"the start took {start_bytes} bytes of MQTT; counting for {seconds} s")
            tally.clear()
            begun = time.monotonic()
            await asyncio.sleep(seconds)
            return _result(tally, time.monotonic() - begun, start_bytes)


def _result(tally: Tally, elapsed: float, start_bytes: int) -> dict[str, Any]:
    return {
        "seconds": round(elapsed),
        "start_mqtt_bytes": start_bytes,
        "month": tally.month(elapsed),
        "per_hour": {
            name: {
                "messages": round(count * 3600 / elapsed, 1),
                "bytes": round(tally.mqtt_bytes[name] * 3600 / elapsed),
            }
            for name, count in sorted(tally.messages.items())
        },
    }


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
            tally.chunk(way, len(data), time.monotonic())
            for kind, flags, body in packets.feed(data):
                tally.packet(way, kind, flags, body)
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
