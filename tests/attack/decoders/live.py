"""Live voice: what a speaker sends to the collector, and what a broker gives to the agent."""

from __future__ import annotations

from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.attack.decoders.kit import Decoder
from village_agent.loudspeaker.live.jitter import JitterBuffer
from village_collector.live.ogg import BadStream, OpusReader, OpusWriter
from village_wire.live import InvalidPacket, Packet, _signed, decode_packet, encode_packet

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_STREAM = UUID("0199f9f4-0000-7000-8000-000000000001")
_PACKETS = (Packet(0, 60, (b"\x48a", b"\x48b", b"\x48c")), Packet(3, 120, end=True), Packet(4_000_000, 1, (b"\x48",)))


def _foreign(data: bytes) -> object:
    packet = decode_packet(data, _STREAM, _KEY.public_key())
    # Whatever was changed, what is read is what was signed.
    assert packet in _PACKETS, packet
    return packet


def _signed_packet(data: bytes) -> object:
    """Of a collector gone mad: the signature is right, whatever it signs; and what is heard of it comes to an end."""
    packet = decode_packet(data + _KEY.sign(_signed(data, _STREAM)), _STREAM, _KEY.public_key())
    buffer = JitterBuffer()
    buffer.put(packet.number, packet.frames, 1.0)
    if packet.end:
        buffer.end(packet.number)
    return packet, [buffer.take(1.0 + turn * 0.02) for turn in range(20)]


def _ogg(data: bytes) -> object:
    reader = OpusReader()
    return [frame for at in range(0, len(data), 100) for frame in reader.feed(data[at : at + 100])]


_WRITER = OpusWriter(7, 312, ("TITLE=x",))
_SPOKEN = _WRITER.begin() + _WRITER.add([b"\x48" + bytes(40)] * 60) + _WRITER.end()
_SENT = tuple(encode_packet(packet, _STREAM, _KEY) for packet in _PACKETS)

DECODERS = (
    Decoder("live_packet", _foreign, (InvalidPacket,), _SENT),
    Decoder("live_packet_signed", _signed_packet, (InvalidPacket,), tuple(payload[:-64] for payload in _SENT)),
    Decoder("live_ogg", _ogg, (BadStream,), (_SPOKEN,)),
)
