"""The text of entries and seals: fixed once and for all, since every signature depends on it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from village_wire.audit import (
    OUTCOMES,
    START,
    Act,
    Head,
    InvalidEntry,
    cleaned,
    hash_of,
    is_genuine,
    link,
    read_entry,
    sign_seal,
)

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ACT = Act(T0, "li", "10.0.0.7", "door.unlock", "gate-1/门", "441900003001", "allowed", "", "019a5f3e")

texts = st.text(max_size=500)
acts = st.builds(
    Act,
    time=st.datetimes(timezones=st.just(UTC)),
    actor=texts,
    address=texts,
    action=texts,
    target=texts,
    area=texts,
    outcome=st.sampled_from(OUTCOMES),
    reason=texts,
    command=texts,
)


def test_the_form_is_fixed() -> None:
    entry = link(START, ACT)
    assert entry.text == (
        '{"action":"door.unlock","actor":"li","address":"10.0.0.7","area":"441900003001","command":"019a5f3e","number":1,'
        f'"outcome":"allowed","previous":"{"0" * 64}","reason":"","target":"gate-1/门","time":"2026-11-24T08:00:00.000000Z"}}'
    )
    # As sha256sum says.
    assert entry.hash == "649172da1d413c976317a749f1dc64438b19469b3b6675d5e88d59697ddd231d"
    seal = sign_seal(entry.head, T0, KEY)
    signed = f'village-edge audit seal 1\n{{"hash":"{entry.hash}","number":1,"time":"2026-11-24T08:00:00.000000Z"}}'
    KEY.public_key().verify(base64.b64decode(seal.signature), signed.encode())


@given(acts, st.integers(0, 2**53), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_what_was_written_is_read(act: Act, number: int, previous: str) -> None:
    safe = cleaned(act)
    entry = link(Head(number, previous), safe)
    assert read_entry(entry.text) == (number + 1, previous, safe)
    # As sha256sum says.
    assert entry.hash == hash_of(entry.text)
    assert len(entry.text) < 10_000
    # Every database and every terminal takes it.
    entry.text.encode()
    assert "\0" not in safe.actor + safe.reason


def test_a_later_version_may_add_members() -> None:
    content = {**json.loads(link(START, ACT).text), "device_class": "x"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert read_entry(text).act == ACT


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"number":1', '"number":1.0'),
        lambda text: text.replace('"number":1', '"number":true'),
        lambda text: text.replace('"number":1,', ""),
        lambda text: text.replace('"allowed"', '"done"'),
        lambda text: text.replace('"li"', "null"),
        lambda text: text.replace(",", ", ", 1),
        lambda text: text.replace('"actor":"li"', '"actor":"li","actor":"wang"'),
        lambda text: text.replace("2026-11-24T08:00:00.000000Z", "yesterday"),
        lambda text: text.replace("2026-11-24T08:00:00.000000Z", "2026-11-24"),
        lambda text: text[:-1],
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_other_texts_are_no_entries(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(InvalidEntry):
        read_entry(damage(link(START, ACT).text))


@given(st.text(max_size=300))
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    with pytest.raises(InvalidEntry):
        read_entry(text)


def test_a_seal_is_of_one_key_number_hash_and_time() -> None:
    seal = sign_seal(Head(7, "a" * 64), T0, KEY)
    assert is_genuine(seal, KEY.public_key())
    assert not is_genuine(seal, Ed25519PrivateKey.generate().public_key())
    for change in ({"number": 8}, {"hash": "b" * 64}, {"time": T0.replace(year=2027)}, {"signature": "x"}):
        assert not is_genuine(seal._replace(**change), KEY.public_key())
