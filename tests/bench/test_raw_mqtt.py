"""The packets that simulated agents send and read, against paho's and the wire's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import raw_mqtt
from village_wire.incoming import read_publish
from village_wire.outgoing import Publication, encode_publication

_SAID = Publication("village/1/agent/a/event", b"{}", 0, content_type="x", response_topic="r", correlation=b"c" * 32)


def test_a_message_is_what_the_wire_writes() -> None:
    mine = raw_mqtt.publish(
        _SAID.topic,
        _SAID.payload,
        0,
        content_type=_SAID.content_type,
        response_topic=_SAID.response_topic,
        correlation=_SAID.correlation,
    )
    assert sorted(mine) == sorted(encode_publication(_SAID))
    received, number = read_publish(mine[0], mine[2:])
    assert (received.topic, received.payload, number) == (_SAID.topic, _SAID.payload, 0)
    assert (received.content_type, received.response_topic) == ("x", "r")


@given(st.binary(max_size=300), st.integers(0, 60_000), st.lists(st.integers(1, 200)))
def test_a_stream_is_cut_into_its_packets(payload: bytes, number: int, cuts: list[int]) -> None:
    stream = raw_mqtt.publish("t", payload, number, content_type="x", expiry=5) + raw_mqtt.puback(7)
    packets = raw_mqtt.Packets()
    found = []
    for size in [*cuts, len(stream)]:
        part, stream = stream[:size], stream[size:]
        found += packets.feed(part)
    (kind, flags, body), (other, _, ack) = found
    assert (kind, other, ack) == (raw_mqtt.PUBLISH, raw_mqtt.PUBACK, b"\x00\x07")
    assert raw_mqtt.read_publish(flags, body) == raw_mqtt.Published("t", payload, number)


@given(st.binary(max_size=200))
def test_any_bytes_are_packets_or_a_bad_stream(data: bytes) -> None:
    try:
        found = raw_mqtt.Packets().feed(data)
        for kind, flags, body in found:
            if kind == raw_mqtt.PUBLISH:
                raw_mqtt.read_publish(flags, body)
    except raw_mqtt.BadStream:
        return
    assert sum(2 + len(body) for _, _, body in found) <= len(data)


def test_a_packet_that_is_too_long_is_refused() -> None:
    with pytest.raises(raw_mqtt.BadStream):
        raw_mqtt.Packets().feed(b"\x30\xff\xff\xff\x7f")
