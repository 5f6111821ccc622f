"""Codes against the vectors of RFC 6238, and the window around the present."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector.people.second_factor import is_totp_secret, new_totp_secret, totp_step, totp_uri

#: RFC 6238, appendix B, SHA-1; the last six of eight digits.
SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)
def test_the_vectors_of_the_rfc(seconds: int, code: str) -> None:
    assert totp_step(SECRET, code, datetime.fromtimestamp(seconds, UTC)) == seconds // 30
    assert totp_step(SECRET, f"{code[:3]} {code[3:]}", datetime.fromtimestamp(seconds, UTC)) == seconds // 30


@pytest.mark.parametrize(("offset", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_half_a_minute_of_difference_is_accepted(offset: int, accepted: bool) -> None:
    found = totp_step(SECRET, "005924", datetime.fromtimestamp(1234567890 + offset, UTC))
    assert found == (1234567890 // 30 if accepted else None)


@given(st.text(max_size=8).filter(lambda text: "".join(text.split()) != "005924"))
def test_nothing_else_is_a_code(text: str) -> None:
    found = totp_step(SECRET, text, datetime.fromtimestamp(1234567890, UTC))
    assert found != 1234567890 // 30


def test_a_secret() -> None:
    secret = new_totp_secret()
    assert is_totp_secret(secret)
    assert secret != new_totp_secret()
    assert not is_totp_secret(secret[:-1])
    assert not is_totp_secret(secret.lower())
    assert totp_uri(secret, "陈站长").startswith("otpauth://totp/Village:")
