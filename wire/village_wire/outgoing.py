"""Messages to send, and how those of QoS 0 are encoded: paho takes some 100 µs for each, and a collector answers every batch."""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: Properties of a PUBLISH (MQTT 5.0, section 3.3.2.3).
_MESSAGE_EXPIRY, _CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION = b"\x02", b"\x03", b"\x08", b"\x09"
_PUBLISH, _RETAIN = 0x30, 0x01


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to send. `expiry` is MQTT 5's message expiry interval in seconds."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry: int | None = None
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""


def encode_publication(message: Publication) -> bytes:
    """Return the PUBLISH packet (MQTT 5.0, section 3.3) of a message, sent at QoS 0 whatever it asks for."""
    properties = b""
    if message.expiry is not None:
        properties += _MESSAGE_EXPIRY + struct.pack(">I", message.expiry)
    if message.content_type:
        properties += _CONTENT_TYPE + _binary(message.content_type.encode())
    if message.response_topic:
        properties += _RESPONSE_TOPIC + _binary(message.response_topic.encode())
    if message.correlation:
        properties += _CORRELATION + _binary(message.correlation)
    head = _binary(message.topic.encode()) + _varying(len(properties)) + properties
    first = _PUBLISH | (_RETAIN if message.retain else 0)
    return b"%c%b%b%b" % (first, _varying(len(head) + len(message.payload)), head, message.payload)


def _binary(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


def _varying(value: int) -> bytes:
    # Variable byte integer (section 1.5.5).
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)
