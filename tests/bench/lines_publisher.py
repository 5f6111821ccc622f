"""A fast publisher of telemetry, a process of its own: `python -m tests.bench.lines_publisher`.

It obeys one JSON object per line on stdin. `{"port", "messages", "lines", "first_ns", "acks"}` makes it prepare that many QoS 1 messages of
100 agents and answer `ready`; an empty line makes it send them and answer with what came back. With `acks` the window is that of the agents. `lines` is that
of a message.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.bench.raw_mqtt import CONNACK, PUBACK, PUBLISH, SUBACK, Packets, connect, publish, read_publish, subscribe
from village_wire.points import CONTENT_LINES

AGENTS = 100
DEVICES = 10
#: Messages that the broker has not taken yet.
WINDOW = 500
#: Messages that the collector has not answered, as with agents that have eight batches under way each.
ACK_WINDOW = 8 * AGENTS
_CHUNK = 50
_STEP_NS = 1_000_000
#: The broker or the consumer is stuck if nothing at all comes for so long.
_SILENCE_SECONDS = 60.0


@dataclass(slots=True)
class _Count:
    taken: int = 0
    stored: int = 0
    refused: int = 0
    answers: int = 0


def messages(count: int, lines: int, first_ns: int) -> list[bytes]:
    """PUBLISH packets of `lines` lines of some 100 bytes each; every line has a time of its own."""
    made = []
    for number in range(count):
        agent = f"agent-{number % AGENTS:04d}"
        at = first_ns + number * lines * _STEP_NS
        payload = "\n".join(
            f"sensor,agent={agent},device=thermometer-{line % DEVICES:02d}"
            f" temperature_c={15 + line % 17}.{line % 10},humidity_percent={40 + line % 31}.5 {at + line * _STEP_NS}"
            for line in range(lines)
        )
        place = f"village/1/agent/{agent}"
        made.append(
            publish(
                f"{place}/telemetry",
                payload.encode(),
                number % 65535 + 1,
                content_type=CONTENT_LINES,
                response_topic=f"{place}/ack",
                correlation=uuid4().hex.encode(),
            )
        )
    return made


class Publisher:
    """One connection to the broker that also hears the acks of the agents for which it speaks."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._packets = Packets()
        self._say(connect(f"publisher-{uuid4().hex[:8]}", 0, 0, "bench/publisher", b"", clean=True), CONNACK)
        self._say(subscribe(1, ["village/1/agent/+/ack"]), SUBACK)
        self._count = _Count()

    def send(self, packets: list[bytes], *, acks: bool) -> dict[str, Any]:
        """Send all; return when the broker took the last one and, with `acks`, the collector answered for each."""
        self._count = _Count()
        sent, started, taken_at = 0, time.monotonic(), 0.0
        self._socket.setblocking(False)
        waiting = memoryview(b"")
        while self._count.taken < len(packets) or (acks and self._answered < len(packets)):
            if not waiting and sent < len(packets) and sent <= self._may_send(acks=acks) - _CHUNK:
                waiting = memoryview(b"".join(packets[sent : sent + _CHUNK]))
                sent = min(sent + _CHUNK, len(packets))
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if waiting else [], [], _SILENCE_SECONDS
            )
            if not (readable or writable):
                break
            if writable:
                waiting = waiting[self._socket.send(waiting) :]
            if readable:
                self._read()
                if not taken_at and self._count.taken == len(packets):
                    taken_at = time.monotonic()
        self._socket.setblocking(True)
        return {
            "sent_seconds": (taken_at or time.monotonic()) - started,
            "seconds": time.monotonic() - started,
            "taken": self._count.taken,
            "stored": self._count.stored,
            "refused": self._count.refused,
            "answers": self._count.answers,
        }

    def close(self) -> None:
        """Leave the broker."""
        self._socket.close()

    def _may_send(self, *, acks: bool) -> int:
        taken = self._count.taken + WINDOW
        return min(taken, self._answered + ACK_WINDOW) if acks else taken

    @property
    def _answered(self) -> int:
        return self._count.stored + self._count.refused

    def _read(self) -> None:
        data = self._socket.recv(256 * 1024)
        if not data:
            raise ConnectionError("the broker closed the connection")
        for kind, flags, body in self._packets.feed(data):
            if kind == PUBACK:
                self._count.taken += 1
            elif kind == PUBLISH:
                self._take(read_publish(flags, body).payload, body, flags)

    def _take(self, payload: bytes, body: bytes, flags: int) -> None:
        ack = json.loads(payload)
        self._count.answers += 1
        self._count.stored += len(ack["stored"])
        self._count.refused += len(ack["refused"])
        if flags & 0x06:
            size = int.from_bytes(body[:2], "big")
            self._socket.setblocking(True)
            self._socket.sendall(b"\x40\x02" + body[2 + size : 4 + size])
            self._socket.setblocking(False)

    def _say(self, packet: bytes, answer: int) -> None:
        self._socket.sendall(packet)
        while True:
            data = self._socket.recv(4096)
            if not data or any(kind == answer for kind, _, _ in self._packets.feed(data)):
                return


def main() -> None:
    """Obey stdin until it ends."""
    for line in sys.stdin:
        order = json.loads(line)
        packets = messages(order["messages"], order["lines"], order["first_ns"])
        publisher = Publisher(order["port"])
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sys.stdout.write(json.dumps(publisher.send(packets, acks=order["acks"])) + "\n")
        sys.stdout.flush()
        publisher.close()


if __name__ == "__main__":
    main()
