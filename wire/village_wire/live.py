"""Packets of live voice: some Opus frames with the signature of their stream.

The key of a stream is made for it alone; its public half stands in the signed command that announces the stream. So whoever owns the
broker can hold packets back, but can neither make one, nor change one, nor bring one into another stream. A frame's number is the
sender's sample clock, and each packet says when it was sent, so that what was held back for long is known as old.

    version (1) · flags (1) · number of the first frame (4) · milliseconds since the stream's id was made (4) · frames (1)
    · each frame: length (2), Opus packet · Ed25519 signature (64)

MQTT runs over TCP, which loses nothing within a connection, so frames are not repeated. Three frames of 20 ms share a packet: topic,
signature and headers would cost more than the voice if each frame travelled alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

RATE: Final = 48_000
FRAME_SECONDS: Final = 0.02
FRAME_SAMPLES: Final = 960
#: What a sender puts into one packet, and what a receiver takes at most.
FRAMES_PER_PACKET, MAX_FRAMES = 3, 6
#: RFC 6716, section 3.4: no Opus frame is longer.
MAX_FRAME_BYTES = 1275
#: A packet that waited for longer in a broker's queue is of no use to anybody.
EXPIRY_SECONDS = 2
#: Nothing for so long: the speaker, or the link to them, is gone.
SILENCE_SECONDS = 2.0
#: A packet that took longer from the collector to us by both clocks was held back: it may say what was true a while ago.
MAX_DELAY_SECONDS = 10.0

_DOMAIN = b"village-edge live voice 1\n"
_VERSION = 1
_END = 0x01
_HEAD = struct.Struct(">BBIIB")
_LENGTH = struct.Struct(">H")
_SIGNATURE_BYTES = 64
MAX_PACKET_BYTES = _HEAD.size + MAX_FRAMES * (_LENGTH.size + MAX_FRAME_BYTES) + _SIGNATURE_BYTES
#: Frames of a speech of 24 hours; greater numbers are no sender's.
_MAX_NUMBER = 24 * 3600 * 50


class InvalidPacket(ValueError):
    """The message is no packet of this stream; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Frames `number`, `number` + 1, …; `sent` is in milliseconds since `made_ns`. `end`: `number` and what follows never come."""

    number: int
    sent: int
    frames: tuple[bytes, ...] = ()
    end: bool = False


def made_ns(stream: UUID) -> int:
    """Return when the id of a stream was made, in nanoseconds since 1970: it is a UUID of version 7 (RFC 9562, section 5.7)."""
    return (stream.int >> 80) * 1_000_000


def encode_packet(packet: Packet, stream: UUID, key: Ed25519PrivateKey) -> bytes:
    """Return the payload of a packet. Raises `ValueError` for what `decode_packet` would refuse."""
    _check(packet)
    parts = [_HEAD.pack(_VERSION, _END if packet.end else 0, packet.number, packet.sent, len(packet.frames))]
    for frame in packet.frames:
        parts += [_LENGTH.pack(len(frame)), frame]
    body = b"".join(parts)
    return body + key.sign(_signed(body, stream))


def decode_packet(payload: bytes, stream: UUID, key: Ed25519PublicKey) -> Packet:
    """Return a packet that the stream's key signed; raises `InvalidPacket`."""
    if not _HEAD.size + _SIGNATURE_BYTES <= len(payload) <= MAX_PACKET_BYTES:
        raise InvalidPacket(f"{len(payload)} bytes are no packet")
    body, signature = payload[:-_SIGNATURE_BYTES], payload[-_SIGNATURE_BYTES:]
    try:
        key.verify(signature, _signed(body, stream))
    except InvalidSignature:
        raise InvalidPacket("not signed with the key of this stream") from None
    version, flags, number, sent, count = _HEAD.unpack_from(body)
    if version != _VERSION:
        raise InvalidPacket(f"version {version} is not known here")
    frames, at = [], _HEAD.size
    for _ in range(count):
        if at + _LENGTH.size > len(body):
            raise InvalidPacket("cut short")
        (size,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        frames.append(body[at : at + size])
        at += size
    if at != len(body):
        raise InvalidPacket("the lengths of its frames don't fit its own")
    packet = Packet(number, sent, tuple(frames), bool(flags & _END))
    try:
        _check(packet)
    except ValueError as error:
        raise InvalidPacket(str(error)) from None
    return packet


def _check(packet: Packet) -> None:
    if not 0 <= packet.number <= _MAX_NUMBER or not 0 <= packet.sent < 2**32:
        raise ValueError("a number outside its range")
    if packet.end == bool(packet.frames) or len(packet.frames) > MAX_FRAMES:
        raise ValueError(f"{len(packet.frames)} frames{' after the end' if packet.end else ''}")
    if not all(1 <= len(frame) <= MAX_FRAME_BYTES for frame in packet.frames):
        raise ValueError("a frame that is empty or too long")


def _signed(body: bytes, stream: UUID) -> bytes:
    return _DOMAIN + stream.bytes + body
