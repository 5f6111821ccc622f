"""MQTT 5 packets for thousands of simulated agents: only what they send and hear, written by hand because a client library costs ten times as much.

Sections are those of the MQTT 5.0 standard.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14
PINGREQ = b"\xc0\x00"
#: Larger than any message that an agent is sent; a longer one means that the stream is out of step.
MAX_PACKET = 1024 * 1024
_SESSION_EXPIRY, _CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION, _MESSAGE_EXPIRY = 0x11, 0x03, 0x08, 0x09, 0x02


class BadStream(ValueError):
    """The bytes are not MQTT."""


@dataclass(frozen=True, slots=True)
class Published:
    """A PUBLISH as it came in; `number` is 0 at QoS 0."""

    topic: str
    payload: bytes
    number: int


def connect(client: str, keep_alive: int, session_expiry: int, will_topic: str, will: bytes, *, clean: bool) -> bytes:
    """CONNECT (3.1) with a retained will at QoS 1."""
    flags = 0x04 | 0x08 | 0x20 | (0x02 if clean else 0)
    properties = bytes([_SESSION_EXPIRY]) + struct.pack(">I", session_expiry)
    body = _text("MQTT") + bytes([5, flags]) + struct.pack(">H", keep_alive)
    body += _length(len(properties)) + properties + _text(client)
    return _packet(0x10, body + b"\x00" + _text(will_topic) + _binary(will))


def subscribe(number: int, filters: Sequence[str]) -> bytes:
    """SUBSCRIBE (3.8) at QoS 1, without retained messages."""
    body = struct.pack(">H", number) + b"\x00" + b"".join(_text(topic) + b"\x21" for topic in filters)
    return _packet(0x82, body)


def publish(
    topic: str,
    payload: bytes,
    number: int,
    *,
    retain: bool = False,
    content_type: str = "",
    response_topic: str = "",
    correlation: bytes = b"",
    expiry: int = 0,
) -> bytes:
    """PUBLISH (3.3), QoS 1 unless `number` is 0."""
    properties = b""
    if expiry:
        properties += bytes([_MESSAGE_EXPIRY]) + struct.pack(">I", expiry)
    if content_type:
        properties += bytes([_CONTENT_TYPE]) + _text(content_type)
    if response_topic:
        properties += bytes([_RESPONSE_TOPIC]) + _text(response_topic)
    if correlation:
        properties += bytes([_CORRELATION]) + _binary(correlation)
    head = _text(topic) + (struct.pack(">H", number) if number else b"")
    first = 0x30 | (2 if number else 0) | (1 if retain else 0)
    return _packet(first, head + _length(len(properties)) + properties + payload)


def puback(number: int) -> bytes:
    """PUBACK (3.4) of success."""
    return b"\x40\x02" + struct.pack(">H", number)


def read_publish(flags: int, body: bytes) -> Published:
    """Take a PUBLISH apart; its properties are skipped. Raises `BadStream`."""
    try:
        size = int.from_bytes(body[:2], "big")
        topic, at, number = body[2 : 2 + size].decode(), 2 + size, 0
        if flags & 0x06:
            number, at = int.from_bytes(body[at : at + 2], "big"), at + 2
        properties, at = _read_length(body, at)
    except (IndexError, UnicodeDecodeError) as error:
        raise BadStream(str(error)) from None
    return Published(topic, body[at + properties :], number)


class Packets:
    """Cuts a stream into packets."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return the packets that are complete now, as (type, flags, body); raises `BadStream`."""
        data = self._rest + data if self._rest else data
        found, at = [], 0
        while len(data) - at >= 2:
            try:
                size, start = _read_length(data, at + 1)
            except IndexError:
                break
            if size > MAX_PACKET:
                raise BadStream(f"a packet of {size} bytes")
            if len(data) < start + size:
                break
            found.append((data[at] >> 4, data[at] & 0x0F, data[start : start + size]))
            at = start + size
        self._rest = data[at:]
        return found


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    # Variable byte integer (1.5.5): the value and where it ends; `IndexError` when it is cut.
    value = 0
    for shift in (0, 7, 14, 21):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadStream("a length of more than four bytes")


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _length(len(body)) + body


def _length(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content
