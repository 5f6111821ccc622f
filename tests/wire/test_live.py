from __future__ import annotations

import contextlib
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from village_wire.ids import uuid7
from village_wire.live import MAX_FRAMES, InvalidPacket, Packet, decode_packet, encode_packet, made_ns

STREAM, OTHER = UUID(int=1), UUID(int=2)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
FRAMES = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=MAX_FRAMES).map(tuple)
PACKETS = st.builds(Packet, st.integers(0, 4_320_000), st.integers(0, 2**32 - 1), FRAMES) | st.builds(
    Packet, st.integers(0, 4_320_000), st.integers(0, 2**32 - 1), end=st.just(True)
)


@given(PACKETS)
def test_packets_round_trip(packet: Packet) -> None:
    assert decode_packet(encode_packet(packet, STREAM, KEY), STREAM, PUBLIC) == packet


@given(PACKETS, st.data())
def test_no_changed_byte_passes(packet: Packet, data: st.DataObject) -> None:
    payload = bytearray(encode_packet(packet, STREAM, KEY))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidPacket):
        decode_packet(bytes(payload), STREAM, PUBLIC)


def test_a_stream_knows_when_it_was_made() -> None:
    assert made_ns(uuid7(1_764_000_000_123)) == 1_764_000_000_123_000_000


def test_a_packet_belongs_to_one_stream_and_one_key() -> None:
    payload = encode_packet(Packet(0, 0, (b"x",)), STREAM, KEY)
    with pytest.raises(InvalidPacket, match="not signed"):
        decode_packet(payload, OTHER, PUBLIC)
    with pytest.raises(InvalidPacket, match="not signed"):
        decode_packet(payload, STREAM, Ed25519PrivateKey.generate().public_key())


@given(st.binary(max_size=300))
def test_even_signed_bytes_are_a_packet_or_refused(body: bytes) -> None:
    from village_wire.live import _signed

    with contextlib.suppress(InvalidPacket):
        decode_packet(body + KEY.sign(_signed(body, STREAM)), STREAM, PUBLIC)


@pytest.mark.parametrize(
    "packet",
    [
        Packet(0, 0),
        Packet(0, 0, (b"x",), end=True),
        Packet(0, 0, (b"",)),
        Packet(0, 0, (b"x",) * 7),
        Packet(0, 0, (b"x" * 1276,)),
        Packet(-1, 0, (b"x",)),
        Packet(0, 2**32, (b"x",)),
    ],
)
def test_a_sender_makes_no_packet_that_is_refused(packet: Packet) -> None:
    with pytest.raises(ValueError, match=r"frame|range"):
        encode_packet(packet, STREAM, KEY)
