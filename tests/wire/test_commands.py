from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from village_wire.commands import (
    BadSignature,
    Broadcast,
    Command,
    InvalidCommand,
    Target,
    Unlock,
    read_command,
    sign_command,
)
from village_wire.signed import canonical, decode_public_key, encode_public_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
TIME = datetime(2026, 11, 24, tzinfo=UTC)
COMMAND = Command(
    id=UUID("01a20d03-e33d-7aba-a831-e986e5e7f26d"),
    target=Target(agent="lin-1", device="gate"),
    arguments=Unlock(),
    issuer="test",
    issued=TIME,
    expires=TIME + timedelta(seconds=60),
)
SIGNED = sign_command(COMMAND, KEY)


def test_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        read_command(SIGNED, OTHER.public_key())


@pytest.mark.parametrize(
    ("key", "value"),
    [("target", {"agent": "lin-2"}), ("expires", "2027-01-01T00:00:00Z"), ("id", str(UUID(int=7))), ("extra", 1)],
)
def test_every_change_breaks_the_signature(key: str, value: object) -> None:
    message = json.loads(SIGNED)
    message[key] = value
    with pytest.raises(BadSignature):
        read_command(json.dumps(message).encode(), KEY.public_key())


def test_fields_of_a_later_version_are_verified_and_ignored() -> None:
    message: dict[str, Any] = {**json.loads(SIGNED), "later": {"x": 1}}
    del message["signature"]
    import base64

    message["signature"] = base64.b64encode(KEY.sign(canonical(message, b"village-edge command 1\n"))).decode()
    assert read_command(json.dumps(message, indent=2).encode(), KEY.public_key()) == COMMAND


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidCommand):
        read_command(data, KEY.public_key())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: st.dictionaries(st.text(max_size=9), x),
    )
)
def test_any_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidCommand):
        read_command(json.dumps(value).encode(), KEY.public_key())


@pytest.mark.parametrize(
    "payload", [b"[" * 20_000, b"x" * 40_000, b'{"signature":"===="}', b"\xff\xfe", b'{"a":NaN,"signature":""}']
)
def test_hostile_messages_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidCommand):
        read_command(payload, KEY.public_key())


@pytest.mark.parametrize(
    "target", [{}, {"agent": "a", "area": "330110101205"}, {"area": "330110101205", "device": "x"}]
)
def test_a_target_is_one_thing(target: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Target.model_validate(target)


def test_a_command_expires_after_it_is_issued() -> None:
    with pytest.raises(ValidationError):
        Command.model_validate({**COMMAND.model_dump(), "expires": TIME})


def test_keys_as_text() -> None:
    assert decode_public_key(encode_public_key(KEY.public_key())) == KEY.public_key()
    with pytest.raises(ValueError, match="32"):
        decode_public_key("AAAA")


def test_a_broadcast_has_one_kind_of_sound() -> None:
    voice = {"stream": str(COMMAND.id), "key": encode_public_key(KEY.public_key())}
    end = TIME + timedelta(hours=1)
    assert Broadcast.model_validate({"rank": "notice", "live": voice, "end": end}).live is not None
    for wrong in (
        {"rank": "notice", "end": end},
        {"rank": "notice", "end": end, "live": voice, "text": "x"},
        {"rank": "notice", "end": end, "live": voice, "times": 2},
        {"rank": "notice", "end": end, "live": voice, "start": TIME},
        {"rank": "notice", "end": end, "live": {**voice, "key": "x"}},
        {"rank": "notice", "end": end, "live": {**voice, "stream": str(UUID(int=1))}},
    ):
        with pytest.raises(ValidationError):
            Broadcast.model_validate(wrong)
