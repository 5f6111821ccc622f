"""Packets as the broker sends them: whole, in pieces, and broken."""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from village_wire import incoming
from village_wire.incoming import MAX_PACKET_BYTES, BadPacket, Inbox, Packets, PacketSocket, Received, read_publish
from village_wire.outgoing import Publication, encode_publication

PING_ANSWER, PUBACK = b"\xd0\x00", b"\x40\x02\x00\x07"
#: Topic `t`, number 7, no properties, payload `x`.
AT_QOS_1 = b"\x32\x07\x00\x01t\x00\x07\x00x"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
publications = st.builds(
    Publication,
    topic=texts.filter(bool),
    payload=st.binary(max_size=300),
    retain=st.booleans(),
    expiry=st.none() | st.integers(0, 2**32 - 1),
    content_type=texts,
    response_topic=texts,
    correlation=st.binary(max_size=40),
)


class Heard:
    """Takes packets apart and keeps what came."""

    def __init__(self) -> None:
        self.messages: list[tuple[Received, int]] = []
        self.packets = Packets(lambda message, number: self.messages.append((message, number)))


def expected(message: Publication) -> tuple[Received, int]:
    return (
        Received(
            message.topic,
            message.payload,
            message.retain,
            message.content_type,
            message.response_topic,
            message.correlation,
        ),
        0,
    )


@given(st.lists(publications | st.sampled_from([PING_ANSWER, PUBACK]), max_size=6), st.data())
def test_what_is_sent_arrives_in_whatever_pieces(packets: list[Publication | bytes], data: st.DataObject) -> None:
    stream = b"".join(p if isinstance(p, bytes) else encode_publication(p) for p in packets)
    heard, others = Heard(), b""
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        others += heard.packets.feed(stream[:size])
        stream = stream[size:]
    assert heard.messages == [expected(p) for p in packets if isinstance(p, Publication)]
    assert others == b"".join(p for p in packets if isinstance(p, bytes))


@given(publications)
def test_the_packet_is_what_paho_makes_of_it(message: Publication) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.expiry is not None:
        properties.MessageExpiryInterval = message.expiry
    for name, value in (
        ("ContentType", message.content_type),
        ("ResponseTopic", message.response_topic),
        ("CorrelationData", message.correlation),
    ):
        if value:
            setattr(properties, name, value)
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic + bytes(properties.pack()) + message.payload  # type: ignore[no-untyped-call]
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    theirs = bytes([0x31 if message.retain else 0x30]) + length + body
    heard = Heard()
    assert heard.packets.feed(theirs) == b""
    assert heard.messages == [expected(message)]
    assert len(encode_publication(message)) == len(theirs)


def test_properties_that_nobody_asked_for_are_skipped() -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 5
    properties.TopicAlias = 3
    properties.SubscriptionIdentifier = 300
    properties.UserProperty = [("a", "b"), ("c", "")]
    properties.ContentType = "c"
    body = b"\x00\x01t" + bytes(properties.pack()) + b"x"  # type: ignore[no-untyped-call]
    assert read_publish(0x30, body) == (Received("t", b"x", False, "c"), 0)


@given(st.binary(max_size=200))
def test_any_bytes_give_messages_or_one_error(stream: bytes) -> None:
    heard = Heard()
    with contextlib.suppress(BadPacket):
        heard.packets.feed(stream)


@given(st.integers(0, 255), st.binary(max_size=60))
def test_any_body_is_read_or_refused(first: int, body: bytes) -> None:
    try:
        message, _ = read_publish(first, body)
    except (BadPacket, IndexError):
        return
    assert len(message.payload) <= len(body)


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\xff\x7f",
        b"\x34\x07\x00\x01t\x00\x07\x00x",
        b"\x36\x07\x00\x01t\x00\x07\x00x",
        b"\x30\x01\x00",
        b"\x30\x05\x00\x01t\x7fx",
        b"\x30\x06\x00\x01t\x02\x7fx",
        b"\x30\x07\x00\x01t\x02\x02\x00x",
    ],
)
def test_what_is_not_mqtt_ends_the_connection(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        Heard().packets.feed(packet)


def test_text_that_is_not_utf_8_ends_nothing() -> None:
    message, _ = read_publish(0x30, b"\x00\x01\xff\x04\x03\x00\x01\xffx")
    assert message == Received("�", b"x", False, "�")


def test_a_large_packet_in_small_pieces_takes_its_size_only() -> None:
    heard = Heard()
    packet = encode_publication(Publication("t", bytes(MAX_PACKET_BYTES - 100)))
    tracemalloc.start()
    try:
        for at in range(0, len(packet), 1000):
            heard.packets.feed(packet[at : at + 1000])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(heard.messages) == 1
    assert peak < 5 * MAX_PACKET_BYTES


async def test_an_inbox_that_nobody_empties_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MAX_WAITING", 3)
    inbox = Inbox()
    for number in range(5):
        inbox.put(Received(str(number), b"", False))
    given_on: list[str] = []
    inbox.give_to(lambda message: given_on.append(message.topic))
    inbox.put(Received("new", b"", False))
    assert given_on == ["0", "1", "2", "new"]
    assert inbox.pop() is None


def test_the_socket_gives_paho_everything_but_messages() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        messages: list[Received] = []
        numbers: list[int] = []
        reader = PacketSocket(near, messages.append, numbers.append)
        with pytest.raises(BlockingIOError):
            reader.recv(1)
        far.sendall(PING_ANSWER + AT_QOS_1 + PUBACK[:1])
        assert reader.recv(1) == PING_ANSWER[:1]
        assert reader.pending() == 1
        assert reader.recv(10) == PING_ANSWER[1:]
        assert messages == [Received("t", b"x", False)]
        assert numbers == [7]
        with pytest.raises(BlockingIOError):
            reader.recv(1)
        far.sendall(PUBACK[1:])
        assert reader.recv(10) == PUBACK
        far.shutdown(socket.SHUT_WR)
        assert reader.recv(1) == b""


def test_a_flood_of_small_packets_costs_as_much_as_its_length() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        pings = 0
        with contextlib.suppress(BlockingIOError):
            while pings < 60_000:
                pings += theirs.send(PING_ANSWER * 1000) // 2
        ours.setblocking(False)
        packets = PacketSocket(ours, lambda _message: None, lambda _number: None)
        began, got = time.process_time(), 0
        with contextlib.suppress(BlockingIOError):
            while True:
                got += len(packets.recv(1))
        assert got == 2 * pings
        # Copying the rest for each of them took seconds for 60,000.
        assert time.process_time() - began < 0.5
