"""Readers of what crosses the network between agent, broker and collector."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from tests.attack.decoders.kit import Decoder
from village_wire import command_keys, schedules, signed, time_answer
from village_wire.audit import START, Act, InvalidEntry, cleaned, link, read_entry
from village_wire.command_keys import (
    CommandKey,
    CommandKeys,
    InvalidKeys,
    read_command_keys,
    sign_command_keys,
)
from village_wire.commands import InvalidCommand, read_command
from village_wire.enrolment import (
    Credentials,
    EnrolmentRequest,
    EnrolmentToken,
    InvalidEnrolment,
    InvalidToken,
    RenewalRequest,
    read_enrolment,
    read_token,
)
from village_wire.events import decode_events
from village_wire.ics.lines import InvalidCalendar
from village_wire.ics.reading import read_calendar
from village_wire.incoming import BadPacket, Packets, Received
from village_wire.points import CONTENT_DEFLATED, InvalidBatch, check_batch, deflate, inflate
from village_wire.presence import Ack, AgentStatus, InvalidMessage, Inventory, decode_message
from village_wire.recurrence import InvalidRecurrence, Recurrence
from village_wire.schedules import InvalidSchedule, read_schedule
from village_wire.signed import canonical, encode_public_key
from village_wire.time_answer import InvalidTime, read_time_answer, read_time_request
from village_wire.topics import InvalidTopic, parse_topic

GOLDEN = Path(__file__).parents[2] / "wire/golden"
#: The key of the golden messages.
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
AUTHORITY: EllipticCurvePrivateKey = derive_private_key(0x1234567, SECP256R1())
_AGENT = "lin-1"


def golden(pattern: str) -> list[bytes]:
    """Return the frozen messages of that name."""
    return [file.read_bytes().rstrip(b"\n") for file in sorted(GOLDEN.glob(pattern))]


def _topic(data: bytes) -> object:
    return parse_topic(data.decode(errors="replace"))


def _telemetry(data: bytes) -> object:
    lines = inflate(CONTENT_DEFLATED, data)
    return check_batch(lines, _AGENT), lines[:100]


def _lines(data: bytes) -> object:
    return check_batch(data, _AGENT)


def _signed(data: bytes) -> object:
    # What a collector gone mad signs: the model behind the signature has to stand on its own.
    return read_command(_sign(data, b"village-edge command 1\n"), KEY.public_key())


def _signed_time(data: bytes) -> object:
    return read_time_answer(_sign(data, time_answer._DOMAIN), _AGENT, KEY.public_key())


def _signed_schedule(data: bytes) -> object:
    found = read_schedule(_sign(data, schedules._DOMAIN), KEY.public_key())
    begin = datetime(2026, 11, 24, tzinfo=UTC)
    return found, [_times(one.when, begin) for one in found.programmes]


def _times(when: Recurrence, begin: datetime) -> object:
    try:
        return when.between(begin, begin + timedelta(days=32))
    except InvalidRecurrence as error:
        return str(error)


def _calendar(data: bytes) -> object:
    return read_calendar(data.decode(errors="replace"))


def _signed_keys(data: bytes) -> object:
    document = _object(data)
    if document is None:
        return None
    try:
        signature = AUTHORITY.sign(canonical(document, command_keys._DOMAIN), ECDSA(SHA256()))
    except (ValueError, RecursionError):
        return None
    document["signature"] = base64.b64encode(signature).decode()
    return read_command_keys(json.dumps(document).encode(), AUTHORITY.public_key())


def _sign(data: bytes, domain: bytes) -> bytes:
    document = _object(data)
    if document is None:
        return data
    try:
        document["signature"] = base64.b64encode(KEY.sign(canonical(document, domain))).decode()
    except (ValueError, RecursionError):
        return data
    return json.dumps(document).encode()


def _object(data: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _packets(data: bytes) -> object:
    got: list[tuple[Received, int]] = []
    packets = Packets(lambda message, number: got.append((message, number)))
    # The first byte says how the rest arrives: all at once or in pieces.
    size = max(1, data[0] * 8) if data else 1
    others = [packets.feed(data[at : at + size]) for at in range(1, len(data), size)]
    return got, b"".join(others)


def publish(topic: bytes, payload: bytes, properties: bytes = b"", number: int = 0) -> bytes:
    """Return an MQTT 5 PUBLISH packet of under 16,384 bytes."""
    body = len(topic).to_bytes(2, "big") + topic + (number.to_bytes(2, "big") if number else b"")
    body += bytes([len(properties)]) + properties + payload
    return bytes([0x32 if number else 0x30, len(body) & 0x7F | 0x80, len(body) >> 7]) + body


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


_PROPERTIES = (
    b"\x03" + _text(b"influx-line") + b"\x08" + _text(b"village/1/agent/lin-1/ack") + b"\x09" + _text(b"0" * 32)
)
_PACKETS = (
    publish(b"village/1/agent/lin-1/telemetry", b"x 1", _PROPERTIES),
    publish(
        b"village/1/agent/lin-1/command",
        b"{}",
        b"\x02\x00\x00\x00\x3c\x26" + _text(b"a") + _text(b"b") + b"\x0b\x81\x01\x23\x00\x01",
        7,
    ),
    b"\x20\x03\x00\x00\x00\xd0\x00",
)

_ENTRY = link(
    START,
    cleaned(
        Act(
            datetime(2026, 11, 24, tzinfo=UTC),
            "li",
            "127.0.0.1",
            "door.unlock",
            "lin-1/gate",
            "330110101205",
            "allowed",
        )
    ),
)

_PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
_KEYS = sign_command_keys(CommandKeys(number=3, keys=(CommandKey(key=encode_public_key(KEY.public_key())),)), AUTHORITY)
_ENROLMENTS: dict[str, tuple[Any, bytes]] = {
    "enrolment_request": (
        EnrolmentRequest,
        json.dumps({"token": str(EnrolmentToken(bytes(16), bytes(16))), "request": _PEM}).encode(),
    ),
    "renewal_request": (
        RenewalRequest,
        json.dumps({"certificate": _PEM, "request": _PEM, "signature": "AAAA"}).encode(),
    ),
    "credentials": (
        Credentials,
        json.dumps(
            {
                "agent": _AGENT,
                "area": "330110101205",
                "certificate": _PEM,
                "authority": _PEM,
                "broker": "mqtts://broker:8883",
                "api": "https://collector:8480",
                "command_keys": _KEYS,
            }
        ).encode(),
    ),
}
_SCHEDULE = json.dumps(
    {
        "target": {"area": "330110101205"},
        "number": 3,
        "programmes": [
            {
                "id": "morning",
                "title": "早间",
                "category": "law",
                "rank": "routine",
                "when": {
                    "start": "2024-01-31T06:30:00",
                    "rule": "FREQ=MONTHLY;BYDAY=-1WE;BYHOUR=6,18;BYSETPOS=1;UNTIL=20300101T000000Z",
                    "left_out": ["2026-12-31T06:30:00"],
                    "seasons": [{"first": "11-01", "last": "02-29"}],
                    "holidays": ["2026-10-01"],
                },
                "items": [{"text": "大家好"}],
                "volume": 40,
            }
        ],
    }
).encode()
_CALENDAR = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\r\nSUMMARY;LANGUAGE=zh:早间\r\nDURATION:PT20M\r\n"
    "DTSTART;TZID=Asia/Shanghai:20261125T063000\r\nRRULE:FREQ=DAILY;COUNT=3\r\nEXDATE:20261126T063000\r\n"
    "X-VILLAGE-SEASONS:11-01/02-29\r\nX-VILLAGE-HOLIDAYS:20261001\r\nX-VILLAGE-VOLUME:40\r\nDESCRIPTION:大家\r\n 好\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
).encode()
_LINES = b"\n".join(golden("telemetry.lines"))

DECODERS = (
    Decoder(
        "topic",
        _topic,
        (InvalidTopic,),
        (b"village/1/agent/lin-1/telemetry", b"village/1/area/330110101205-g03-h001/command"),
        max_bytes=2048,
    ),
    # Two megabytes of lines, and the list of them.
    Decoder(
        "telemetry",
        _telemetry,
        (InvalidBatch,),
        (deflate(_LINES), deflate(b"\n".join([_LINES] * 200))),
        max_bytes=64 * 1024,
        memory=200 << 20,
    ),
    Decoder("lines", _lines, (InvalidBatch,), (_LINES,)),
    Decoder("events", decode_events, (InvalidBatch,), golden("event-*.json"), "json"),
    Decoder(
        "command",
        lambda data: read_command(data, KEY.public_key()),
        (InvalidCommand,),
        golden("command-*.json"),
        "json",
    ),
    Decoder("command_signed", _signed, (InvalidCommand,), golden("command-*.json"), "json"),
    Decoder("status", partial(decode_message, AgentStatus), (InvalidMessage,), golden("status.json"), "json"),
    Decoder("inventory", partial(decode_message, Inventory), (InvalidMessage,), golden("inventory.json"), "json"),
    Decoder("ack", partial(decode_message, Ack), (InvalidMessage,), golden("ack.json"), "json"),
    Decoder("time_request", read_time_request, (InvalidTime,), golden("time.json"), "json"),
    Decoder(
        "time_answer",
        lambda data: read_time_answer(data, _AGENT, KEY.public_key()),
        (InvalidTime,),
        golden("clock.json"),
        "json",
    ),
    Decoder("schedule_signed", _signed_schedule, (InvalidSchedule,), (_SCHEDULE,), "json"),
    Decoder("calendar", _calendar, (InvalidCalendar,), (_CALENDAR,), "text"),
    Decoder("time_answer_signed", _signed_time, (InvalidTime,), golden("clock.json"), "json"),
    Decoder(
        "command_keys",
        lambda data: read_command_keys(data, AUTHORITY.public_key()),
        (InvalidKeys,),
        (signed.encode(_KEYS),),
        "json",
    ),
    Decoder("command_keys_signed", _signed_keys, (InvalidKeys,), (signed.encode(_KEYS),), "json"),
    Decoder(
        "enrolment_token",
        lambda data: read_token(data.decode(errors="replace")),
        (InvalidToken,),
        (str(EnrolmentToken(bytes(range(16)), bytes(16))).encode(),),
        max_bytes=2048,
    ),
    *(
        Decoder(name, partial(read_enrolment, model), (InvalidEnrolment,), (seed,), "json")
        for name, (model, seed) in _ENROLMENTS.items()
    ),
    Decoder(
        "audit_entry",
        lambda data: read_entry(data.decode(errors="replace")),
        (InvalidEntry,),
        (_ENTRY.text.encode(),),
        "json",
    ),
    Decoder(
        "mqtt_packets",
        _packets,
        (BadPacket,),
        (b"\xff" + b"".join(_PACKETS), b"\x00" + _PACKETS[0] * 3, b"\x01" + b"\xd0\x00" * 50),
        max_bytes=32 * 1024,
    ),
)
