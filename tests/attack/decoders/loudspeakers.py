"""Readers of what loudspeakers say on a site's own MQTT broker, and the writer of what they are told."""

from __future__ import annotations

import json

from tests.attack.decoders.kit import Decoder, join, records
from village_drivers.kit import Message
from village_drivers.mqtt.dialects import Hermes, Topics
from village_drivers.mqtt.loudspeaker_tables import LoudspeakerTable
from village_drivers.mqtt.payloads import InvalidPayload, parse_command_template, parse_payload

_SPEAKERS = tuple(
    LoudspeakerTable.model_validate(table)
    for table in (
        {"id": "words", "say_topic": "w/say", "state_topic": "w/state", "availability_topic": "w/online"},
        {"id": "deep", "say_topic": "d/say", "state_topic": "d/state", "state_path": "audio.0.state"},
        {"id": "hermes", "protocol": "hermes", "site": "hall", "availability_topic": "h/online"},
    )
)
_SPOKEN = (
    (b"w/state", b"", b"playing"),
    (b"w/online", b"r", b"offline"),
    (b"d/state", b"", b'{"audio": [{"state": "idle"}]}'),
    (b"hermes/tts/sayFinished", b"", b'{"siteId": "hall", "id": "1f", "sessionId": "1f"}'),
    (b"hermes/error/tts", b"", b'{"siteId": "hall", "sessionId": "1f", "error": "no voice"}'),
    (b"hermes/audioServer/hall/playFinished", b"", b'{"id": "1f"}'),
    (b"hermes/error/audioServer/play", b"", b'{"siteId": "hall", "context": "1f", "error": "no card"}'),
)


def _loudspeakers(data: bytes) -> object:
    signs = []
    dialects = [(Hermes if table.protocol == "hermes" else Topics)(table) for table in _SPEAKERS]
    for topic, kept, payload in records(data, 3)[:200]:
        message = Message(topic.decode(errors="replace"), payload, kept == b"r")
        signs += [sign for dialect in dialects if (sign := dialect.hear(message)) is not None]
    return signs


def _spoken_payload(data: bytes) -> object:
    """A template and a text: whatever the text holds, JSON stays JSON with the same members."""
    source, text, *_ = (field.decode(errors="replace") for field in records(data, 2)[0])
    found = []
    for parse in (parse_payload, parse_command_template):
        try:
            template = parse(source)
        except InvalidPayload:
            continue
        filled, other = template.fill(text, 50, "1f"), template.fill("x", 50, "1f")
        if source.lstrip()[:1] in {"{", "["} and other.lstrip()[:1] in {b"{", b"["} and _is_json(other):
            assert _shape(json.loads(filled)) == _shape(json.loads(other))
        assert b"\n" not in filled or b"\n" in source.encode() or not template.speaks
        found.append(filled)
    if not found:
        raise InvalidPayload(source[:80])
    return found


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return True


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return [_shape(item) for item in value.values()]
    return [_shape(item) for item in value] if isinstance(value, list) else type(value).__name__


DECODERS = (
    Decoder("mqtt_loudspeakers", _loudspeakers, (), (join(*_SPOKEN),), "records", 160 * 1024, memory=64 << 20),
    Decoder(
        "mqtt_spoken_payload",
        _spoken_payload,
        (InvalidPayload,),
        (
            join((b'{"text": "{text}", "vol": {volume}, "id": "{id}"}', b'say "hi" {text}')),
            join((b'{"m": {{ value | tojson }}}', b"a\nb")),
            join((b"<say>{text}</say>", b"</say>")),
            join((b"{text}", b"\xe8\xaf\xb7")),
        ),
        "records",
    ),
)
