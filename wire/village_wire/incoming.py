"""Incoming messages taken off the socket, in front of paho, which sees every other packet.

paho 2.2 spends three system calls and some 40 µs on each PUBLISH; a collector hears tens of thousands a second. Here one system call
reads many, and only the three properties that the wire uses are kept. Numbers in parentheses are sections of the MQTT 5.0 standard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from village_wire.traffic import Traffic

_log = logging.getLogger(__name__)

#: The broker is told at the start of the connection and sends no larger packet; our own messages stay under 512 KiB.
MAX_PACKET_BYTES = 1024 * 1024
#: Read in one system call: some hundred messages, which keep the event loop busy for a millisecond or two.
READ_BYTES = 256 * 1024
#: Messages that wait for the program; beyond it new ones are dropped, and whoever sent them sends again (end-to-end acks).
MAX_WAITING = 10_000

_PUBLISH = 0x30
_CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION = 0x03, 0x08, 0x09
#: Length of the other properties of a PUBLISH (2.2.2.2, 3.3.2.3); 0 stands for a variable byte integer. User properties (0x26) are two texts.
_SIZES = {0x01: 1, 0x02: 4, 0x23: 2, 0x0B: 0}
_USER_PROPERTY = 0x26


class Received(NamedTuple):
    """One message as it came in."""

    topic: str
    payload: bytes
    retained: bool
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""


class BadPacket(ConnectionError):
    """The broker's bytes are not MQTT 5; only a new connection helps."""


class Packets:
    """Cuts a stream into packets: messages go to `on_message`, with their number (0 at QoS 0); `feed` returns the bytes of all others."""

    def __init__(self, on_message: Callable[[Received, int], None]) -> None:
        self._on_message = on_message
        self._partial = bytearray()
        #: So many bytes of `_partial` are needed before looking at it again pays.
        self._needed = 0

    def feed(self, data: bytes) -> bytes:
        """Take what the socket gave; raises `BadPacket`. At most `MAX_PACKET_BYTES` and 5 are kept for the next call."""
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return b""
            data = bytes(self._partial)
            self._partial.clear()
        # A broker may send 100,000 pings at once, and `bytes` would be copied for each of them.
        others = bytearray()
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size > 0x7F:
                try:
                    size, start = _varying(data, at + 1)
                except IndexError:
                    break
                if size > MAX_PACKET_BYTES:
                    raise BadPacket(f"the broker sends a packet of {size} bytes")
            after = start + size
            if after > end:
                self._needed = after - at
                break
            first = data[at]
            if first & 0xF0 == _PUBLISH:
                try:
                    message, number = read_publish(first, data[start:after])
                except IndexError:
                    raise BadPacket("the broker sends a message that is cut short") from None
                self._on_message(message, number)
            else:
                others += data[at:after]
            at = after
        else:
            self._needed = 0
        if at < end:
            self._partial += data[at:]
        return bytes(others)


def read_publish(first: int, body: bytes) -> tuple[Received, int]:
    """Take a PUBLISH (3.3) apart; return it and its number, 0 at QoS 0. `first` is the packet's first byte.

    Raises:
        BadPacket, IndexError: it is not one.
    """
    at = 2 + (body[0] << 8 | body[1])
    topic = body[2:at].decode(errors="replace")
    number = 0
    quality = first & 0x06
    if quality:
        # We ask for QoS 1 at most, and the broker may not exceed it (3.8.4).
        if quality != 0x02:
            raise BadPacket("the broker sends a message of a QoS that was not asked for")
        number, at = body[at] << 8 | body[at + 1], at + 2
    size, at = _varying(body, at)
    after = at + size
    if after > len(body):
        raise BadPacket("the broker sends a message that is cut short")
    content_type = response_topic = ""
    correlation = b""
    while at < after:
        name = body[at]
        at += 1
        if name in _SIZES:
            at = at + _SIZES[name] if _SIZES[name] else _varying(body, at)[1]
            continue
        start = at + 2
        at = start + (body[at] << 8 | body[at + 1])
        # What is not UTF-8 is refused by those who look at it, and must not end the connection for all others.
        if name == _CORRELATION:
            correlation = body[start:at]
        elif name == _CONTENT_TYPE:
            content_type = body[start:at].decode(errors="replace")
        elif name == _RESPONSE_TOPIC:
            response_topic = body[start:at].decode(errors="replace")
        elif name == _USER_PROPERTY:
            at += 2 + (body[at] << 8 | body[at + 1])
        else:
            raise BadPacket(f"the broker sends a message with property {name}, which there is none of")
    if at != after:
        raise BadPacket("the broker sends a message whose properties are cut short")
    return Received(topic, body[after:], bool(first & 0x01), content_type, response_topic, correlation), number


def _varying(data: bytes, at: int) -> tuple[int, int]:
    # A variable byte integer (1.5.5): its value, and where it ends. `IndexError` when it is cut short.
    value = 0
    for shift in (0, 7, 14, 21):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadPacket("the broker sends a length of more than four bytes")


class Inbox:
    """Messages between the socket and the program: kept until someone asks, or given on at once."""

    def __init__(self) -> None:
        self._waiting: deque[Received] = deque()
        self._on_message: Callable[[Received], None] | None = None
        self._dropped = 0
        #: Set when a message came, or when there will be no more.
        self.changed = asyncio.Event()

    def put(self, message: Received) -> None:
        """Take a message; never blocks."""
        if self._on_message is not None:
            self._on_message(message)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(message)
            self.changed.set()
        else:
            self._dropped += 1
            if self._dropped == 1:
                _log.warning("%d messages wait for the program; more are dropped until it takes them", MAX_WAITING)

    def pop(self) -> Received | None:
        """Return the oldest message, or None."""
        if not self._waiting:
            return None
        self._dropped = 0
        return self._waiting.popleft()

    def give_to(self, on_message: Callable[[Received], None]) -> None:
        """Give what waits, and from now on every message, to `on_message`, which neither blocks nor raises."""
        while (message := self.pop()) is not None:
            on_message(message)
        self._on_message = on_message


class PacketSocket:
    """What paho takes for its socket. Reading takes messages out of the stream; paho gets the other packets, each of them whole."""

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Received], None],
        ack: Callable[[int], object],
        traffic: Traffic | None = None,
        wrote: Callable[[float], None] = lambda _now: None,
        failed: Callable[[ssl.SSLError], None] = lambda _error: None,
    ) -> None:
        """`ack` sends the PUBACK of a number; `traffic` counts the bytes; `wrote` is told when something was written, in monotonic time.

        `failed` is told why TLS ended the connection.
        """
        self._socket = sock
        self._give = on_message
        self._ack = ack
        self._packets = Packets(self._take)
        self._others = b""
        self._taken = 0
        self._traffic = traffic or Traffic()
        self._wrote = wrote
        self._failed = failed
        self.close = sock.close
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking

    def recv(self, size: int) -> bytes:
        """Return bytes of packets that are not messages; raises `BlockingIOError` as long as there are none."""
        if self._taken >= len(self._others):
            self._others, self._taken = b"", 0
            data = self._read()
            if not data:
                return data
            self._traffic.read(len(data), time.monotonic())
            self._others = self._packets.feed(data)
            if not self._others:
                raise BlockingIOError
        # paho takes the first bytes of a packet one by one.
        part = self._others[self._taken : self._taken + size]
        self._taken += len(part)
        return part

    def send(self, buffer: bytes | bytearray) -> int:
        """Write; return how many bytes the system took."""
        try:
            size = self._socket.send(buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            # A broker that refuses our certificate says so and closes; what it said still waits to be read.
            with contextlib.suppress(OSError):
                self._read()
            raise
        now = time.monotonic()
        self._traffic.wrote(size, now)
        self._wrote(now)
        return size

    def _read(self) -> bytes:
        try:
            return self._socket.recv(READ_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            # TLS 1.3 tells us what is wrong with our certificate when we first read.
            self._failed(error)
            raise

    def pending(self) -> int:
        """Return how many bytes can be had without waiting for the socket to be readable, as `ssl.SSLSocket` does."""
        inner = getattr(self._socket, "pending", None)
        return len(self._others) - self._taken + (inner() if inner is not None else 0)

    def _take(self, message: Received, number: int) -> None:
        self._give(message)
        if number:
            self._ack(number)
