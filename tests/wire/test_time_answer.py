from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from village_wire.signed import canonical
from village_wire.time_answer import (
    MAX_TIME_BYTES,
    InvalidTime,
    TimeAnswer,
    read_time_answer,
    read_time_request,
    sign_time_answer,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NONCE = "5e" * 16
TIME = datetime(2026, 11, 24, 1, 2, 3, 456789, tzinfo=UTC)
ANSWER = TimeAnswer(agent="lin", nonce=NONCE, time=TIME)


def altered(**changes: Any) -> bytes:
    return json.dumps(json.loads(sign_time_answer(ANSWER, KEY)) | changes).encode()


def test_fields_of_a_later_version_are_verified_and_ignored() -> None:
    message = {"agent": "lin", "nonce": NONCE, "time": "2026-11-24T01:02:03.456789Z", "leap": 1}
    signature = KEY.sign(canonical(message, b"village-edge time 1\n"))
    payload = json.dumps(message | {"signature": base64.b64encode(signature).decode()}).encode()
    assert read_time_answer(payload, "lin", KEY.public_key()) == ANSWER


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (altered(time="2027-11-24T01:02:03.456789Z"), "not signed"),
        (altered(nonce="0" * 32), "not signed"),
        (altered(agent="shan"), "not signed"),
        (altered(signature=""), "not signed"),
        (altered(signature="?"), "not a signed JSON object"),
        (sign_time_answer(ANSWER, Ed25519PrivateKey.generate()), "not signed"),
        (sign_time_answer(ANSWER.model_copy(update={"agent": "shan"}), KEY), "meant for agent shan"),
        (b"[]", "not a JSON object"),
        (b" " * (MAX_TIME_BYTES + 1), "over the limit"),
    ],
)
def test_refuses_an_answer(payload: bytes, reason: str) -> None:
    with pytest.raises(InvalidTime, match=reason):
        read_time_answer(payload, "lin", KEY.public_key())


def test_a_command_is_no_answer() -> None:
    """The same key signs both."""
    message = {"agent": "lin", "nonce": NONCE, "time": "2026-11-24T01:02:03.456789Z"}
    payload = json.dumps(
        message | {"signature": base64.b64encode(KEY.sign(canonical(message, b"village-edge command 1\n"))).decode()}
    ).encode()
    with pytest.raises(InvalidTime, match="not signed"):
        read_time_answer(payload, "lin", KEY.public_key())


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now", 1e300, None])
def test_a_signed_time_that_is_none_is_refused(time: object) -> None:
    message = {"agent": "lin", "nonce": NONCE, "time": time}
    signature = KEY.sign(canonical(message, b"village-edge time 1\n"))
    payload = json.dumps(message | {"signature": base64.b64encode(signature).decode()}).encode()
    with pytest.raises(InvalidTime):
        read_time_answer(payload, "lin", KEY.public_key())


@given(st.binary(max_size=2 * MAX_TIME_BYTES))
def test_whatever_comes_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidTime):
        read_time_answer(payload, "lin", KEY.public_key())
    with pytest.raises(InvalidTime):
        read_time_request(payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=10,
    )
)
def test_whatever_json_comes_is_refused(document: object) -> None:
    with pytest.raises(InvalidTime):
        read_time_answer(json.dumps(document).encode(), "lin", KEY.public_key())
