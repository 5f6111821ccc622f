from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_wire.events import MAX_EVENTS, Alarm, Event, decode_events, encode_events
from village_wire.ids import uuid7
from village_wire.points import MAX_MESSAGE_BYTES, InvalidBatch
from village_wire.presence import Ack, AgentStatus, InvalidMessage, Inventory, decode_message

TIME = datetime(2026, 11, 24, tzinfo=UTC)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidBatch):
        decode_events(data)
    with pytest.raises(InvalidMessage):
        decode_message(AgentStatus, data)
    with pytest.raises(InvalidMessage):
        decode_message(Inventory, data)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"events":[]}',
        b'{"events":[{"id":"x"}]}',
        b" " * (MAX_MESSAGE_BYTES + 1),
        b'{"events":[{"id":"01a20d03-e33d-7aba-a831-e986e5e7f26d","time":"2026-11-24T00:00:00","data":{"kind":"alarm","code":"x","active":true}}]}',
        b'{"events":[{"id":"01a20d03-e33d-7aba-a831-e986e5e7f26d","time":"0001-01-01T00:00:00+14:00","data":{"kind":"alarm","code":"x","active":true}}]}',
    ],
)
def test_hostile_batches_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidBatch) as caught:
        decode_events(payload)
    assert len(str(caught.value)) < 500


def test_a_reason_never_repeats_the_input() -> None:
    with pytest.raises(InvalidBatch) as caught:
        decode_events(b'{"events":[{"id":"my-secret"}]}')
    assert "my-secret" not in str(caught.value)


def test_a_batch_has_a_bound() -> None:
    event = Event(id=uuid7(1), time=TIME, data=Alarm(code="tamper", active=True))
    assert len(decode_events(encode_events([event] * MAX_EVENTS))) == MAX_EVENTS
    payload = b'{"events":[' + b",".join([event.model_dump_json().encode()] * (MAX_EVENTS + 1)) + b"]}"
    with pytest.raises(InvalidBatch):
        decode_events(payload)


def test_an_empty_ack_says_nothing() -> None:
    assert decode_message(Ack, b"{}") == Ack()


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7(unix_ms: int, random: bytes) -> None:
    value = uuid7(unix_ms, random)
    assert value.version == 7
    assert value.variant == "specified in RFC 4122"
    assert value.int >> 80 == unix_ms


def test_a_status_without_the_number_of_its_connection_is_read() -> None:
    payload = (
        b'{"online":true,"session":"0123456789abcdef0123456789abcdef","version":"0.1.0","since":"2026-11-24T01:02:03Z"}'
    )
    assert decode_message(AgentStatus, payload).connection is None
