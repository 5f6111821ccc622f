"""The signed document: what counts, what does not, and which set of documents an agent has."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from village_wire.commands import Target, read_command
from village_wire.recurrence import Recurrence
from village_wire.schedules import (
    MAX_SCHEDULE_BYTES,
    Held,
    InvalidSchedule,
    Item,
    Programme,
    Schedule,
    content_digest,
    digest_of,
    occurrence_id,
    read_schedule,
    sign_schedule,
    target_text,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.generate()
AREA = Target(area="441900003001")
WHEN = Recurrence(start=datetime(2026, 11, 24, 6, 30), rule="FREQ=DAILY")


def programme(identity: str = "morning", **more: Any) -> Programme:
    values = {"title": "早间防诈", "category": "anti_fraud", "when": WHEN, "items": (Item(text="谨防诈骗。"),)}
    return Programme.model_validate({"id": identity, **values, **more})


def test_a_signed_document_comes_back() -> None:
    made = Schedule(target=AREA, number=7, programmes=(programme(), programme("evening", rank="background")))
    payload = sign_schedule(made, KEY)
    assert read_schedule(payload, OTHER.public_key(), KEY.public_key()) == made
    assert read_schedule(payload) == made


def test_another_key_and_any_changed_byte_of_the_content_are_refused() -> None:
    payload = sign_schedule(Schedule(target=AREA, number=7, programmes=(programme(),)), KEY)
    with pytest.raises(InvalidSchedule, match="not signed"):
        read_schedule(payload, OTHER.public_key())
    document = json.loads(payload)
    changes: tuple[dict[str, Any], ...] = (
        {"number": 8},
        {"programmes": []},
        {"target": {"area": "441900003002"}},
        {"extra": 1},
    )
    for change in changes:
        with pytest.raises(InvalidSchedule, match="not signed"):
            read_schedule(json.dumps({**document, **change}).encode(), KEY.public_key())


def test_a_schedule_is_no_command() -> None:
    payload = sign_schedule(Schedule(target=AREA, number=7), KEY)
    with pytest.raises(ValueError, match="not signed"):
        read_command(payload, KEY.public_key())


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b"{}", b'{"signature":"!"}'])
def test_what_is_no_document_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidSchedule):
        read_schedule(payload, KEY.public_key())


def test_a_document_has_a_bound() -> None:
    long = tuple(programme(f"p{number}", items=(Item(text="长" * 2000),)) for number in range(22))
    with pytest.raises(InvalidSchedule, match="divide"):
        sign_schedule(Schedule(target=AREA, number=1, programmes=long), KEY)
    with pytest.raises(InvalidSchedule, match=str(MAX_SCHEDULE_BYTES)):
        read_schedule(b" " * (MAX_SCHEDULE_BYTES + 1), KEY.public_key())


@pytest.mark.parametrize(
    "more", [{"rank": "emergency"}, {"rank": "alert"}, {"items": ()}, {"items": [{}]}, {"items": [{"text": "x", "track": {"number": 1}}]}, {"category": "adverts"}, {"max_seconds": 5}]
)  # fmt: skip
def test_what_a_programme_must_not_be(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        programme(**more)


def test_ids_in_a_document_are_distinct() -> None:
    with pytest.raises(ValidationError, match="same id"):
        Schedule(target=AREA, number=1, programmes=(programme(), programme()))


def test_the_digest_tells_sets_apart_but_neither_their_order_nor_the_signer() -> None:
    made = Schedule(target=AREA, number=7, programmes=(programme(),))
    contents = {content_digest(sign_schedule(made, key)) for key in (KEY, OTHER)}
    assert len(contents) == 1
    one, two = Held("a", 1, contents.pop()), Held("b", 2, "0" * 16)
    assert digest_of([one, two]) == digest_of([two, one])
    assert len({digest_of(held) for held in ([], [one], [one, two], [one, two._replace(number=3)])}) == 4


def test_an_occurrence_has_one_id() -> None:
    due = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
    assert occurrence_id(AREA, "morning", due, 0) == occurrence_id(AREA, "morning", due, 0)
    box = Target(agent="gate-1", device="speaker")
    others = {
        occurrence_id(AREA, "morning", due, 1),
        occurrence_id(box, "morning", due, 0),
        occurrence_id(AREA, "m", due, 0),
    }
    assert len(others) == 3
    assert target_text(box) == "agent/gate-1/speaker"
